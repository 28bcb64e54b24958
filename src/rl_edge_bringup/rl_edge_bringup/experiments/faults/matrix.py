"""The faults. Each function puts one into a running loop and says what happened.

A fault that does not go as expected raises `FaultFailedError`. Beside what is written here, each
one is expected to leave no action outside its limits, no transition doubled, and the loop running
with the processes that it did not concern.
"""

import contextlib
import dataclasses
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from rl_edge_bringup.experiments.faults.messages import (
    foreign_actions,
    malformed_actions,
    malformed_observations,
    stale_actions,
)
from rl_edge_bringup.experiments.faults.rig import FaultFailedError, Rig
from rl_edge_bringup.running_system import RunningSystem
from rl_edge_core.artifact import pack_artifact
from rl_edge_core.files import sha256_of
from rl_edge_core.ros import qos
from rl_edge_core.ros.diagnostics import ERROR
from rl_edge_eval.bag.bag import Bag
from rl_edge_interfaces.msg import Action, Observation
from rl_edge_interfaces.srv import LoadModel, SaveCheckpoint

LOCKSTEP, REALTIME = 'lockstep', 'realtime'
BOTH = (LOCKSTEP, REALTIME)
FLOOD = 100_000
"""Messages of the large flood; the others have a tenth."""
STOPPED_SEC = 2.5
"""Beyond the time after which a policy counts as silent here."""


@dataclasses.dataclass(frozen=True)
class Fault:
    """One row of the matrix."""

    name: str
    modes: tuple[str, ...]
    expected: str
    put: Callable[[Rig], str]
    """Puts it into the loop; returns what happened."""
    may_lose: bool = False
    """Whether transitions may be lost, as long as they are counted."""
    needs_root: bool = False


# Processes -------------------------------------------------------------------------------------


def kill_policy(rig: Rig) -> str:
    """Kill the policy."""
    simulator = rig.simulator.pid('sim')
    new = rig.kill(rig.policy, 'policy')
    line = rig.policy.log.wait_for('policy .*was killed by SIGKILL')
    rig.wait_until_steady()
    _check_same(rig.simulator, 'sim', simulator)
    return f'named in the log (line {line}), started again as {_is_new(new)}; steps go on'


def kill_simulator(rig: Rig) -> str:
    """Kill the simulator."""
    policy, run = rig.policy.pid('policy'), rig.newest_observation().run_id
    rig.kill(rig.simulator, 'sim')
    rig.simulator.log.wait_for('sim .*was killed by SIGKILL')
    rig.wait_for('a new run', lambda: any(t.run_id != run for t in rig.latest(1)))
    rig.wait_until_steady()
    _check_same(rig.policy, 'policy', policy)
    return 'named in the log, a new run_id began, the same policy process acts in it'


def stop_policy(rig: Rig) -> str:
    """Hold the policy with SIGSTOP."""
    with rig.stopped(rig.policy, 'policy'):
        if rig.mode == REALTIME:
            rig.wait_for('the safe action', lambda: any(t.safe_action for t in rig.latest(5)))
            report = rig.wait_for_report('sim', 'safe action stands in')
        else:
            report = rig.wait_for_report('sim', 'the policy is silent')
    rig.wait_until_steady()
    return f'reported: {report!r}; goes on after SIGCONT'


def stop_simulator(rig: Rig) -> str:
    """Hold the simulator with SIGSTOP."""
    run = rig.newest_observation().run_id
    with rig.stopped(rig.simulator, 'sim'):
        _wait_for_silence(rig)
    rig.wait_until_steady()
    if rig.latest(1)[0].run_id != run:
        raise FaultFailedError('the run began anew')
    return 'no steps while it is held; the same run goes on after SIGCONT'


def restart_policy(rig: Rig) -> str:
    """End the policy with SIGTERM; the runner starts it again."""
    simulator, pid = rig.simulator.pid('sim'), rig.policy.pid('policy')
    os.kill(pid, signal.SIGTERM)
    rig.policy.pid('policy', other_than=pid, timeout_sec=60)
    rig.wait_until_steady()
    _check_same(rig.simulator, 'sim', simulator)
    return 'ended with exit code 0 and was started again; the same run goes on'


def restart_simulator(rig: Rig) -> str:
    """End the simulator as Ctrl-C does, and start it again."""
    policy, run = rig.policy.pid('policy'), rig.newest_observation().run_id
    rig.simulator.stop()
    outcome = rig.simulator.wait(60)
    if outcome.exit_code:
        raise FaultFailedError(f'the simulator ended with {outcome}')
    rig.start_simulator()
    rig.wait_for('a new run', lambda: any(t.run_id != run for t in rig.latest(1)))
    rig.wait_until_steady()
    _check_same(rig.policy, 'policy', policy)
    return (
        'the open episode was published as ended by SHUTDOWN; the same policy acts in the new run'
    )


def start_policy_first(rig: Rig) -> str:
    """Start the policy, and the simulator when it answers already."""
    rig.simulator.stop()
    rig.policy.stop()
    rig.simulator.wait(60)
    rig.policy.wait(60)
    rig.start_policy()
    rig.wait_for_report('policy', 'waiting for the environment')
    rig.start_simulator()
    rig.wait_until_steady()
    return 'the policy says that it waits for the environment, and acts once there is one'


def start_simulator_first(rig: Rig) -> str:
    """Start the simulator, and the policy when that waits for one."""
    rig.simulator.stop()
    rig.policy.stop()
    rig.simulator.wait(60)
    rig.policy.wait(60)
    rig.reports.clear()
    rig.start_simulator()
    rig.wait_for_report('sim', 'waiting')
    rig.start_policy()
    rig.wait_until_steady()
    return 'the simulator says that it waits for a policy, and runs once there is one'


# Two on one name -------------------------------------------------------------------------------


def two_policies(rig: Rig) -> str:
    """Start a second policy on the same topics."""
    second = rig.start('edge')
    report = rig.wait_for_report('sim', 'two policies act', level=ERROR)
    second.stop()
    second.wait(60)
    rig.wait_until_steady()
    rig.wait_for_episode()
    unwanted = rig.counts('duplicate_actions') + rig.counts('late_actions')
    return f'{report!r}; {unwanted} actions of the slower one counted and not applied'


def two_simulators(rig: Rig) -> str:
    """Start a second simulator on the same topics, and end it."""
    first = rig.newest_observation().run_id
    second = rig.start('desktop')
    report = rig.wait_for_report('sim', 'two simulators publish', level=ERROR)
    second.stop()
    second.wait(60)
    rig.wait_for(
        'the first one goes on',
        lambda: all(t.run_id == first and not t.safe_action for t in rig.latest(20)),
    )
    rig.wait_until_steady()
    return f'{report!r}; the first one goes on when the second has ended'


# Policies that misbehave -----------------------------------------------------------------------


def silent_policy(rig: Rig) -> str:
    """Put a policy that never answers in the place of ours."""
    with _impostor(rig, lambda observation: ()):
        if rig.mode == REALTIME:
            rig.wait_for('the safe action', lambda: all(t.safe_action for t in rig.latest(10)))
            happened = 'the safe action stood in'
        else:
            happened = repr(rig.wait_for_report('sim', 'the policy is silent'))
    rig.wait_until_steady()
    return f'{happened}; goes on with a policy that answers'


def doubly_answering_policy(rig: Rig) -> str:
    """Put a policy that answers each observation twice in the place of ours."""
    return _with_counted_impostor(rig, lambda o: (_answer(o), _answer(o)), 'duplicate_actions')


def confused_policy(rig: Rig) -> str:
    """Put a policy in the place of ours that answers for another robot first."""

    def answer(observation: Observation) -> tuple[Action, ...]:
        other = _answer(observation)
        other.run_id ^= 1
        return other, _answer(observation)

    return _with_counted_impostor(rig, answer, 'foreign_actions')


def nan_policy(rig: Rig) -> str:
    """Put a policy that answers NaN in the place of ours."""

    def answer(observation: Observation) -> tuple[Action, ...]:
        action = _answer(observation)
        action.values = array('f', [float('nan')])
        return (action,)

    with _impostor(rig, answer):
        rig.wait_for('the safe action', lambda: all(t.safe_action for t in rig.latest(10)))
        report = rig.wait_for_report('sim', 'actions rejected')
    rig.wait_until_steady()
    return f'the safe action stood in: {report!r}'


def _with_counted_impostor(
    rig: Rig, answer: Callable[[Observation], tuple[Action, ...]], count: str
) -> str:
    with _impostor(rig, answer):
        rig.wait_for_episode()
        rig.wait_for_episode()
    rig.wait_until_steady()
    counted = rig.counts(count)
    if not counted:
        raise FaultFailedError(f'{count} is 0')
    return f'{counted} {count}, none applied'


def _answer(observation: Observation) -> Action:
    return Action(
        header=observation.header,
        run_id=observation.run_id,
        episode=observation.episode,
        step=observation.step,
        values=array('f', [0.25]),
        model_hash='impostor',
    )


@contextlib.contextmanager
def _impostor(rig: Rig, answer: Callable[[Observation], tuple[Action, ...]]) -> Iterator[None]:
    """Hold our policy and answer in its place."""
    node = rig.observer.node
    publisher = node.create_publisher(Action, 'action', qos.action())

    def on_observation(observation: Observation) -> None:
        for action in answer(observation):
            publisher.publish(action)

    with rig.stopped(rig.policy, 'policy'):
        subscription = node.create_subscription(
            Observation, 'observation', on_observation, qos.observation()
        )
        try:
            yield
        finally:
            node.destroy_subscription(subscription)
            node.destroy_publisher(publisher)


# Messages --------------------------------------------------------------------------------------


def flood_malformed_actions(rig: Rig) -> str:
    """Send 100,000 actions that can be deserialized and nothing else."""
    now = rig.newest_observation()
    actions = malformed_actions(FLOOD, run_id=now.run_id, episode=now.episode)
    count = rig.flood_actions(actions)
    rig.wait_until_steady()
    rig.wait_for_episode()
    return f'{count} sent; {_unwanted(rig)}; the loop runs'


def flood_stale_actions(rig: Rig) -> str:
    """Send actions for steps that are over."""
    now = _observation_in_mid_episode(rig)
    actions = stale_actions(FLOOD // 10, run_id=now.run_id, episode=now.episode, step=now.step)
    count = rig.flood_actions(actions)
    rig.wait_until_steady()
    rig.wait_for_episode()
    counted = rig.counts('late_actions') + rig.counts('duplicate_actions')
    if not counted:
        raise FaultFailedError('none was counted as late or duplicate')
    return f'{count} sent; {_unwanted(rig)}; none applied'


def flood_foreign_actions(rig: Rig) -> str:
    """Send actions of another run."""
    now = rig.newest_observation()
    actions = foreign_actions(FLOOD // 10, run_id=now.run_id, episode=now.episode, step=now.step)
    count = rig.flood_actions(actions)
    rig.wait_until_steady()
    rig.wait_for_episode()
    if not rig.counts('foreign_actions'):
        raise FaultFailedError('none was counted as foreign')
    return f'{count} sent; {_unwanted(rig)}; none applied'


def flood_malformed_observations(rig: Rig) -> str:
    """Send observations that can be deserialized and nothing else to the policy."""
    now = rig.newest_observation()
    count = rig.flood_observations(malformed_observations(FLOOD // 10, run_id=now.run_id))
    rig.wait_until_steady()
    rejected = rig.wait_for(
        'a rejection in policy_status',
        lambda: rig.observer.statuses and rig.observer.statuses[-1].rejected_observations,
    )
    return f'{count} sent; {rejected} rejected by the policy; the loop runs'


def _observation_in_mid_episode(rig: Rig) -> Observation:
    while (observation := rig.newest_observation()).step < 5:
        pass
    return observation


def _unwanted(rig: Rig) -> str:
    names = ('rejected', 'late', 'duplicate', 'foreign')
    counted = {name: rig.counts(f'{name}_actions') for name in names}
    return 'counted ' + ', '.join(f'{count} {name}' for name, count in counted.items())


# Models ----------------------------------------------------------------------------------------


def swap_for_corrupt_file(rig: Rig) -> str:
    """Ask for a model whose file has been changed."""
    folder = rig.folder / 'corrupt'
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(rig.model, folder)
    for file in folder.glob('*.tflite'):
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 0xFF
        file.write_bytes(content)
    return _refused(rig, LoadModel.Request(path=str(folder)), 'hashes to')


def swap_for_corrupt_bytes(rig: Rig) -> str:
    """Send an artifact whose bytes were changed on the way."""
    archive = bytearray(_packed(rig))
    announced = sha256_of(bytes(archive))
    archive[len(archive) // 2] ^= 0xFF
    request = LoadModel.Request(archive=array('B', archive), sha256=announced)
    return _refused(rig, request, 'announced')


def swap_for_noise(rig: Rig) -> str:
    """Send bytes that are no artifact, with a hash that fits."""
    noise = os.urandom(10_000)
    request = LoadModel.Request(archive=array('B', noise), sha256=sha256_of(noise))
    return _refused(rig, request, 'zip')


def swap_for_valid_bytes(rig: Rig) -> str:
    """Send a valid artifact as bytes (no fault: what the three before are measured by)."""
    archive = _packed(rig)
    request = LoadModel.Request(archive=array('B', archive), sha256=sha256_of(archive))
    answer = rig.load_model(request)
    if not answer.success:
        raise FaultFailedError(f'refused: {answer.message}')
    rig.wait_until_steady()
    return f'{answer.message} ({len(archive)} bytes); steps go on'


def no_memory_for_model(rig: Rig) -> str:
    """Ask for a model in a policy process that gets no more memory."""
    pid = rig.policy.pid('policy')
    process = psutil.Process(pid)
    before = resource.prlimit(pid, resource.RLIMIT_AS)
    resource.prlimit(pid, resource.RLIMIT_AS, (process.memory_info().vms, before[1]))
    request = LoadModel.Request(path=str(rig.model))
    node = rig.observer.node
    client = node.create_client(LoadModel, 'policy/load_model')
    rig.wait_for('the service load_model', client.service_is_ready)
    answer = client.call_async(request)

    def has_died() -> bool:
        return any(f'(pid {pid})' in line and ' d' in line for line in _endings(rig.policy))

    rig.wait_for('an answer, or a death with a named cause', lambda: answer.done() or has_died())
    node.destroy_client(client)
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


def _packed(rig: Rig) -> bytes:
    return pack_artifact(rig.model, ['int8'])


def _refused(rig: Rig, request: LoadModel.Request, part: str) -> str:
    before = rig.latest(1)[0].model_hash
    answer = rig.load_model(request)
    if answer.success or part not in answer.message:
        raise FaultFailedError(f'answered {answer.success}: {answer.message}')
    rig.wait_until_steady()
    if rig.latest(1)[0].model_hash != before:
        raise FaultFailedError('another model acts now')
    return f'refused: {answer.message}; the old model acts on'


# Recording and checkpoints ---------------------------------------------------------------------


def kill_recorder(rig: Rig) -> str:
    """Kill the recorder and read what it has written."""
    bag = rig.folder / f'killed-{rig.mode}'
    recorder = rig.start_recorder(bag)
    _wait_for_bag(rig, bag)
    pid = recorder.pid('recorder')
    os.kill(pid, signal.SIGKILL)
    outcome = recorder.wait(60)
    rig.wait_until_steady()
    count = _count(bag)
    if not count:
        raise FaultFailedError('nothing can be read from the bag')
    return f'{outcome.reason}; {count} messages are read from the bag without metadata'


def stop_recorder(rig: Rig) -> str:
    """Hold the recorder with SIGSTOP, then end it well."""
    bag = rig.folder / f'stopped-{rig.mode}'
    recorder = rig.start_recorder(bag)
    _wait_for_bag(rig, bag)
    with rig.stopped(recorder, 'recorder'):
        rig.wait_until_steady()
    rig.wait_until_steady()
    recorder.stop()
    outcome = recorder.wait(60)
    if outcome.exit_code:
        raise FaultFailedError(f'the recorder ended with {outcome}')
    return f'the loop did not wait for it; the bag was closed with {_count(bag)} messages'


def full_disk_while_recording(rig: Rig) -> str:
    """Record to a disk that is soon full."""
    with _small_disk(600_000) as disk:
        recorder = rig.start_recorder(disk / 'bag')
        outcome = rig.wait_for('the end of the recorder', lambda: _outcome(recorder))
        error = next((x for x in recorder.log.of('recorder') if 'recording ended' in x), '')
        if outcome.exit_code != 1 or not error:
            raise FaultFailedError(f'the recorder ended with {outcome}')
        rig.wait_until_steady()
        return f'exit code 1, {error.partition("recording ended: ")[2]!r}; the loop runs on'


def read_only_disk(rig: Rig) -> str:
    """Record to a disk that can't be written."""
    with _small_disk(600_000) as disk:
        subprocess.run(['mount', '-o', 'remount,ro', disk], check=True)
        recorder = rig.start_recorder(disk / 'bag')
        outcome = rig.wait_for('the end of the recorder', lambda: _outcome(recorder))
        error = next((x for x in recorder.log.of('recorder') if 'error' in x), '')
        if outcome.exit_code != 1 or 'ead-only' not in error:
            raise FaultFailedError(f'the recorder ended with {outcome}: {error}')
        rig.wait_until_steady()
        return f'exit code 1 at start: {error!r}; the loop runs on'


def full_disk_while_checkpointing(rig: Rig) -> str:
    """Ask the train node for a checkpoint on a full disk."""
    with _small_disk(500_000_000) as disk:
        trainer = rig.start_program(
            'rl_edge_train', 'train_node', 'train',
            '-p', f'output:={disk / "run"}', '-p', f'robots:=[/{rig.namespace}]',
            '-p', 'preset:=sac_small', '-p', 'export_period_sec:=100000.0',
        )  # fmt: skip
        node = rig.observer.node
        client = node.create_client(SaveCheckpoint, 'train/save_checkpoint')
        rig.wait_for('the service save_checkpoint', client.service_is_ready, 240)
        pid = trainer.pid('train')

        def answer() -> Any:
            if outcome := _outcome(trainer):
                last = trainer.log.of('train')[-1:]
                raise FaultFailedError(f'{outcome.reason}: {last}')
            future = client.call_async(SaveCheckpoint.Request())
            rig.wait_for('an answer of save_checkpoint', future.done, 480)
            return None if 'no robot' in future.result().message else future.result()

        before = rig.wait_for('a robot at the train node', answer, 240)
        if not before.success:
            raise FaultFailedError(f'with space left it answered {before.message}')
        (disk / 'filler').write_bytes(b'x' * _free_bytes(disk))
        refused = answer()
        node.destroy_client(client)
        if refused.success or 'cannot be written' not in refused.message:
            raise FaultFailedError(f'answered {refused.success}: {refused.message}')
        rig.wait_until_steady()
        _check_same(trainer, 'train', pid)
        trainer.stop()
        trainer.wait(60)
        return f'refused: {refused.message}; the train node and the loop run on'


def _free_bytes(disk: Path) -> int:
    status = os.statvfs(disk)
    return status.f_bavail * status.f_frsize


@contextlib.contextmanager
def _small_disk(size: int) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix='rl_edge-disk-') as folder:
        options = f'size={size}'
        subprocess.run(['mount', '-t', 'tmpfs', '-o', options, 'tmpfs', folder], check=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run(['umount', '--lazy', folder], check=True)


def _outcome(system: RunningSystem):  # type: ignore[no-untyped-def]
    return None if system.is_running() else system.wait()


def _wait_for_bag(rig: Rig, bag: Path) -> None:
    rig.wait_for('data in the bag', lambda: sum(f.stat().st_size for f in bag.glob('*')) > 20_000)


def _count(bag: Path) -> int:
    return sum(1 for _ in Bag(bag))


# Shared ----------------------------------------------------------------------------------------


def _check_same(system: RunningSystem, node: str, pid: int) -> None:
    if system.pid(node) != pid:
        raise FaultFailedError(f'{node} was started again too')


def _is_new(pid: int) -> str:
    return f'pid {pid}'


def _wait_for_silence(rig: Rig) -> None:
    time.sleep(STOPPED_SEC)
    mark = rig.observer.transition_count
    time.sleep(0.5)
    if rig.observer.transition_count != mark:
        raise FaultFailedError('steps go on while the simulator is held')


SAME_RUN = 'the same run goes on, nothing else is started again'
NEW_RUN = 'a new run begins; the same policy process acts in it'
STANDS_IN = 'reported; lockstep waits, in real time the safe action stands in; recovery'
COUNTED = 'counted, never applied; the loop runs on'
REFUSED = 'refused with the reason; the old model acts on'
LOOP_RUNS = 'a named cause; the loop runs on'

FAULTS = (
    Fault(
        'policy killed (-9)',
        BOTH,
        SAME_RUN,
        kill_policy,
    ),
    Fault(
        'simulator killed (-9)',
        BOTH,
        NEW_RUN,
        kill_simulator,
        may_lose=True,
    ),
    Fault(
        'policy stopped (SIGSTOP)',
        BOTH,
        STANDS_IN,
        stop_policy,
    ),
    Fault(
        'simulator stopped (SIGSTOP)',
        BOTH,
        'the same run goes on',
        stop_simulator,
    ),
    Fault(
        'policy restarted (SIGTERM)',
        BOTH,
        SAME_RUN,
        restart_policy,
    ),
    Fault(
        'simulator restarted (SIGINT)',
        BOTH,
        NEW_RUN,
        restart_simulator,
        may_lose=True,
    ),
    Fault(
        'policy started first',
        BOTH,
        'says what it waits for, then acts',
        start_policy_first,
        may_lose=True,
    ),
    Fault(
        'simulator started first',
        BOTH,
        'says what it waits for, then runs',
        start_simulator_first,
        may_lose=True,
    ),
    Fault(
        'two policies on one name', BOTH, 'reported; doubles counted', two_policies, may_lose=True
    ),
    Fault(
        'two simulators on one name',
        BOTH,
        'reported; the first goes on',
        two_simulators,
        may_lose=True,
    ),
    Fault(
        'policy that never answers',
        BOTH,
        STANDS_IN,
        silent_policy,
    ),
    Fault(
        'policy that answers twice',
        BOTH,
        COUNTED,
        doubly_answering_policy,
    ),
    Fault(
        'policy that answers for another robot',
        BOTH,
        COUNTED,
        confused_policy,
    ),
    Fault(
        'policy that answers NaN',
        BOTH,
        'the safe action stands in, reported',
        nan_policy,
    ),
    Fault(
        '100,000 malformed actions',
        BOTH,
        COUNTED,
        flood_malformed_actions,
        may_lose=True,
    ),
    Fault(
        'flood of stale actions',
        BOTH,
        COUNTED,
        flood_stale_actions,
        may_lose=True,
    ),
    Fault(
        'flood of foreign actions',
        BOTH,
        COUNTED,
        flood_foreign_actions,
        may_lose=True,
    ),
    Fault(
        'flood of malformed observations',
        BOTH,
        COUNTED,
        flood_malformed_observations,
        may_lose=True,
    ),
    Fault(
        'model swapped for a valid one', BOTH, 'loaded between two actions', swap_for_valid_bytes
    ),
    Fault(
        'model swapped for a changed file',
        BOTH,
        REFUSED,
        swap_for_corrupt_file,
    ),
    Fault(
        'model swapped for changed bytes',
        (REALTIME,),
        REFUSED,
        swap_for_corrupt_bytes,
    ),
    Fault(
        'model swapped for noise',
        (REALTIME,),
        REFUSED,
        swap_for_noise,
    ),
    Fault(
        'no memory for the model',
        (REALTIME,),
        'refused, or a death with a named cause and a restart',
        no_memory_for_model,
    ),
    Fault(
        'recorder killed (-9)',
        BOTH,
        'the bag can be read up to there',
        kill_recorder,
    ),
    Fault(
        'recorder stopped (SIGSTOP)', (REALTIME,), 'the loop does not wait for it', stop_recorder
    ),
    Fault(
        'disk full while recording',
        (REALTIME,),
        LOOP_RUNS,
        full_disk_while_recording,
        needs_root=True,
    ),
    Fault(
        'disk read-only when recording starts',
        (REALTIME,),
        LOOP_RUNS,
        read_only_disk,
        needs_root=True,
    ),
    Fault(
        'disk full while checkpointing',
        (REALTIME,),
        LOOP_RUNS,
        full_disk_while_checkpointing,
        needs_root=True,
        may_lose=True,
    ),
)
