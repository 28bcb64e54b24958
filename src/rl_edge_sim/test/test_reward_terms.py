"""Reward terms, worked out by hand, and their sum."""

import gymnasium
import numpy as np
import pytest

from rl_edge_sim.environment import make_environment, spec_of
from rl_edge_sim.reward_terms import (
    StudyShaping,
    low_torso_penalty,
    progress_reward,
    stillness_penalty,
)


def test_terms_of_the_study():
    assert progress_reward(0.2) == pytest.approx(1.0)
    assert progress_reward(-0.1) == pytest.approx(-0.5)
    assert [stillness_penalty(steps) for steps in (0, 20, 21)] == [0.0, 0.0, -20.0]
    assert [low_torso_penalty(height) for height in (0.29, 0.3, 0.75)] == [-1.0, 0.0, 0.0]


def test_standing_still_costs_20_at_each_21st_step():
    shaping = StudyShaping(height_index=0)
    shaping.begin({'x_position': 1.0, 'y_position': 0.0})
    tall = np.array([0.7])
    here = {'x_position': 1.001, 'y_position': 0.0}
    costs = [shaping.terms(tall, here)[1] for _ in range(42)]
    assert [step for step, cost in enumerate(costs) if cost] == [20, 41]


def test_a_step_sideways_counts_as_moving_and_not_as_progress():
    shaping = StudyShaping(height_index=0)
    shaping.begin({'x_position': 0.0, 'y_position': 0.0})
    low = np.array([0.2])
    for step in range(1, 41):
        terms = shaping.terms(low, {'x_position': 0.0, 'y_position': 0.01 * step})
        assert terms == (0.0, 0.0, -1.0)


def test_a_new_episode_counts_from_its_own_start():
    shaping = StudyShaping(height_index=0)
    shaping.begin({'x_position': 0.0})
    for _ in range(15):
        shaping.terms(np.array([0.7]), {'x_position': 0.0})
    shaping.begin({'x_position': 3.0})
    terms = [shaping.terms(np.array([0.7]), {'x_position': 3.0}) for _ in range(20)]
    assert terms == [(0.0, 0.0, 0.0)] * 20


@pytest.mark.parametrize(
    ('environment_id', 'shaping', 'names'),
    [
        ('Ant-v5', 'none', ('forward', 'ctrl', 'contact', 'survive', 'other')),
        (
            'Ant-v5',
            'study',
            (
                'forward',
                'ctrl',
                'contact',
                'survive',
                'other',
                'progress',
                'stillness',
                'low_torso',
            ),
        ),
        ('HalfCheetah-v5', 'none', ('forward', 'ctrl', 'other')),
        ('InvertedPendulum-v5', 'none', ('survive', 'other')),
        # Its penalties go by other names in its info.
        ('InvertedDoublePendulum-v5', 'none', ('survive', 'other')),
        ('Pendulum-v1', 'none', ('reward',)),
    ],
)
def test_terms_sum_to_the_reward(environment_id, shaping, names):
    env = make_environment(environment_id, reward_shaping=shaping)
    assert env.term_names == names
    env.reset(seed=2)
    env.action_space.seed(2)
    for _ in range(60):
        _, reward, terminated, truncated, info = env.step(env.action_space.sample())
        assert tuple(info['reward_terms']) == names
        assert sum(info['reward_terms'].values()) == pytest.approx(reward)
        if terminated or truncated:
            env.reset()


def test_without_shaping_the_reward_is_the_environments_own():
    ours, bare = make_environment('Ant-v5'), gymnasium.make('Ant-v5')
    ours.reset(seed=5)
    bare.reset(seed=5)
    action = np.full(8, 0.4, np.float32)
    for _ in range(20):
        assert ours.step(action)[1] == bare.step(action)[1]


def test_shaping_reads_height_and_position_by_name():
    env = make_environment('Ant-v5', reward_shaping='study')
    assert env.shaping.height_index == spec_of(env).observation_names.index('torso.z') == 0
    _, before = env.reset(seed=0)
    observation, _, _, _, after = env.step(np.full(8, 0.5, np.float32))
    terms = after['reward_terms']
    assert terms['progress'] == pytest.approx(5 * (after['x_position'] - before['x_position']))
    # Far from what the study took for it: the torso's height.
    assert terms['progress'] != pytest.approx(5 * observation[0], abs=0.5)
    assert terms['low_torso'] == 0.0
