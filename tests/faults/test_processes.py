"""Processes that are killed, stopped or restarted."""

import os
import signal
import time

import pytest

BEYOND_SILENCE_SEC = 2.5
"""Longer than the time after which a policy counts as silent here."""
STANDS_IN = 'reported; lockstep waits, in real time the safe action is applied instead; recovery'
SAME_RUN = 'the same run goes on, nothing else is started again'
NEW_RUN = 'a new run begins; the same policy process acts in it'


@pytest.mark.faults('policy killed (-9)', expected=SAME_RUN)
def test_policy_killed(loop, happened):
    simulator = loop.simulator.pid('sim')

    pid = loop.kill(loop.policy, 'policy')

    line = loop.policy.log.wait_for('policy .*was killed by SIGKILL')
    loop.wait_until_steady()
    assert loop.simulator.pid('sim') == simulator
    happened(f'named in the log (line {line}), started again as pid {pid}; steps go on')


@pytest.mark.faults('simulator killed (-9)', expected=NEW_RUN, may_lose=True)
def test_simulator_killed(loop, happened):
    policy, run = loop.policy.pid('policy'), loop.newest_observation().run_id

    loop.kill(loop.simulator, 'sim')

    loop.simulator.log.wait_for('sim .*was killed by SIGKILL')
    loop.wait_for('a new run', lambda: any(t.run_id != run for t in loop.latest(1)))
    loop.wait_until_steady()
    assert loop.policy.pid('policy') == policy
    happened('named in the log, a new run_id began, the same policy process acts in it')


@pytest.mark.faults('policy stopped (SIGSTOP)', expected=STANDS_IN)
def test_policy_stopped(loop, happened):
    with loop.stopped(loop.policy, 'policy'):
        if loop.mode == 'realtime':
            loop.wait_for('the safe action', lambda: any(t.safe_action for t in loop.latest(5)))
            report = loop.wait_for_report('sim', 'safe action is applied instead')
        else:
            report = loop.wait_for_report('sim', 'the policy is silent')

    loop.wait_until_steady()
    happened(f'reported: {report!r}; goes on after SIGCONT')


@pytest.mark.faults('simulator stopped (SIGSTOP)', expected='the same run goes on')
def test_simulator_stopped(loop, happened):
    run = loop.newest_observation().run_id

    with loop.stopped(loop.simulator, 'sim'):
        time.sleep(BEYOND_SILENCE_SEC)
        mark = loop.observer.transition_count
        time.sleep(0.5)
        assert loop.observer.transition_count == mark

    loop.wait_until_steady()
    assert loop.latest(1)[0].run_id == run
    happened('no steps while it is stopped; the same run goes on after SIGCONT')


@pytest.mark.faults('policy restarted (SIGTERM)', expected=SAME_RUN)
def test_policy_restarted(loop, happened):
    simulator, pid = loop.simulator.pid('sim'), loop.policy.pid('policy')

    os.kill(pid, signal.SIGTERM)

    loop.policy.pid('policy', other_than=pid, timeout_sec=60)
    loop.wait_until_steady()
    assert loop.simulator.pid('sim') == simulator
    happened('ended with exit code 0 and was started again; the same run goes on')


@pytest.mark.faults('simulator restarted (SIGINT)', expected=NEW_RUN, may_lose=True)
def test_simulator_restarted(loop, happened):
    policy, run = loop.policy.pid('policy'), loop.newest_observation().run_id

    loop.simulator.stop()

    outcome = loop.simulator.wait(60)
    assert outcome.exit_code == 0, outcome
    loop.start_simulator()
    loop.wait_for('a new run', lambda: any(t.run_id != run for t in loop.latest(1)))
    loop.wait_until_steady()
    assert loop.policy.pid('policy') == policy
    happened(
        'the open episode was published as ended by SHUTDOWN; the same policy acts in the new run'
    )
