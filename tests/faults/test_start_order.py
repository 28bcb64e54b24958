"""Nodes that start in another order than usual, or twice on one name."""

import pytest


def stop_both(loop):
    loop.simulator.stop()
    loop.policy.stop()
    loop.simulator.wait(60)
    loop.policy.wait(60)


@pytest.mark.faults(
    'policy started first', expected='says what it waits for, then acts', may_lose=True
)
def test_policy_started_first(loop, happened):
    stop_both(loop)

    loop.start_policy()

    loop.wait_for_report('policy', 'waiting for the environment')
    loop.start_simulator()
    loop.wait_until_steady()
    happened('the policy says that it waits for the environment, and acts once there is one')


@pytest.mark.faults(
    'simulator started first', expected='says what it waits for, then runs', may_lose=True
)
def test_simulator_started_first(loop, happened):
    stop_both(loop)
    loop.reports.clear()

    loop.start_simulator()

    loop.wait_for_report('sim', 'waiting')
    loop.start_policy()
    loop.wait_until_steady()
    happened('the simulator says that it waits for a policy, and runs once there is one')


@pytest.mark.faults(
    'two policies on one name',
    expected='the second is refused; the first goes on',
    may_lose=True,
)
def test_two_policies(loop, happened):
    loop.wait_until_steady()
    second = loop.start('edge', on_node_exit='shutdown')

    assert second.wait(60).exit_code == 1

    second.log.wait_for('another node /ant0/policy is running', node='policy')
    loop.wait_until_steady()
    loop.wait_for_episode()
    unwanted = loop.counts('duplicate_actions') + loop.counts('late_actions')
    happened(f'refused; {unwanted} actions of it counted and not applied')


@pytest.mark.faults(
    'two simulators on one name',
    expected='the second is refused; the first goes on',
    may_lose=True,
)
def test_two_simulators(loop, happened):
    first = loop.newest_observation().run_id
    second = loop.start('desktop', on_node_exit='shutdown')

    assert second.wait(60).exit_code == 1

    second.log.wait_for('another node /ant0/sim is running', node='sim')
    loop.wait_for(
        'the first one goes on',
        lambda: all(t.run_id == first and not t.safe_action for t in loop.latest(20)),
    )
    loop.wait_until_steady()
    happened('refused; the first one goes on')
