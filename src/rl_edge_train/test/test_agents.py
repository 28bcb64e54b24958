"""What every agent must do, and what each of its losses moves."""

import importlib.util
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from rl_edge_core.errors import ConfigurationError
from rl_edge_train.algorithms.base import built_adam
from rl_edge_train.algorithms.registry import ALGORITHMS, make_agent
from rl_edge_train.networks import TrunkConfig, build_network, clone_network, soft_update

_location = importlib.util.spec_from_file_location('agents', Path(__file__).parent / 'agents.py')
agents = importlib.util.module_from_spec(_location)
_location.loader.exec_module(agents)
SPEC, small_agent, rows_of = agents.SPEC, agents.small_agent, agents.rows_of


@pytest.fixture(autouse=True)
def _eager():
    # Compiling each small update takes longer than running it.
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def changed(agent, act):
    """Return the groups of variables, optimizers and counters aside, that `act` changes."""
    before = agent.arrays()
    act()
    after = agent.arrays()
    groups = {n.split('/')[0] for n in after if not np.array_equal(before[n], after[n])}
    return {g for g in groups if 'optimizer' not in g and g not in ('counters', 'generator')}


@pytest.mark.parametrize('algorithm', ALGORITHMS)
def test_actions_keep_to_the_limits_and_exploration_follows_the_seed(algorithm):
    observation = 10 * np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    first, second = (small_agent(algorithm) for _ in range(2))
    explored = first.act(observation, explore=True).action
    assert np.all((explored >= SPEC.low) & (explored <= SPEC.high))
    np.testing.assert_array_equal(explored, second.act(observation, explore=True).action)
    assert not np.array_equal(explored, first.act(observation, explore=True).action)
    np.testing.assert_array_equal(
        first.act(observation, explore=False).action, second.act(observation, explore=False).action
    )


@pytest.mark.parametrize('algorithm', ALGORITHMS)
def test_a_restored_agent_learns_on_exactly_as_the_saved_one(algorithm):
    saved, restored = small_agent(algorithm), small_agent(algorithm)
    rows = np.stack([rows_of(saved, 8, seed=seed) for seed in range(4)])
    saved.update(rows)
    restored.load_arrays(saved.arrays())
    assert saved.update(rows) == restored.update(rows)
    for name, values in saved.arrays().items():
        np.testing.assert_array_equal(values, restored.arrays()[name], err_msg=name)


def test_the_arrays_of_another_agent_are_refused():
    with pytest.raises(ValueError, match='another agent'):
        small_agent('sac').load_arrays(small_agent('td3').arrays())
    with pytest.raises(ValueError, match='shape'):
        small_agent('td3').load_arrays(small_agent('td3', actor={'widths': [9]}).arrays())


@pytest.mark.parametrize('algorithm', ALGORITHMS)
def test_the_exported_model_acts_as_the_agent(algorithm, tmp_path):
    agent = small_agent(algorithm, normalize_observations=True)
    observation = np.random.default_rng(1).normal(3.0, 2.0, (20, 4)).astype(np.float32)
    agent.observe(observation)
    agent.policy_model().save(tmp_path / 'policy.keras')
    model = keras.models.load_model(tmp_path / 'policy.keras', safe_mode=True)
    outputs = model(observation)
    np.testing.assert_allclose(
        outputs['action'], agent.act(observation, explore=False).action, atol=1e-5
    )
    assert outputs['value'].shape == (20, 1)
    # The networks see the first three inputs alone, the artifact takes all four.
    observation[:, 3] = 1e3
    np.testing.assert_array_equal(model(observation)['action'], outputs['action'])


def test_the_exported_value_is_the_smaller_q_at_the_action():
    agent = small_agent('td3')
    for critic, value in zip(agent.critics, (5.0, 3.0), strict=True):
        make_constant(critic, value)
    np.testing.assert_allclose(agent.policy_model()(np.zeros((1, 4)))['value'], [[3.0]])


def make_constant(network, value):
    """Make a network answer `value` whatever its input."""
    for variable in network.weights:
        variable.assign(tf.zeros_like(variable))
    network.layers[-1].bias.assign(tf.fill(network.layers[-1].bias.shape, value))


def ends(agent):
    """Return rows with reward 1: one goes on, one terminated, one was cut by the time limit."""
    return rows_of(
        agent,
        3,
        reward=np.ones(3),
        terminated=np.array([0.0, 1.0, 0.0]),
        truncated=np.array([0.0, 0.0, 1.0]),
    )


def test_ddpg_and_td3_targets_bootstrap_unless_terminated():
    # 1 + 0.99 * 10 = 10.9; TD3 takes the smaller of its targets, 4: 1 + 0.99 * 4 = 4.96.
    for algorithm, values, expected in (('ddpg', (10.0,), 10.9), ('td3', (10.0, 4.0), 4.96)):
        agent = small_agent(algorithm)
        for critic, value in zip(agent.targets[1:], values, strict=True):
            make_constant(critic, value)
        target = agent.critic_target(tf.constant(ends(agent)))
        np.testing.assert_allclose(target, [expected, 1.0, expected], rtol=1e-6)


def test_sac_target_is_the_smaller_value_less_the_entropy_term():
    agent = small_agent('sac', initial_temperature=1e-12)
    for critic, value in zip(agent.target_critics, (10.0, 4.0), strict=True):
        make_constant(critic, value)
    rows = tf.constant(ends(agent))
    np.testing.assert_allclose(agent.critic_target(rows)[:, 0], [4.96, 1.0, 4.96], rtol=1e-5)
    # A policy of low density (high entropy) is worth more once the temperature counts.
    agent.log_temperature.assign(0.0)
    for variable in agent.actor.trainable_variables:
        variable.assign(tf.zeros_like(variable))
    assert float(agent.critic_target(rows)[1, 0]) == 1.0
    assert float(agent.critic_target(rows)[0, 0]) != pytest.approx(4.96)


def test_actor_critic_target_bootstraps_unless_terminated():
    agent = small_agent('actor_critic')
    make_constant(agent.target_critic, 10.0)
    target = agent.value_target(tf.constant(ends(agent)))
    np.testing.assert_allclose(target, [10.9, 1.0, 10.9], rtol=1e-6)


def test_sac_losses_move_their_own_weights_alone():
    agent = small_agent('sac')
    rows = tf.constant(rows_of(agent, 8))
    assert changed(agent, lambda: agent._update_critics(rows)) == {'critics', 'target_critics'}
    assert changed(agent, lambda: agent._update_actor(rows)) == {'actor', 'log_temperature'}


def test_td3_losses_move_their_own_weights_alone():
    agent = small_agent('td3')
    rows = tf.constant(rows_of(agent, 8))
    actor, critics = (
        [v.numpy() for v in agent.actor.weights],
        [v.numpy() for v in agent.critic_variables],
    )
    assert changed(agent, lambda: agent._update_critics(rows)) == {'networks'}
    same = [np.array_equal(a, b) for a, b in zip(actor, agent.actor.weights, strict=True)]
    assert all(same)
    critics = [v.numpy() for v in agent.critic_variables]
    assert changed(agent, lambda: agent._update_actor(rows)) == {'networks'}
    for before, after in zip(critics, agent.critic_variables, strict=True):
        np.testing.assert_array_equal(before, after)


def test_ppo_losses_move_their_own_weights_alone():
    agent = small_agent('ppo')
    batch = tf.constant(
        agent._training_batch(np.stack([rows_of(agent, 2, seed=s) for s in (0, 1)]))[None]
    )
    assert changed(agent, lambda: agent._value_epoch(batch)) == {'critic'}
    assert changed(agent, lambda: agent._policy_epoch(batch)) == {'actor', 'log_std'}


def test_actor_critic_trains_its_actor_and_its_critic():
    # The study differentiated the critic's loss alone, so its exported actor was random.
    agent = small_agent('actor_critic')
    rows = tf.constant(rows_of(agent, 8))
    observation = agent.normalizer(agent.layout.column(rows, 'observation'))
    advantage = tf.ones(8)
    assert changed(agent, lambda: agent._update_actor(rows, observation, advantage)) == {'actor'}
    moved = changed(agent, lambda: agent._update_once(rows))
    assert moved == {'actor', 'critic', 'target_critic'}


def test_the_policy_is_delayed():
    agent = small_agent('td3', policy_delay=2)
    rows = np.stack([rows_of(agent, 8, seed=seed) for seed in range(4)])
    agent.update(rows)
    assert int(agent.critic_optimizer.iterations.numpy()) == 4
    assert int(agent.actor_optimizer.iterations.numpy()) == 2
    with pytest.raises(ValueError, match='policy_delay 2'):
        agent.update(rows[:3])


def test_log_probabilities_belong_to_the_stored_sample():
    for algorithm in ('ppo', 'actor_critic'):
        agent = small_agent(algorithm)
        decision = agent.act(np.zeros((200, 4), np.float32), explore=True)
        # One Gaussian for all rows: its mean and std are recovered from the samples' densities.
        sample, log_prob = decision.extras['sample'], decision.extras['log_prob']
        mean = agent.scale.to_network(agent.act(np.zeros((1, 4)), explore=False).action)
        std = np.exp(np.broadcast_to(agent.log_std.numpy(), (2,)))
        expected = -0.5 * ((sample - mean) / std) ** 2 - np.log(std) - 0.5 * np.log(2 * np.pi)
        np.testing.assert_allclose(log_prob, expected.sum(axis=1), rtol=1e-4)
        applied = np.clip(agent.scale.to_environment(sample), SPEC.low, SPEC.high)
        np.testing.assert_allclose(decision.action, applied, rtol=1e-6)


def test_ppo_stops_its_policy_epochs_at_the_target_kl():
    for target_kl, epochs in ((1e-9, 1), (0.0, 3)):
        agent = small_agent('ppo', target_kl=target_kl, policy_learning_rate=0.01)
        rows = np.stack([rows_of(agent, 4, seed=seed) for seed in range(4)])
        assert agent.update(rows)['policy_epochs'] == epochs


def test_ppo_refuses_a_rollout_too_short_for_its_minibatches():
    agent = small_agent('ppo', minibatches=8)
    with pytest.raises(ValueError, match='minibatches'):
        agent.update(np.stack([rows_of(agent, 2)]))


def test_exploration_noise_falls_over_the_run():
    agent = small_agent('actor_critic', initial_std=1.0, final_std=0.1)
    stds = []
    for share in (0.0, 0.5, 1.0, 2.0):
        agent.set_progress(share)
        stds.append(float(np.exp(agent.log_std.numpy())))
    np.testing.assert_allclose(stds, [1.0, 0.55, 0.1, 0.1], rtol=1e-6)


def test_sac_lets_learning_rates_and_target_entropy_fall_towards_the_end():
    agent = small_agent(
        'sac',
        actor_learning_rate=1e-3,
        final_learning_rate_share=0.2,
        decay_from=0.5,
        target_entropy_fall=1.0,
    )
    # Two actions: the target is -2 at first. Half of the second half done: half of the way.
    for share, rate, entropy in ((0.5, 1e-3, -2.0), (0.75, 6e-4, -3.0), (1.0, 2e-4, -4.0)):
        agent.set_progress(share)
        assert float(agent.actor_optimizer.learning_rate.numpy()) == pytest.approx(rate)
        assert float(agent.target_entropy.numpy()) == pytest.approx(entropy)


def test_soft_update():
    # 1 + 0.1 * (3 - 1) = 1.2.
    target, source = tf.Variable([1.0]), tf.Variable([3.0])
    soft_update([target], [source], tau=0.1)
    np.testing.assert_allclose(target, [1.2], rtol=1e-6)


def test_a_target_network_starts_equal_and_is_apart():
    network = build_network(3, 2, TrunkConfig(widths=(4,)), name='n', seed=0)
    clone = clone_network(network, name='t')
    inputs = np.ones((1, 3), np.float32)
    np.testing.assert_array_equal(network(inputs), clone(inputs))
    network.layers[-1].bias.assign([1.0, 1.0])
    np.testing.assert_allclose(network(inputs) - clone(inputs), [[1.0, 1.0]], rtol=1e-6)


def test_layer_norm_and_activation_are_where_the_configuration_says():
    trunk = TrunkConfig((4, 4), activations=('relu', 'tanh'), layer_norms=('after', 'none'))
    network = build_network(3, 2, trunk, name='n', seed=0)
    kinds = [type(layer).__name__ for layer in network.layers[1:]]
    assert kinds == ['Dense', 'Activation', 'LayerNormalization', 'Dense', 'Activation', 'Dense']


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'discont': 0.9}, 'discount'),
        ({'actor': {'widths': []}}, 'widths'),
        ({'actor': {'widths': [4], 'activations': ['rele']}}, 'relu'),
        ({'observation_inputs': 5}, '4 observation values'),
    ],
)
def test_unfit_settings_are_errors_that_name_the_valid(settings, message):
    with pytest.raises(ValueError, match=message):
        make_agent('sac', SPEC, settings, seed=0)


def test_an_unknown_algorithm_is_an_error_that_lists_the_valid():
    with pytest.raises(ConfigurationError, match='sac'):
        make_agent('sak', SPEC, {}, seed=0)


def test_the_noise_of_ppo_is_kept_from_falling_below_its_minimum():
    agent = small_agent('ppo', initial_log_std=-2.0, minimum_log_std=-1.5)
    agent.update(np.stack([rows_of(agent, 8, seed=seed) for seed in range(4)]))
    assert agent.log_std.numpy().min() == np.float32(-1.5)


def test_the_first_rollouts_may_train_the_value_network_alone():
    agent = small_agent('ppo', value_rollouts=1)
    rows = np.stack([rows_of(agent, 8, seed=seed) for seed in range(4)])
    assert changed(agent, lambda: agent.update(rows)) == {'critic', 'normalizer', 'return_scaler'}
    assert {'actor', 'log_std'} <= changed(agent, lambda: agent.update(rows))


def rollout_of(agent, *, reward_scale=1.0, observation_scale=1.0):
    """Return rows (time, environments, width) of one rollout of 16 steps in 2 environments."""
    named = agents.transitions(agent, 32, seed=3)
    named['reward'] = named['reward'] * np.float32(reward_scale)
    for name in ('observation', 'next_observation'):
        named[name] = named[name] * np.float32(observation_scale)
    return agent.layout.rows(named).reshape(16, 2, -1)


def test_large_rewards_do_not_shorten_the_steps_of_the_policy():
    # Each network's gradient is limited alone. Stable-Baselines3 limits both together: there a
    # value loss of some thousands leaves the policy next to nothing of its gradient.
    def updated_actor(scale):
        agent = small_agent('ppo', seed=2, scale_rewards=False, normalize_observations=False)
        for weights in agent.critic.layers[-1].weights:  # so that advantages scale with rewards
            weights.assign(tf.zeros_like(weights))
        agent.update(rollout_of(agent, reward_scale=scale))
        return agent.actor.get_weights()

    for small, large in zip(updated_actor(1.0), updated_actor(1000.0), strict=True):
        np.testing.assert_allclose(small, large, atol=1e-5)


def test_the_first_updates_of_ppo_see_observations_of_size_one():
    agent = small_agent('ppo', seed=2)
    seen = []
    train = agent._train_policy

    def remember(shuffled):
        batch = shuffled(0).reshape(-1, shuffled(0).shape[-1])
        seen.append(agent.normalizer(tf.constant(batch[:, : agents.KEPT])).numpy())
        return train(shuffled)

    agent._train_policy = remember
    rows = rollout_of(agent, observation_scale=50.0)
    agent.update(rows)
    np.testing.assert_allclose(seen[0].mean(axis=0), 0.0, atol=1e-4)
    np.testing.assert_allclose(seen[0].std(axis=0), 1.0, atol=1e-3)
    assert agent.normalizer.count == 32  # taken in once
    agent.update(rows)
    assert agent.normalizer.count == 64


def test_the_first_step_of_adam_is_shortened_by_its_epsilon():
    # Keras adds epsilon to the root of the second moment before it is corrected, PyTorch after:
    # at a gradient of 1e-4 and epsilon 1e-5 the first step is 1 / (1 + 0.1 / sqrt(0.001)) = 0.24
    # of the learning rate here and 1 / 1.1 = 0.91 there; after a thousand steps both are 0.9.
    weight = tf.Variable([0.0])
    optimizer = built_adam(1.0, [weight], epsilon=1e-5)

    @tf.function
    def step():
        before = tf.identity(weight)
        optimizer.apply([tf.constant([1e-4])], [weight])
        return before - weight

    tf.config.run_functions_eagerly(False)
    steps = [float(step()[0]) for _ in range(3000)]
    assert steps[0] == pytest.approx(0.2403, rel=1e-3)
    assert steps[-1] == pytest.approx(0.91, rel=0.01)


def test_the_noise_of_ppo_falls_along_its_schedule():
    agent = small_agent('ppo', initial_log_std=-1.0, final_log_std=-2.0)
    rows = np.stack([rows_of(agent, 8, seed=seed) for seed in range(4)])
    for share, expected in ((0.25, -1.25), (1.0, -2.0), (1.5, -2.0)):
        noise = agent.log_std.numpy().copy()
        agent.set_progress(share)
        # What is learned from now was explored with the noise of before.
        np.testing.assert_array_equal(agent.log_std.numpy(), noise)
        agent.update(rows)
        np.testing.assert_allclose(agent.log_std.numpy(), expected, rtol=1e-6)
