"""Soft actor-critic with a learned temperature (Haarnoja 2018b), one XLA call for many updates."""

from collections.abc import Mapping
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_train import losses
from rl_edge_train.acting import SquashedGaussianHead
from rl_edge_train.algorithms.base import (
    Agent,
    ReplayAgentConfig,
    built_adam,
    check_whole_rounds,
    mean_of_updates,
    trainable_of,
    weights_of,
)
from rl_edge_train.exported_models import squashed_gaussian_model
from rl_edge_train.networks import clone_network, soft_update
from rl_edge_train.starting import StartingWeights

METRICS = ('critic_loss', 'actor_loss', 'temperature', 'entropy', 'q_mean')
DETERMINISTIC_STD = 0.2
"""Noise before squashing of a policy that starts from one without any."""


@dataclass(frozen=True)
class SacConfig(ReplayAgentConfig):
    """Hyper-parameters of soft actor-critic."""

    temperature_learning_rate: float = 3e-4
    """Adam step of the logarithm of the temperature."""
    final_learning_rate_share: float = 1.0
    """Share of the learning rates of actor and critics left at the end; falls linearly."""
    decay_from: float = 0.0
    """Share of the run that is done when learning rates and target entropy begin to fall."""
    policy_delay: int = 1
    """Critic updates for one update of actor and temperature."""
    target_entropy_per_action: float = -1.0
    """Entropy that the temperature is tuned for, in nats per action dimension."""
    target_entropy_fall: float = 0.0
    """By how much that has fallen at the end: less noise, so that what acts is what is shipped."""
    initial_temperature: float = 0.2
    """Weight of the entropy at the start."""
    reward_scale: float = 1.0
    """Factor on the rewards inside the losses."""
    quantiles: int = 1
    """Quantiles a critic predicts (TQC, Kuznetsov 2020); 1 is plain SAC with the smaller Q."""
    dropped_quantiles: int = 2
    """Largest target quantiles dropped a critic, against overestimation; with quantiles > 1."""
    log_std_minimum: float = -5.0
    """Lowest log standard deviation before squashing."""
    log_std_maximum: float = 2.0
    """Highest log standard deviation before squashing."""


class SacAgent(Agent):
    """Twin critics, a squashed Gaussian actor and its temperature."""

    def __init__(self, spec: EnvironmentSpec, config: SacConfig, *, seed: int) -> None:
        super().__init__(spec, config, seed=seed)
        if not 0.0 <= config.decay_from < 1.0:
            raise ValueError(f'decay_from is {config.decay_from}, must be from 0 to below 1')
        self.config = config
        self.build_actor(2 * spec.action_size, config)
        self.critics = self.action_critics(2, config.critic, outputs=config.quantiles)
        self.target_critics = [
            clone_network(critic, name=f'target_{critic.name}') for critic in self.critics
        ]
        self.log_temperature = tf.Variable(np.log(config.initial_temperature), dtype=tf.float32)
        self.target_entropy = tf.Variable(
            config.target_entropy_per_action * spec.action_size, dtype=tf.float32, trainable=False
        )
        self.critic_variables = trainable_of(self.critics)
        self.target_variables = weights_of(self.target_critics)
        self.critic_optimizer = built_adam(config.critic_learning_rate, self.critic_variables)
        self.temperature_optimizer = built_adam(
            config.temperature_learning_rate, [self.log_temperature]
        )
        self.learned = {
            'actor': self.actor.weights,
            'critics': weights_of(self.critics),
            'target_critics': self.target_variables,
            'log_temperature': [self.log_temperature],
            'actor_optimizer': self.actor_optimizer.variables,
            'critic_optimizer': self.critic_optimizer.variables,
            'temperature_optimizer': self.temperature_optimizer.variables,
        }

    def set_progress(self, share: float) -> None:
        """Let learning rates and target entropy fall linearly, `share` of the run being done."""
        config = self.config
        if config.final_learning_rate_share == 1.0 and not config.target_entropy_fall:
            return
        fallen = max(0.0, min(share, 1.0) - config.decay_from) / (1.0 - config.decay_from)
        factor = 1.0 + (config.final_learning_rate_share - 1.0) * fallen
        self.actor_optimizer.learning_rate.assign(config.actor_learning_rate * factor)
        self.critic_optimizer.learning_rate.assign(config.critic_learning_rate * factor)
        entropy = config.target_entropy_per_action - config.target_entropy_fall * fallen
        self.target_entropy.assign(entropy * self.spec.action_size)

    @property
    def _log_std_limits(self) -> tuple[float, float]:
        return self.config.log_std_minimum, self.config.log_std_maximum

    def acting_head(self) -> SquashedGaussianHead:
        """Return a Gaussian that is squashed."""
        return SquashedGaussianHead(self.scale, self._log_std_limits)

    def update(self, rows: np.ndarray) -> dict[str, float]:
        """Learn from rows (updates, batch, width); updates must be a multiple of policy_delay."""
        check_whole_rounds(len(rows), self.config.policy_delay)
        measured = self._update(tf.constant(rows)).numpy()
        self.actor_has_changed()
        return dict(zip(METRICS, measured.tolist(), strict=True))

    def _sample(self, observation: tf.Tensor, stream: int) -> tuple[tf.Tensor, tf.Tensor]:
        mean, log_std = tf.split(self.actor(observation), 2, axis=-1)
        log_std = tf.clip_by_value(log_std, *self._log_std_limits)
        noise = self.learning_noise(tf.shape(mean), stream=stream)
        unsquashed = mean + tf.exp(log_std) * noise
        return tf.tanh(unsquashed), losses.squashed_gaussian_log_prob(unsquashed, mean, log_std)

    @tf.function(jit_compile=True, autograph=False)
    def _update(self, rows: tf.Tensor) -> tf.Tensor:
        rounds = tf.reshape(rows, (-1, self.config.policy_delay, *rows.shape[1:]))
        return mean_of_updates(self._update_round, rounds, measures=len(METRICS))

    def _update_round(self, rows: tf.Tensor) -> tf.Tensor:
        """Update the critics once for each of ``policy_delay`` batches, then the actor."""
        for batch in tf.unstack(rows):
            critic_loss, q_mean = self._update_critics(batch)
        actor_loss, entropy = self._update_actor(batch)
        temperature = tf.exp(self.log_temperature)
        return tf.stack([critic_loss, actor_loss, temperature, entropy, q_mean])

    def _update_critics(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        self.updates.assign_add(1)
        inputs = self.critic_inputs(rows)
        target = self.critic_target(rows)
        with tf.GradientTape() as tape:
            predicted = [critic(inputs) for critic in self.critics]
            loss = tf.add_n([self._critic_loss(values, target) for values in predicted])
        gradients = tape.gradient(loss, self.critic_variables)
        self.critic_optimizer.apply(gradients, self.critic_variables)
        soft_update(self.target_variables, self.critic_variables, tau=self.config.tau)
        return loss, tf.reduce_mean(predicted[0])

    def _critic_loss(self, predicted: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
        if self.config.quantiles > 1:
            return losses.quantile_huber_loss(predicted, target)
        return tf.reduce_mean(tf.square(predicted - target))

    def critic_target(self, rows: tf.Tensor) -> tf.Tensor:
        """Return the soft TD targets (batch, n), n the target quantiles that were kept."""
        following = self.normalizer(self.layout.column(rows, 'next_observation'))
        action, log_prob = self._sample(following, stream=0)
        inputs = tf.concat([following, action], axis=-1)
        values = [critic(inputs) for critic in self.target_critics]
        value = self._pooled(values) - tf.exp(self.log_temperature) * log_prob[:, None]
        return losses.td_target(
            self.config.reward_scale * self.layout.column(rows, 'reward')[:, None],
            self.layout.column(rows, 'terminated')[:, None],
            value,
            discount=self.config.discount,
        )

    def _pooled(self, values: list[tf.Tensor]) -> tf.Tensor:
        if self.config.quantiles > 1:
            pooled = tf.concat(values, axis=-1)
            return losses.truncated_quantiles(pooled, drop=2 * self.config.dropped_quantiles)
        return tf.minimum(values[0], values[1])

    def _update_actor(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        observation = self.normalizer(self.layout.column(rows, 'observation'))
        with tf.GradientTape() as tape:
            action, log_prob = self._sample(observation, stream=1)
            inputs = tf.concat([observation, action], axis=-1)
            q = self._actor_value([critic(inputs) for critic in self.critics])
            loss = tf.reduce_mean(tf.exp(self.log_temperature) * log_prob - q)
        variables = self.actor.trainable_variables
        self.actor_optimizer.apply(tape.gradient(loss, variables), variables)
        with tf.GradientTape() as tape:
            temperature_loss = losses.temperature_loss(
                self.log_temperature, log_prob, target_entropy=self.target_entropy
            )
        gradient = tape.gradient(temperature_loss, [self.log_temperature])
        self.temperature_optimizer.apply(gradient, [self.log_temperature])
        return loss, -tf.reduce_mean(log_prob)

    def _actor_value(self, values: list[tf.Tensor]) -> tf.Tensor:
        if self.config.quantiles > 1:
            return tf.reduce_mean(tf.concat(values, axis=-1), axis=-1)
        return tf.minimum(values[0], values[1])[:, 0]

    def policy_model(self) -> keras.Model:
        """Build raw observation -> action, value (the smaller mean Q there) and log_std."""
        return squashed_gaussian_model(self, self.critics, log_std_limits=self._log_std_limits)

    def start_from(
        self, weights: StartingWeights, observations: np.ndarray | None
    ) -> Mapping[str, bool]:
        """Take over the policy; its noise and critics where they are of this kind."""
        kernel, bias = weights.action_head
        noise_kernel, noise_bias = weights.log_std_head or (np.zeros_like(kernel), weights.log_std)
        has_noise = noise_bias is not None
        if not has_noise:
            noise_bias = np.full_like(bias, np.log(DETERMINISTIC_STD))
        head = [
            np.concatenate([kernel, noise_kernel], axis=-1),
            np.concatenate([bias, noise_bias]),
        ]
        self.start_actor(weights, observations, trunk=self.config.actor, head=head)
        has_critics = self.start_action_critics(weights, self.critics, self.target_critics)
        return {'actor': True, 'critics': has_critics, 'log_std': has_noise}
