"""The real-time loop, without ROS and with a clock that the test moves."""

import math

import pytest

from rl_edge_core.episode_result import EndedBy
from rl_edge_core.loop.action_gate import ActionCounts
from rl_edge_core.loop.control_loop import Phase
from rl_edge_core.loop.realtime import Realtime

PERIOD_SEC = 0.04  # InvertedPendulum-v5


def tick(bench, periods=1.0):
    bench.clock.advance(periods * PERIOD_SEC)
    bench.loop.on_tick()


def start(bench, **kwargs):
    b = bench(Realtime, **kwargs).begin()
    b.answer((0.1,))
    return b


def actions(bench):
    return [round(step.applied.values.item(), 6) for step in bench.out.steps]


def test_first_observation_waits_for_its_answer(bench):
    b = bench(Realtime).begin()
    for _ in range(5):
        tick(b)
    assert b.out.steps == []
    b.wait(0.5)
    assert b.out.events == [('observation', 0, 0)] * 2
    b.answer((0.1,))
    assert b.out.tick_restarts == 1
    assert b.out.steps == []
    tick(b)
    assert b.out.events[2:] == [('observation', 0, 1), ('step', 0, 0)]
    assert b.loop.dropped_periods == 0


def test_answer_is_applied_at_the_tick(bench):
    b = start(bench)
    tick(b)
    b.clock.advance(0.01)
    b.answer((0.2,))
    assert len(b.out.steps) == 1
    b.clock.advance(0.03)
    b.loop.on_tick()
    assert actions(b) == [0.1, 0.2]
    assert b.out.steps[1].applied.response_time_us == pytest.approx(10_000)


def test_last_action_is_held_until_it_is_too_old(bench):
    b = start(bench, settings={'action_max_age_sec': 0.1}, max_episode_steps=5)
    for _ in range(5):
        tick(b)
    # Received at 0 s; held at 0.08 s, older than 0.1 s from 0.12 s on.
    assert actions(b) == [0.1, 0.1, 0.0, 0.0, 0.0]
    assert [s.applied.is_safe_action for s in b.out.steps] == [False, False, True, True, True]
    assert b.loop.is_holding_safe_action
    held, safe = b.out.steps[1].applied, b.out.steps[2].applied
    assert (held.model_hash, safe.model_hash) == ('abc', '')
    assert math.isnan(held.response_time_us)
    assert math.isnan(safe.inference_time_us)
    assert b.out.episodes[0].counts == ActionCounts(missed=4, safe=3)
    assert b.out.episodes[0].result.ended_by is EndedBy.TIME_LIMIT


def test_fresh_answer_ends_the_safe_action(bench):
    b = start(bench, settings={'action_max_age_sec': 0.0})
    tick(b)
    tick(b)
    assert b.loop.is_holding_safe_action
    b.answer((0.3,))
    tick(b)
    assert actions(b) == [0.1, 0.0, 0.3]
    assert not b.loop.is_holding_safe_action


def test_late_and_double_answers_are_counted_and_not_applied(bench):
    b = start(bench, max_episode_steps=4)
    b.answer((0.9,))  # twice
    tick(b)
    tick(b)  # step 1 is missed
    b.answer((0.8,), to=(0, 1))  # late
    b.answer((0.7,), to=(0, 3))  # not published yet
    b.answer((0.6,), run_id=1)
    tick(b)
    tick(b)
    assert actions(b) == [0.1] * 4
    assert b.out.episodes[0].counts == ActionCounts(missed=3, late=1, duplicate=1, foreign=2)


@pytest.mark.parametrize('values', [(math.nan,), (math.inf,), (), (0.1, 0.2)])
def test_rejected_action_is_answered_with_the_safe_one_and_not_held(bench, values):
    b = start(bench, max_episode_steps=4)
    tick(b)
    b.answer(values)
    tick(b)
    tick(b)
    b.answer((0.4,))
    tick(b)
    assert actions(b) == [0.1, 0.0, 0.0, 0.4]
    assert b.out.episodes[0].counts == ActionCounts(missed=1, rejected=1, safe=2)


def test_action_is_not_held_across_episodes(bench):
    b = start(bench, max_episode_steps=2)
    tick(b)
    tick(b)
    tick(b)
    assert [step.episode for step in b.out.steps] == [0, 0, 1]
    assert b.out.steps[2].applied.is_safe_action


def test_periods_lost_to_a_late_tick_are_dropped_and_counted(bench):
    b = start(bench)
    tick(b)
    tick(b, 3.6)  # the ticks at 1 and 2 did not happen, that at 3 came late, the next is at 4
    tick(b, 0.4)
    tick(b)
    assert len(b.out.steps) == 4
    assert b.loop.dropped_periods == 3
    assert b.out.steps[-1].time_ns == 4 * 40_000_000


def test_real_time_factor_divides_the_period(bench):
    assert bench(Realtime, real_time_factor=4.0).loop.period_sec == pytest.approx(0.01)


def test_silent_policy_does_not_end_a_run_that_began(bench):
    b = start(bench, settings={'policy_timeout_sec': 1.0, 'first_action_timeout_sec': 1.0})
    for _ in range(50):
        tick(b)
        b.loop.on_timer(missing='no policy')
    assert len(b.out.steps) == 50
    assert b.out.exit_code is None


def test_missing_policy_fails_the_start(bench):
    b = bench(Realtime, settings={'first_action_timeout_sec': 1.0}).begin()
    b.wait(1.1)
    assert b.out.exit_code == 1
    assert b.loop.phase is Phase.FAILED
    assert b.out.episodes[0].result.ended_by is EndedBy.POLICY_TIMEOUT


def test_pause_stops_the_ticks_and_keeps_the_answer(bench):
    b = start(bench)
    tick(b)
    b.loop.pause(True)
    b.answer((0.5,))
    tick(b, 100)
    assert len(b.out.steps) == 1
    b.loop.pause(False)
    assert b.out.tick_restarts == 2
    tick(b)
    assert actions(b) == [0.1, 0.5]
    assert b.loop.dropped_periods == 0


def test_pause_before_the_first_answer(bench):
    b = bench(Realtime).begin()
    b.loop.pause(True)
    b.answer((0.5,))
    tick(b, 10)
    assert b.out.steps == []
    b.loop.pause(False)
    tick(b)
    assert actions(b) == [0.5]
    assert b.loop.dropped_periods == 0


def test_reset_in_mid_step_gives_the_policy_a_whole_period(bench):
    b = start(bench)
    tick(b)
    b.answer((0.5,))
    b.clock.advance(0.03)
    assert b.loop.reset() == 1
    assert b.out.tick_restarts == 2
    b.answer((0.6,), to=(0, 1))
    tick(b)
    assert b.out.steps[1].applied.is_safe_action
    assert b.out.steps[1].episode == 1
    assert b.loop.dropped_periods == 0
    assert b.out.episodes[0].result.ended_by is EndedBy.RESET
