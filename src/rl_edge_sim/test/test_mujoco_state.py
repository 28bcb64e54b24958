"""A restored environment repeats the steps that followed the snapshot, bit for bit."""

import io

import numpy as np
import pytest

from rl_edge_core.errors import ConfigurationError
from rl_edge_sim.environment import make_environment
from rl_edge_sim.mujoco_state import restore, snapshot

STEPS_BEFORE, STEPS_AFTER = 15, 25


def _run(env, actions):
    records = []
    for action in actions:
        observation, reward, terminated, truncated, info = env.step(action)
        records.append(
            (
                observation.tobytes(),
                reward,
                terminated,
                truncated,
                tuple(info['reward_terms'].items()),
            )
        )
        if terminated or truncated:
            # Draws from the generator, so its state counts too.
            records.append(env.reset()[0].tobytes())
    return records


def _actions(env, count, seed):
    low, high = env.action_space.low, env.action_space.high
    generator = np.random.default_rng(seed)
    return generator.uniform(low, high, (count, low.size)).astype(np.float32)


@pytest.mark.parametrize(
    ('environment_id', 'shaping'),
    [('Ant-v5', 'study'), ('Humanoid-v5', 'none'), ('InvertedPendulum-v5', 'none')],
)
def test_restored_steps_repeat_bit_for_bit(environment_id, shaping):
    env = make_environment(environment_id, reward_shaping=shaping, max_episode_steps=30)
    env.reset(seed=7)
    _run(env, _actions(env, STEPS_BEFORE, 1))
    state = snapshot(env)
    after = _run(env, _actions(env, STEPS_AFTER, 2))

    restore(env, state)
    assert _run(env, _actions(env, STEPS_AFTER, 2)) == after

    other = make_environment(environment_id, reward_shaping=shaping, max_episode_steps=30)
    restore(other, state)
    assert _run(other, _actions(other, STEPS_AFTER, 2)) == after


def test_state_is_stored_without_pickle():
    env = make_environment('Ant-v5', reward_shaping='study')
    env.reset(seed=3)
    _run(env, _actions(env, STEPS_BEFORE, 1))
    buffer = io.BytesIO()
    np.savez(buffer, **snapshot(env))
    expected = _run(env, _actions(env, 5, 2))
    buffer.seek(0)
    with np.load(buffer, allow_pickle=False) as stored:
        restore(env, dict(stored))
    assert _run(env, _actions(env, 5, 2)) == expected


def test_time_limit_goes_on_where_it_was():
    env = make_environment('Ant-v5', max_episode_steps=10)
    env.reset(seed=0)
    zeros = np.zeros((7, 8), np.float32)
    _run(env, zeros)
    state = snapshot(env)
    env.reset(seed=1)
    restore(env, state)
    truncated = [env.step(zeros[0])[3] for _ in range(3)]
    assert truncated == [False, False, True]


def test_state_of_another_environment_is_refused():
    ant, pendulum = make_environment('Ant-v5'), make_environment('InvertedPendulum-v5')
    ant.reset(seed=0)
    with pytest.raises(ConfigurationError, match='physics'):
        restore(pendulum, snapshot(ant))
    with pytest.raises(ConfigurationError, match='shaping'):
        restore(make_environment('Ant-v5', reward_shaping='study'), snapshot(ant))


def test_environment_without_mujoco_is_refused():
    env = make_environment('Pendulum-v1')
    env.reset(seed=0)
    with pytest.raises(ConfigurationError, match='not a MuJoCo environment'):
        snapshot(env)
