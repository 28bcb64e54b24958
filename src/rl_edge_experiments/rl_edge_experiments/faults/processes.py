"""Processes that are killed, held or restarted."""

import os
import signal
import time

from rl_edge_experiments.faults.fault import BOTH, REALTIME, STANDS_IN, Fault, check_same
from rl_edge_experiments.rig import FaultFailedError, Rig

STOPPED_SEC = 2.5
"""Beyond the time after which a policy counts as silent here."""


def kill_policy(rig: Rig) -> str:
    """Kill the policy."""
    simulator = rig.simulator.pid('sim')
    new = rig.kill(rig.policy, 'policy')
    line = rig.policy.log.wait_for('policy .*was killed by SIGKILL')
    rig.wait_until_steady()
    check_same(rig.simulator, 'sim', simulator)
    return f'named in the log (line {line}), started again as {_is_new(new)}; steps go on'


def kill_simulator(rig: Rig) -> str:
    """Kill the simulator."""
    policy, run = rig.policy.pid('policy'), rig.newest_observation().run_id
    rig.kill(rig.simulator, 'sim')
    rig.simulator.log.wait_for('sim .*was killed by SIGKILL')
    rig.wait_for('a new run', lambda: any(t.run_id != run for t in rig.latest(1)))
    rig.wait_until_steady()
    check_same(rig.policy, 'policy', policy)
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
    check_same(rig.simulator, 'sim', simulator)
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
    check_same(rig.policy, 'policy', policy)
    return (
        'the open episode was published as ended by SHUTDOWN; the same policy acts in the new run'
    )


def _is_new(pid: int) -> str:
    return f'pid {pid}'


def _wait_for_silence(rig: Rig) -> None:
    time.sleep(STOPPED_SEC)
    mark = rig.observer.transition_count
    time.sleep(0.5)
    if rig.observer.transition_count != mark:
        raise FaultFailedError('steps go on while the simulator is held')


_SAME_RUN = 'the same run goes on, nothing else is started again'
_NEW_RUN = 'a new run begins; the same policy process acts in it'

PROCESS_FAULTS = (
    Fault('policy killed (-9)', BOTH, _SAME_RUN, kill_policy),
    Fault('simulator killed (-9)', BOTH, _NEW_RUN, kill_simulator, may_lose=True),
    Fault('policy stopped (SIGSTOP)', BOTH, STANDS_IN, stop_policy),
    Fault('simulator stopped (SIGSTOP)', BOTH, 'the same run goes on', stop_simulator),
    Fault('policy restarted (SIGTERM)', BOTH, _SAME_RUN, restart_policy),
    Fault('simulator restarted (SIGINT)', BOTH, _NEW_RUN, restart_simulator, may_lose=True),
)
