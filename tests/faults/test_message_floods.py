"""Messages that flood a topic: malformed, stale and foreign ones."""

import pytest
from fault_loop import FaultLoop
from odd_messages import (
    foreign_actions,
    malformed_actions,
    malformed_observations,
    stale_actions,
)

FLOOD = 100_000
"""Messages of the large flood; the others have a tenth."""
COUNTED = 'counted, never applied; the loop runs on'


def unwanted(loop: FaultLoop) -> str:
    names = ('rejected', 'late', 'duplicate', 'foreign')
    return 'counted ' + ', '.join(f'{loop.counts(f"{name}_actions")} {name}' for name in names)


@pytest.mark.faults('100,000 malformed actions', expected=COUNTED, may_lose=True)
def test_malformed_actions(loop, happened):
    now = loop.newest_observation()

    count = loop.flood_actions(malformed_actions(FLOOD, run_id=now.run_id, episode=now.episode))

    loop.wait_until_steady()
    loop.wait_for_episode()
    happened(f'{count} sent; {unwanted(loop)}; the loop runs')


@pytest.mark.faults('flood of stale actions', expected=COUNTED, may_lose=True)
def test_stale_actions(loop, happened):
    while (now := loop.newest_observation()).step < 5:
        pass

    count = loop.flood_actions(
        stale_actions(FLOOD // 10, run_id=now.run_id, episode=now.episode, step=now.step)
    )

    loop.wait_until_steady()
    loop.wait_for_episode()
    assert loop.counts('late_actions') + loop.counts('duplicate_actions') > 0
    happened(f'{count} sent; {unwanted(loop)}; none applied')


@pytest.mark.faults('flood of foreign actions', expected=COUNTED, may_lose=True)
def test_foreign_actions(loop, happened):
    now = loop.newest_observation()

    count = loop.flood_actions(
        foreign_actions(FLOOD // 10, run_id=now.run_id, episode=now.episode, step=now.step)
    )

    loop.wait_until_steady()
    loop.wait_for_episode()
    assert loop.counts('foreign_actions') > 0
    happened(f'{count} sent; {unwanted(loop)}; none applied')


@pytest.mark.faults('flood of malformed observations', expected=COUNTED, may_lose=True)
def test_malformed_observations(loop, happened):
    now = loop.newest_observation()

    count = loop.flood_observations(malformed_observations(FLOOD // 10, run_id=now.run_id))

    loop.wait_until_steady()
    rejected = loop.wait_for(
        'a rejection in policy_status',
        lambda: loop.observer.statuses and loop.observer.statuses[-1].rejected_observations,
    )
    happened(f'{count} sent; {rejected} rejected by the policy; the loop runs')
