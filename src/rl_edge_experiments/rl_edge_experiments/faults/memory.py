"""Memory that runs out."""

import resource

import psutil

from rl_edge_bringup.running_system import RunningSystem
from rl_edge_core.artifact import FULL_RECIPE
from rl_edge_experiments.faults.fault import REALTIME, Fault
from rl_edge_experiments.rig import FaultFailedError, Rig
from rl_edge_interfaces.srv import LoadModel


def no_memory_for_model(rig: Rig) -> str:
    """Ask for a model in a policy process that gets no more memory."""
    pid = rig.policy.pid('policy')
    process = psutil.Process(pid)
    before = resource.prlimit(pid, resource.RLIMIT_AS)
    resource.prlimit(pid, resource.RLIMIT_AS, (process.memory_info().vms, before[1]))
    # The full model needs TensorFlow: far more than what a process has to spare within its limit.
    request = LoadModel.Request(path=str(rig.model), recipe=FULL_RECIPE)

    def has_died() -> bool:
        return any(f'(pid {pid})' in line and ' d' in line for line in _endings(rig.policy))

    with rig.observer.client(LoadModel, 'policy/load_model') as client:
        rig.wait_for('the service load_model', client.service_is_ready)
        answer = client.call_async(request)
        rig.wait_for(
            'an answer, or a death with a named cause', lambda: answer.done() or has_died()
        )
    if answer.done():
        response = answer.result()
        resource.prlimit(pid, resource.RLIMIT_AS, before)
        if response.success:
            raise FaultFailedError('there was enough memory after all')
        how = f'refused: {response.message}'
    else:
        how = next(line for line in _endings(rig.policy) if f'(pid {pid})' in line)
    rig.wait_until_steady()
    return f'{how}; steps go on'


def _endings(system: RunningSystem) -> list[str]:
    return [line for line in system.log.of('run') if 'died' in line or 'killed' in line]


MEMORY_FAULTS = (
    Fault(
        'no memory for the model',
        (REALTIME,),
        'refused, or a death with a named cause and a restart',
        no_memory_for_model,
    ),
)
