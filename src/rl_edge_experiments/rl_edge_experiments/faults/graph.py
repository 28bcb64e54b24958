"""Nodes that come in another order than usual, or two on one name."""

from rl_edge_core.ros.diagnostics import ERROR
from rl_edge_experiments.faults.fault import BOTH, Fault
from rl_edge_experiments.rig import Rig


def start_policy_first(rig: Rig) -> str:
    """Start the policy, and the simulator when it answers already."""
    _stop_both(rig)
    rig.start_policy()
    rig.wait_for_report('policy', 'waiting for the environment')
    rig.start_simulator()
    rig.wait_until_steady()
    return 'the policy says that it waits for the environment, and acts once there is one'


def start_simulator_first(rig: Rig) -> str:
    """Start the simulator, and the policy when that waits for one."""
    _stop_both(rig)
    rig.reports.clear()
    rig.start_simulator()
    rig.wait_for_report('sim', 'waiting')
    rig.start_policy()
    rig.wait_until_steady()
    return 'the simulator says that it waits for a policy, and runs once there is one'


def _stop_both(rig: Rig) -> None:
    rig.simulator.stop()
    rig.policy.stop()
    rig.simulator.wait(60)
    rig.policy.wait(60)


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


GRAPH_FAULTS = (
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
)
