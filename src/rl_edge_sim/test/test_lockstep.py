"""The lockstep loop, without ROS and with a clock that the test moves."""

import math
import re

import numpy as np
import pytest

from rl_edge_core.episode_result import EndedBy
from rl_edge_core.errors import ConfigurationError
from rl_edge_core.loop.action_gate import ActionCounts
from rl_edge_core.loop.control_loop import Phase
from rl_edge_core.loop.lockstep import Lockstep
from rl_edge_sim.environment import make_environment
from rl_edge_sim.rollout import rollout

PERIOD_NS = 40_000_000  # InvertedPendulum-v5: two steps of 0.02 s


def test_nothing_is_published_before_a_policy_is_connected(bench):
    b = bench(Lockstep)
    b.loop.on_timer(missing='no policy')
    b.answer()
    assert b.out.events == []
    assert b.loop.phase is Phase.WAITING
    b.loop.on_timer()
    assert b.out.events == [('observation', 0, 0)]
    assert b.loop.phase is Phase.STARTING


def test_next_observation_is_published_before_the_step(bench):
    b = bench(Lockstep).begin()
    b.answer((0.5,))
    assert b.out.events == [('observation', 0, 0), ('observation', 0, 1), ('step', 0, 0)]
    (step,) = b.out.steps
    assert list(step.observation) == list(b.out.observations[0].values)
    assert list(step.next_observation) == list(b.out.observations[1].values)
    assert step.applied.values.tolist() == [0.5]
    assert (step.reward, step.reward_terms) == (1.0, (1.0, 0.0))
    assert math.isnan(step.forward_position)
    assert step.time_ns == PERIOD_NS
    assert step.applied.model_hash == 'abc'


def test_response_time_runs_from_the_first_publication_to_the_answer(bench):
    b = bench(Lockstep).begin()
    b.wait(0.7)
    b.clock.advance(0.1)
    b.answer(inference_time_us=42.0)
    assert b.out.steps[0].applied.response_time_us == pytest.approx(800_000)
    assert b.out.steps[0].applied.inference_time_us == 42.0


def test_actions_are_limited_to_the_action_space(bench):
    b = bench(Lockstep).begin()
    for value in (50.0, -50.0):
        b.answer((value,))
    assert [step.applied.values.tolist() for step in b.out.steps] == [[3.0], [-3.0]]
    assert not any(step.applied.is_safe_action for step in b.out.steps)


@pytest.mark.parametrize(
    ('values', 'fault'),
    [
        ((math.nan,), r'action\[0\] is nan'),
        ((math.inf,), r'action\[0\] is inf'),
        ((), r'shape \(0,\), must be \(1,\)'),
        ((0.1, 0.2), r'shape \(2,\), must be \(1,\)'),
    ],
)
def test_bad_actions_are_rejected_and_the_safe_action_stands_in(bench, values, fault):
    b = bench(Lockstep, max_episode_steps=3).begin()
    b.answer(values)
    (step,) = b.out.steps
    assert step.applied.is_safe_action
    assert step.applied.values.tolist() == [0.0]
    assert step.applied.model_hash == ''
    assert b.loop.rejected_actions == 1
    assert re.search(fault, b.loop.last_fault)
    b.answer()  # the next observation is answered as ever
    b.answer()
    assert b.out.episodes[0].counts == ActionCounts(rejected=1, safe=1)


def test_safe_action_of_the_policy_is_applied_and_counted(bench):
    b = bench(Lockstep, max_episode_steps=1).begin()
    b.answer((0.0,), safe_action=True)
    assert b.out.steps[0].applied.is_safe_action
    assert b.out.episodes[0].counts == ActionCounts(safe=1)


def test_unwanted_actions_are_counted_and_never_applied(bench):
    b = bench(Lockstep, max_episode_steps=4).begin()
    b.answer()
    b.answer((1.0,), to=(0, 0))  # twice
    b.answer((1.0,), to=(0, 2))  # not published yet
    b.answer((1.0,), run_id=99)
    assert len(b.out.steps) == 1
    b.answer()
    b.answer((1.0,), to=(0, 0))  # out of order
    b.answer()
    b.answer()
    assert all(step.applied.values.tolist() == [0.0] for step in b.out.steps)
    assert b.out.episodes[0].counts == ActionCounts(duplicate=2, foreign=2)


def test_counts_belong_to_the_open_episode(bench):
    b = bench(Lockstep, max_episode_steps=2).begin()
    b.answer(run_id=99)
    b.run_episode()
    b.run_episode()
    assert [finished.counts.foreign for finished in b.out.episodes] == [1, 0]


def test_unanswered_observation_is_published_again(bench):
    b = bench(Lockstep, settings={'republish_period_sec': 0.5}).begin()
    b.answer()
    for _ in range(4):
        b.clock.advance(0.2)
        b.loop.on_timer()
    # At 0.6 s; the next is due at 1.1 s.
    assert b.out.events[3:] == [('observation', 0, 1)]
    assert b.out.observations[-1] == b.out.observations[-2]


def test_episode_ends_at_the_time_limit_and_the_next_begins(bench):
    b = bench(Lockstep, seed=40, max_episode_steps=3, settings={'episodes': 2}).begin()
    b.run_episode()
    assert b.out.events[-3:] == [
        ('step', 0, 2),
        ('episode', 0, 'TIME_LIMIT'),
        ('observation', 1, 0),
    ]
    last = b.out.steps[-1]
    assert (last.terminated, last.truncated) == (False, True)
    b.run_episode()
    first, second = (finished.result for finished in b.out.episodes)
    assert (first.seed, second.seed) == (40, 41)
    assert (first.length, first.episode_return, first.ended_by) == (3, 3.0, EndedBy.TIME_LIMIT)
    assert b.out.exit_code == 0
    assert b.loop.phase is Phase.FINISHED


def test_termination_wins_over_the_time_limit(bench):
    b = bench(Lockstep).begin()
    while not b.out.episodes:
        b.answer((3.0,))
    last, result = b.out.steps[-1], b.out.episodes[0].result
    assert last.terminated
    assert result.ended_by is EndedBy.TERMINATION
    assert result.ended_early
    assert result.termination_reason == 'terminated'


def test_simulated_time_is_monotonic_and_no_stamp_repeats(bench):
    b = bench(Lockstep, max_episode_steps=2).begin()
    b.run_episode()
    b.run_episode()
    # Two steps and a reset make three periods.
    expected = [period * PERIOD_NS for period in (0, 1, 3, 4, 6)]
    assert [observed.time_ns for observed in b.out.observations] == expected
    assert [step.time_ns for step in b.out.steps] == [p * PERIOD_NS for p in (1, 2, 4, 5)]


def test_silent_policy_fails_the_run(bench):
    b = bench(Lockstep, settings={'policy_timeout_sec': 2.0}).begin()
    b.answer()
    b.wait(1.9)
    assert not b.loop.is_policy_silent
    b.clock.advance(0.2)
    b.loop.on_timer()
    (finished,) = b.out.episodes
    assert finished.result.ended_by is EndedBy.POLICY_TIMEOUT
    assert finished.counts.missed == 1
    assert b.out.exit_code == 1
    assert b.loop.phase is Phase.FAILED
    assert 'episode 0, step 1 unanswered for 2 s' in b.loop.failure
    b.answer()
    b.loop.close()
    assert len(b.out.episodes) == 1


def test_silent_policy_is_waited_for(bench):
    b = bench(Lockstep, settings={'policy_timeout_sec': 2.0, 'on_policy_timeout': 'wait'}).begin()
    b.answer()
    b.wait(100.0)
    assert b.loop.is_policy_silent
    assert b.out.exit_code is None
    b.answer()
    assert not b.loop.is_policy_silent
    assert len(b.out.steps) == 2


def test_start_of_a_run_has_a_timeout_of_its_own(bench):
    settings = {'policy_timeout_sec': 1.0, 'first_action_timeout_sec': 30.0}
    never = bench(Lockstep, settings=settings)
    never.wait(29.0, missing='no policy')
    assert never.out.exit_code is None
    never.wait(2.0, missing='no policy')
    assert never.out.exit_code == 1
    assert 'no policy connected within 30 s' in never.loop.failure
    assert never.out.episodes == []

    loading = bench(Lockstep, settings=settings).begin()
    loading.wait(20.0)
    loading.answer()
    assert loading.out.exit_code is None
    assert len(loading.out.steps) == 1


def test_reset_in_mid_step_makes_the_open_answer_late(bench):
    b = bench(Lockstep, seed=5, max_episode_steps=3, settings={'episodes': 1}).begin()
    b.answer()
    assert b.loop.reset() == 1
    assert b.out.events[-2:] == [('episode', 0, 'RESET'), ('observation', 1, 0)]
    b.answer((2.0,), to=(0, 1))
    assert len(b.out.steps) == 1
    b.run_episode()
    reset, finished = b.out.episodes
    assert (reset.result.length, reset.result.seed, finished.result.seed) == (1, 5, 6)
    assert finished.counts == ActionCounts(late=1)
    # The episode that was reset is not one of the one that was asked for.
    assert b.out.exit_code == 0


def test_reset_with_a_seed_begins_the_episode_of_that_seed(bench):
    b = bench(Lockstep, max_episode_steps=5).begin()
    b.loop.reset(77)
    b.run_episode()
    assert b.out.episodes[1].result.seed == 77
    expected = make_environment('InvertedPendulum-v5').reset(seed=77)[0].astype(np.float32)
    assert list(b.out.observations[1].values) == expected.tolist()


def test_reset_before_the_run_began_chooses_its_first_seed(bench):
    b = bench(Lockstep, max_episode_steps=2)
    assert b.loop.reset(9) == 0
    assert b.out.events == []
    b.begin()
    b.run_episode()
    assert b.out.episodes[0].result.seed == 9


def test_bad_resets_are_refused(bench):
    b = bench(Lockstep, max_episode_steps=1, settings={'episodes': 1}).begin()
    with pytest.raises(ConfigurationError, match='seed is -1'):
        b.loop.reset(-1)
    assert b.out.episodes == []
    b.run_episode()
    with pytest.raises(ConfigurationError, match='run is over'):
        b.loop.reset()


def test_pause_in_mid_step_keeps_the_answer(bench):
    b = bench(Lockstep, settings={'policy_timeout_sec': 1.0}).begin()
    b.answer()
    b.loop.pause(True)
    b.answer((1.5,))
    b.answer((2.0,))  # a second answer stays a duplicate
    b.wait(100.0)
    assert len(b.out.steps) == 1
    assert b.out.exit_code is None
    b.loop.pause(False)
    assert [step.applied.values.tolist() for step in b.out.steps] == [[0.0], [1.5]]
    b.answer()
    assert len(b.out.steps) == 3


def test_resumed_loop_asks_again_for_an_answer_it_did_not_get(bench):
    b = bench(Lockstep).begin()
    b.loop.pause(True)
    b.loop.pause(True)
    b.clock.advance(5.0)
    b.loop.pause(False)
    b.loop.on_timer()
    assert b.out.events == [('observation', 0, 0), ('observation', 0, 0)]
    b.answer()
    assert len(b.out.steps) == 1


def test_reset_while_paused_drops_the_kept_answer(bench):
    b = bench(Lockstep).begin()
    b.loop.pause(True)
    b.answer((1.0,))
    b.loop.reset()
    b.loop.pause(False)
    assert b.out.steps == []
    assert b.out.events[-1] == ('observation', 1, 0)
    b.answer()
    assert b.out.steps[0].episode == 1


def test_close_publishes_the_open_episode(bench):
    b = bench(Lockstep).begin()
    b.answer()
    b.loop.close()
    (finished,) = b.out.episodes
    assert (finished.result.ended_by, finished.result.length) == (EndedBy.SHUTDOWN, 1)
    assert finished.model_hash == 'abc'
    b.loop.close()
    assert len(b.out.episodes) == 1


def test_close_before_the_run_began_publishes_nothing(bench):
    b = bench(Lockstep)
    b.loop.close()
    assert b.out.events == []


def _actions_of(observation):
    return np.array([3.0 * observation[1] + 0.5 * observation[3]], np.float32)


def test_lockstep_and_rollout_take_the_same_trajectory_bit_for_bit(bench):
    b = bench(Lockstep, seed=3, max_episode_steps=60, settings={'episodes': 2}).begin()
    while b.out.exit_code is None:
        b.answer(_actions_of(np.array(b.out.observations[-1].values, np.float32)))
    recorded = []
    env = make_environment('InvertedPendulum-v5', max_episode_steps=60)
    results = rollout(env, _actions_of, [3, 4], recorded.append)
    # As text, since NaN (no forward distance) equals nothing.
    assert str([finished.result for finished in b.out.episodes]) == str(results)
    assert len(recorded) > 60
    assert [
        (step.observation.tobytes(), step.applied.values.tobytes(), step.reward)
        for step in b.out.steps
    ] == [
        (step.observation.tobytes(), step.applied.values.tobytes(), step.reward)
        for step in recorded
    ]


@pytest.mark.parametrize('policy_is_there', [True, False])
def test_a_stall_of_the_node_itself_is_not_the_policys_silence(bench, policy_is_there):
    settings = {'policy_timeout_sec': 2.0, 'first_action_timeout_sec': 2.0}
    b = bench(Lockstep, settings=settings)
    missing = ''
    if policy_is_there:
        b.begin().answer()
    else:
        missing = 'no policy'
    b.wait(1.0, missing=missing)
    b.clock.advance(3600.0)  # stopped by SIGSTOP; the answer waits in a queue
    b.loop.on_timer(missing=missing)
    assert b.out.exit_code is None
    assert b.loop.silent_sec == pytest.approx(1.0)
    b.wait(0.9, missing=missing)
    assert b.out.exit_code is None
    b.wait(0.2, missing=missing)
    assert b.out.exit_code == 1


def test_a_refusing_policy_fails_the_run_at_once_with_its_reason(bench):
    b = bench(Lockstep).begin()
    b.loop.refusal = 'it was made for Ant-v4'
    b.loop.on_timer()
    assert b.out.exit_code == 1
    assert b.loop.failure == 'the policy refuses to act: it was made for Ant-v4'
    (finished,) = b.out.episodes
    assert finished.result.ended_by is EndedBy.POLICY_TIMEOUT


def test_a_refusing_policy_is_waited_for_where_the_run_says_so(bench):
    b = bench(Lockstep, settings={'on_policy_timeout': 'wait'}).begin()
    b.loop.refusal = 'it was made for Ant-v4'
    b.wait(1.0)
    assert b.out.exit_code is None
    b.loop.refusal = ''  # another model was loaded
    b.answer()
    assert len(b.out.steps) == 1
