"""How often something may happen, by the steady clock."""

import pytest

from rl_edge_core.ros.loop_publisher import Throttle

MS = 1_000_000


@pytest.fixture
def due_at(monkeypatch):
    """Ask a throttle at the given times in ms, and return at which of them it agreed."""

    def ask(throttle, times_ms):
        clock = iter(times_ms)
        monkeypatch.setattr(
            'rl_edge_core.ros.loop_publisher.time.monotonic_ns', lambda: round(next(clock) * MS)
        )
        return [time_ms for time_ms in times_ms if throttle.is_due()]

    return ask


def test_what_comes_at_the_allowed_rate_is_never_refused_for_jitter(due_at):
    jittering = [1000, 1049, 1101, 1149, 1200, 1248, 1301]

    assert due_at(Throttle(20.0), jittering) == jittering


def test_what_comes_faster_is_held_to_the_rate_on_average(due_at):
    due = due_at(Throttle(20.0), list(range(1000, 2000, 7)))

    assert 20 <= len(due) <= 21


def test_a_pause_is_not_made_up_for(due_at):
    # 30 ms is too early; after the pause one comes at once, and the next a period later.
    assert due_at(Throttle(20.0), [1000, 1030, 5000, 5001, 5036, 5050]) == [1000, 5000, 5050]


def test_a_rate_of_zero_is_never(due_at):
    assert due_at(Throttle(0.0), [1000, 2000]) == []
