"""Why an environment ended an episode."""

import math

import gymnasium
import numpy as np
import pytest

from rl_edge_core.episode_result import EndedBy
from rl_edge_core.loop.events import AppliedAction
from rl_edge_sim.environment import make_environment
from rl_edge_sim.rollout import rollout
from rl_edge_sim.simulation import Simulation, termination_reason


@pytest.mark.parametrize(
    ('limits', 'reason'), [((0.2, 0.5), 'torso too high'), ((0.9, 1.5), 'torso too low')]
)
def test_rollout_and_simulation_name_the_limit_that_was_left(limits, reason):
    # Ant-v5 starts some 0.75 m high, so its first step leaves either.
    env = make_environment('Ant-v5', healthy_z_range=limits)
    (result,) = rollout(env, lambda _: np.zeros(8), [3])
    assert (result.length, result.ended_early, result.termination_reason) == (1, True, reason)
    simulation = Simulation(env, seed=3)
    simulation.begin_episode(0)
    simulation.advance(AppliedAction(np.zeros(8, np.float32)))
    assert simulation.result(EndedBy.TERMINATION).termination_reason == reason


def test_an_episode_that_reached_its_time_limit_has_no_reason():
    env = make_environment('Ant-v5', max_episode_steps=2)
    (result,) = rollout(env, lambda _: np.zeros(8), [3])
    assert (result.ended_early, result.termination_reason) == (False, '')


@pytest.mark.parametrize(
    ('environment_id', 'index', 'value', 'reason'),
    [
        ('Ant-v5', 5, math.nan, 'state not finite'),
        ('Humanoid-v5', 2, 0.5, 'torso too low'),
        ('Hopper-v5', 1, 0.6, 'torso too low'),
        ('Hopper-v5', 2, 0.3, 'torso angle out of limits'),
        ('Hopper-v5', 4, 101.0, 'state out of limits'),
        ('Walker2d-v5', 1, 2.1, 'torso too high'),
        ('Walker2d-v5', 2, -1.1, 'torso angle out of limits'),
        ('InvertedPendulum-v5', 1, 0.5, 'terminated'),
    ],
)
def test_reasons_of_gymnasiums_robots(environment_id, index, value, reason):
    env = make_environment(environment_id)
    env.reset(seed=0)
    env.unwrapped.data.qpos[index] = value
    assert termination_reason(env, {}) == reason


def test_what_an_environment_says_itself_counts():
    env = make_environment('Ant-v5')
    env.reset(seed=0)
    assert termination_reason(env, {'termination_reason': 'bumper pressed'}) == 'bumper pressed'


def test_an_environment_without_mujoco_is_terminated():
    assert termination_reason(gymnasium.make('Pendulum-v1'), {}) == 'terminated'
