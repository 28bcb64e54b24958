"""The one rollout."""

import itertools
import math

import numpy as np
import pytest

from rl_edge_core.episode_result import EndedBy
from rl_edge_core.errors import RlEdgeError
from rl_edge_sim.environment import make_environment
from rl_edge_sim.rollout import rollout


def zeros(observation):
    return np.zeros(8, np.float32)


def noise(seed):
    generator = np.random.default_rng(seed)
    return lambda observation: generator.uniform(-1, 1, 8)


def test_an_episode_is_what_its_steps_sum_to():
    env = make_environment('Ant-v5', max_episode_steps=20)
    steps = []
    (result,) = rollout(env, zeros, [11], steps.append)
    assert (result.seed, result.length, result.ended_by) == (11, 20, EndedBy.TIME_LIMIT)
    assert [step.step for step in steps] == list(range(20))
    assert result.episode_return == pytest.approx(sum(step.reward for step in steps))
    assert sum(result.reward_terms.values()) == pytest.approx(result.episode_return)
    start = make_environment('Ant-v5').reset(seed=11)[1]['x_position']
    assert result.forward_distance == pytest.approx(steps[-1].forward_position - start)
    assert result.mean_speed == pytest.approx(result.forward_distance / (20 * 0.05))
    for before, after in itertools.pairwise(steps):
        assert before.next_observation is after.observation
    assert (steps[-1].terminated, steps[-1].truncated) == (False, True)


def test_the_same_seeds_give_the_same_trajectory_bit_for_bit():
    def trajectory():
        steps = []
        env = make_environment('Ant-v5', max_episode_steps=40)
        results = rollout(env, noise(3), [0, 5], steps.append)
        return results, [
            (s.observation.tobytes(), s.applied.values.tobytes(), s.reward) for s in steps
        ]

    first, second = trajectory(), trajectory()
    assert first == second
    assert first[0][0] != first[0][1]


def test_seeds_and_not_history_decide_an_episode():
    env = make_environment('Ant-v5', max_episode_steps=30)
    _, second = rollout(env, zeros, [1, 2])
    (alone,) = rollout(make_environment('Ant-v5', max_episode_steps=30), zeros, [2])
    assert second == alone


def test_observations_and_actions_are_float32_and_limited():
    seen = []

    def strong(observation):
        seen.append(observation)
        return [5.0] * 8

    steps = []
    rollout(make_environment('Ant-v5', max_episode_steps=2), strong, [0], steps.append)
    assert {values.dtype for values in seen} == {np.dtype(np.float32)}
    assert steps[0].applied.values.dtype == np.float32
    assert steps[0].applied.values.tolist() == [1.0] * 8


def test_an_end_by_the_environment_is_termination():
    env = make_environment('InvertedPendulum-v5')
    (result,) = rollout(env, lambda _: [3.0], [0])
    assert result.ended_by is EndedBy.TERMINATION
    assert math.isnan(result.forward_distance)
    assert math.isnan(result.mean_speed)


@pytest.mark.parametrize(
    ('action', 'fault'), [([0.0] * 7, 'shape'), ([math.nan] * 8, 'nan'), ([0.0] * 9, 'shape')]
)
def test_a_broken_policy_is_named(action, fault):
    with pytest.raises(RlEdgeError, match=fault):
        rollout(make_environment('Ant-v5'), lambda _: action, [0])
