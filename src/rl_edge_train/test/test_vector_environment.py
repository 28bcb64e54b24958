"""Environments in real worker processes."""

import multiprocessing
import os
import signal
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from rl_edge_core.errors import ConfigurationError
from rl_edge_train.algorithms.registry import make_agent
from rl_edge_train.environments import EnvironmentConfig, TrainingEnvironment, make, spec_of
from rl_edge_train.selection import play
from rl_edge_train.vector_environment import SimulationError, VectorEnvironment

# Compiling and starting processes take their time on a machine with other work to do.
pytestmark = pytest.mark.timeout(900)

PENDULUM = EnvironmentConfig('InvertedPendulum-v5')


@pytest.fixture(scope='module')
def pendulums():
    environments = VectorEnvironment(PENDULUM, spec_of(PENDULUM), count=3, processes=2)
    yield environments
    environments.close()


def step(environments, actions):
    environments.start_step(actions)
    return environments.finish_step()


def actions_for(time):
    return np.sin(np.arange(3) + time)[:, None].astype(np.float32)


def outcomes(episodes):
    # Without the distance, which is NaN here and so never equal to itself.
    return [(e.environment, e.episode_return, e.length, e.terminated) for e in episodes]


def test_every_environment_runs_as_it_would_alone(pendulums):
    pendulums.reset([7, 8, 9])
    alone = make(PENDULUM)
    alone.reset(seed=9)
    for time in range(30):
        together = step(pendulums, actions_for(time))
        observation, reward, terminated, _, _ = alone.step(actions_for(time)[2])
        np.testing.assert_array_equal(together.next_observation[2], observation.astype(np.float32))
        assert together.reward[2] == reward
        assert bool(together.terminated[2]) == terminated
        if terminated:
            alone.reset()
    alone.close()


@pytest.mark.parametrize('processes', [1, 2])
def test_a_rollout_is_what_stepping_with_the_same_policy_leads_to(pendulums, processes):
    spec = spec_of(PENDULUM)
    agent = make_agent('ppo', spec, {'minibatches': 1}, seed=3)
    agent.observe(np.random.default_rng(0).normal(size=(20, 4)))
    noise = np.random.default_rng(1).normal(size=(40, 3, 1)).astype(np.float32)
    environments = VectorEnvironment(PENDULUM, spec, count=3, processes=processes)
    environments.reset([7, 8, 9])
    environments.start_rollout(agent.acting_copy(), noise)
    rollout, episodes = environments.finish_rollout()

    observation, ended = pendulums.reset([7, 8, 9]), []
    for time in range(40):
        np.testing.assert_allclose(rollout['observation'][time], observation, atol=1e-5)
        decision = agent.acting_copy().act(observation, noise[time])
        together = step(pendulums, decision.action)
        for name, values in {
            **vars(together),
            **decision.extras,
            'action': decision.action,
        }.items():
            if name != 'episodes':
                np.testing.assert_allclose(rollout[name][time], values, atol=1e-4, err_msg=name)
        ended += together.episodes
        observation = pendulums.observation
    assert len(ended) > 1
    assert outcomes(episodes) == outcomes(ended)
    np.testing.assert_allclose(environments.observation, observation, atol=1e-4)
    environments.close()


def test_ctrl_c_is_for_the_learner_even_while_the_processes_start():
    before = multiprocessing.active_children()
    environments = VectorEnvironment(PENDULUM, spec_of(PENDULUM), count=2, processes=2)
    workers = [one for one in multiprocessing.active_children() if one not in before]
    for worker in workers:
        os.kill(worker.pid, signal.SIGINT)
    assert len(workers) == 2
    assert environments.reset([7, 8]).shape == (2, 4)
    environments.close()


def test_an_ended_episode_is_reported_and_starts_anew(pendulums):
    pendulums.reset([1, 2, 3])
    pushed = np.full((3, 1), 3.0, np.float32)
    for _ in range(200):
        last = step(pendulums, pushed)
        if last.episodes:
            break
    episode = last.episodes[0]
    assert episode.terminated
    assert episode.length == episode.episode_return + 1 or episode.length > 1
    assert abs(last.next_observation[episode.environment][1]) > 0.2
    assert abs(pendulums.observation[episode.environment][1]) < 0.02


def test_a_restored_state_repeats_bit_for_bit(pendulums):
    pendulums.reset([4, 5, 6])
    for time in range(10):
        step(pendulums, actions_for(time))
    saved = pendulums.arrays()
    first = [step(pendulums, actions_for(time)) for time in range(60)]
    assert pendulums.load_arrays(saved, fresh_seeds=(0, 0, 0)) == 3
    again = [step(pendulums, actions_for(time)) for time in range(60)]
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.next_observation, other.next_observation)
        assert outcomes(one.episodes) == outcomes(other.episodes)


def test_selection_episodes_follow_their_seeds(pendulums):
    def act(observation):
        return np.clip(-3.0 * observation[:, 1:2], -3.0, 3.0)

    episodes = play(pendulums, act, first_seed=100)
    assert [episode.environment for episode in episodes] == [0, 1, 2]
    assert outcomes(episodes) == outcomes(play(pendulums, act, first_seed=100))


def test_the_count_of_processes_must_fit():
    with pytest.raises(ValueError, match='processes'):
        VectorEnvironment(PENDULUM, spec_of(PENDULUM), count=1, processes=2)


@pytest.fixture
def broken(monkeypatch, request):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    config = EnvironmentConfig(f'broken_environments:{request.param}')
    environments = VectorEnvironment(config, spec_of(config), count=1, processes=1)
    environments.reset([0])
    yield environments
    environments.close()


@pytest.mark.parametrize(
    ('broken', 'message'),
    [
        ('TurnsToNan-v0', 'TurnsToNan-v0 is broken at step 19 .*: reward is nan'),
        ('Raises-v0', 'at step 19 .*: FloatingPointError in .*: the solver diverged'),
    ],
    indirect=['broken'],
)
def test_a_broken_environment_is_a_clear_error(broken, message):
    def many_steps():
        for _ in range(30):
            step(broken, np.zeros((1, 1), np.float32))

    with pytest.raises(SimulationError, match=message):
        many_steps()


def test_a_killed_worker_is_a_clear_error():
    environments = VectorEnvironment(PENDULUM, spec_of(PENDULUM), count=1, processes=1)
    environments.reset([0])
    environments._workers[0].kill()
    environments._workers[0].join()
    with pytest.raises(SimulationError, match='exited'):
        step(environments, np.zeros((1, 1), np.float32))
    environments.close()


def test_environments_without_a_state_to_save_start_anew():
    config = EnvironmentConfig('Pendulum-v1')
    environments = VectorEnvironment(config, spec_of(config), count=1, processes=1)
    environments.reset([0])
    step(environments, np.ones((1, 1), np.float32))
    assert environments.load_arrays(environments.arrays(), fresh_seeds=(5,)) == 0
    expected, _ = gymnasium.make('Pendulum-v1').reset(seed=5)
    np.testing.assert_array_equal(environments.observation[0], expected)
    environments.close()


def test_training_arguments_hold_where_transitions_are_collected_alone():
    # Ant-v5 starts some 0.75 m high: above this limit of the training, below its own of 1 m.
    config = EnvironmentConfig('Ant-v5', training_arguments={'healthy_z_range': [0.2, 0.5]})
    for training in (True, False):
        environments = VectorEnvironment(
            config, spec_of(config), count=1, processes=1, training=training
        )
        environments.reset([0])
        ended = step(environments, np.zeros((1, 8), np.float32)).terminated
        environments.close()
        assert bool(ended[0]) is training


def test_environment_arguments_hold_everywhere():
    config = EnvironmentConfig('Ant-v5', environment_arguments={'healthy_z_range': [0.2, 0.5]})
    for training in (True, False):
        environment = make(config, training=training)
        environment.reset(seed=0)
        assert environment.step(np.zeros(8))[2]


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'healthy_zrange': [0.2, 0.5]}, 'healthy_zrange'),
        ({'render_mode': 'human'}, 'render_mode'),
        ({'max_episode_steps': 7}, 'environment_arguments'),
    ],
)
def test_training_arguments_that_do_not_fit_are_errors(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        spec_of(EnvironmentConfig('Ant-v5', training_arguments=arguments))


def test_distance_is_from_start_to_end_also_after_a_restored_state():
    config = EnvironmentConfig('Swimmer-v5')
    environment = TrainingEnvironment(config, training=True)
    environment.reset(3)
    start = float(environment._environment.unwrapped.data.qpos[0])
    action = np.array([1.0, -1.0], np.float32)
    for _ in range(5):
        environment.step(action)
    saved = environment.snapshot()
    last = environment.step(action)
    end = float(environment._environment.unwrapped.data.qpos[0])
    assert last.distance == pytest.approx(end - start)
    assert environment.restore(saved)
    assert environment.step(action).distance == last.distance
    environment.close()
