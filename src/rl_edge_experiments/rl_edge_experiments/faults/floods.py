"""Messages that flood a topic: malformed, stale and foreign ones."""

from rl_edge_experiments.faults.fault import BOTH, COUNTED, Fault
from rl_edge_experiments.faults.messages import (
    foreign_actions,
    malformed_actions,
    malformed_observations,
    stale_actions,
)
from rl_edge_experiments.rig import FaultFailedError, Rig
from rl_edge_interfaces.msg import Observation

FLOOD = 100_000
"""Messages of the large flood; the others have a tenth."""


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


FLOOD_FAULTS = (
    Fault('100,000 malformed actions', BOTH, COUNTED, flood_malformed_actions, may_lose=True),
    Fault('flood of stale actions', BOTH, COUNTED, flood_stale_actions, may_lose=True),
    Fault('flood of foreign actions', BOTH, COUNTED, flood_foreign_actions, may_lose=True),
    Fault(
        'flood of malformed observations',
        BOTH,
        COUNTED,
        flood_malformed_observations,
        may_lose=True,
    ),
)
