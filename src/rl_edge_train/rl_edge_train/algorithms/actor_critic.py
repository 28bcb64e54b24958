"""Advantage actor-critic that learns from replay, as the study meant it.

The study's agent had a state-value critic, a replay buffer and a target network, and never trained
its actor. Here the actor follows the one-step advantage (Sutton and Barto 2018, section 13.5); a
transition that an older policy made counts by its importance weight, cut at a maximum.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_train import losses
from rl_edge_train.acting import GaussianHead
from rl_edge_train.algorithms.base import Agent, ReplayAgentConfig, built_adam, mean_of_updates
from rl_edge_train.exported_models import gaussian_model
from rl_edge_train.networks import (
    STUDY_TRUNK,
    TrunkConfig,
    build_network,
    clone_network,
    soft_update,
)
from rl_edge_train.starting import StartingWeights

METRICS = ('critic_loss', 'actor_loss', 'value_mean', 'importance_weight', 'advantage_std')


@dataclass(frozen=True)
class ActorCriticConfig(ReplayAgentConfig):
    """Hyper-parameters of the advantage actor-critic."""

    actor: TrunkConfig = STUDY_TRUNK
    critic: TrunkConfig = STUDY_TRUNK
    initial_std: float = 1.0
    """Exploration noise at the start, as a share of half the action range."""
    final_std: float = 0.1
    """Exploration noise at the end; it falls linearly over the run."""
    sequence_length: int = 1
    """Successive transitions that an advantage looks ahead over; 1 is the study's one step."""
    trace_decay: float = 0.95
    """Lambda of the advantages of longer sequences."""
    maximum_weight: float = 1.0
    """Largest importance weight of a transition."""
    normalize_advantages: bool = False
    """Give the advantages of each batch mean 0 and standard deviation 1."""


class ActorCriticAgent(Agent):
    """A Gaussian policy with scheduled noise, and a state value with a target network."""

    def __init__(self, spec: EnvironmentSpec, config: ActorCriticConfig, *, seed: int) -> None:
        extras = {'sample': spec.action_size, 'log_prob': 0}
        super().__init__(spec, config, seed=seed, extras=extras)
        self.config = config
        self.build_actor(spec.action_size, config)
        self.critic = build_network(
            self.inputs, 1, config.critic, name='critic', seed=seed * 1000 + 100
        )
        self.target_critic = clone_network(self.critic, name='target_critic')
        self.log_std = tf.Variable(np.log(config.initial_std), dtype=tf.float32, trainable=False)
        self.critic_optimizer = built_adam(
            config.critic_learning_rate, self.critic.trainable_variables
        )
        self.learned = {
            'actor': self.actor.weights,
            'critic': self.critic.weights,
            'target_critic': self.target_critic.weights,
            'log_std': [self.log_std],
            'actor_optimizer': self.actor_optimizer.variables,
            'critic_optimizer': self.critic_optimizer.variables,
        }

    @property
    def sequence_length(self) -> int:
        """Return how many successive transitions `update` takes together."""
        return self.config.sequence_length

    def set_progress(self, share: float) -> None:
        """Let the exploration noise fall linearly from its first to its last value."""
        first, last = self.config.initial_std, self.config.final_std
        self.log_std.assign(np.log(first + (last - first) * min(share, 1.0)))
        self.actor_has_changed()

    def acting_head(self) -> GaussianHead:
        """Return a Gaussian around the squashed mean."""
        return GaussianHead(
            self.scale, self.spec.low, self.spec.high, self.log_std.numpy(), squashed_mean=True
        )

    def update(self, rows: np.ndarray) -> dict[str, float]:
        """Learn from rows (updates, batch[, sequence_length], width); return the losses."""
        sequences = rows.reshape(*rows.shape[:2], self.sequence_length, -1)
        measured = self._update(tf.constant(sequences)).numpy()
        self.actor_has_changed()
        return dict(zip(METRICS, measured.tolist(), strict=True))

    @tf.function(jit_compile=True, autograph=False)
    def _update(self, rows: tf.Tensor) -> tf.Tensor:
        return mean_of_updates(self._update_once, rows, measures=len(METRICS))

    def _update_once(self, sequences: tf.Tensor) -> tf.Tensor:
        self.updates.assign_add(1)
        rows = tf.reshape(sequences, [-1, sequences.shape[-1]])
        observation = self.normalizer(self.layout.column(rows, 'observation'))
        value = self.critic(observation)[:, 0]
        error = self.value_target(rows) - value
        actor_loss, weight, advantage = self._update_actor(rows, observation, error)
        target = value + advantage
        with tf.GradientTape() as tape:
            value = self.critic(observation)[:, 0]
            critic_loss = tf.reduce_mean(weight * tf.square(target - value))
        variables = self.critic.trainable_variables
        self.critic_optimizer.apply(tape.gradient(critic_loss, variables), variables)
        soft_update(self.target_critic.weights, self.critic.weights, tau=self.config.tau)
        return tf.stack(
            [
                critic_loss,
                actor_loss,
                tf.reduce_mean(value),
                tf.reduce_mean(weight),
                tf.math.reduce_std(advantage),
            ]
        )

    def value_target(self, rows: tf.Tensor) -> tf.Tensor:
        """Return the one-step TD targets (batch,) of rows (batch, width)."""
        following = self.normalizer(self.layout.column(rows, 'next_observation'))
        return losses.td_target(
            self.layout.column(rows, 'reward'),
            self.layout.column(rows, 'terminated'),
            self.target_critic(following)[:, 0],
            discount=self.config.discount,
        )

    def _advantages(self, rows: tf.Tensor, weight: tf.Tensor, error: tf.Tensor) -> tf.Tensor:
        """Return advantages (batch,) of TD errors (batch,), whose sequences follow each other."""
        if self.sequence_length == 1:
            return error
        column = self.layout.column
        ended = tf.maximum(column(rows, 'terminated'), column(rows, 'truncated'))
        sequences = [-1, self.sequence_length]
        advantages = losses.traced_advantages(
            tf.reshape(error, sequences),
            tf.reshape(weight, sequences),
            tf.reshape(ended, sequences),
            decay=self.config.discount * self.config.trace_decay,
        )
        return tf.reshape(advantages, [-1])

    def _update_actor(
        self, rows: tf.Tensor, observation: tf.Tensor, error: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return the loss, and the importance weights and advantages (batch,) it was made of."""
        sample, behaviour = (self.layout.column(rows, name) for name in ('sample', 'log_prob'))
        maximum = self.config.maximum_weight
        variables = self.actor.trainable_variables
        with tf.GradientTape() as tape:
            mean = tf.tanh(self.actor(observation))
            log_std = tf.fill(tf.shape(mean), self.log_std)
            log_prob = losses.gaussian_log_prob(sample, mean, log_std)
            weight = losses.importance_weight(log_prob, behaviour, maximum=maximum)
            advantage = self._advantages(rows, weight, error)
            scaled = advantage
            if self.config.normalize_advantages:
                scaled = losses.standardized(advantage)
            loss = losses.advantage_loss(log_prob, scaled, weight)
        self.actor_optimizer.apply(tape.gradient(loss, variables), variables)
        return loss, weight, advantage

    def policy_model(self) -> keras.Model:
        """Build raw observation -> action, value and log_std."""
        return gaussian_model(
            self,
            self.critic,
            log_std=np.full(self.spec.action_size, self.log_std.numpy()),
            squashed_mean=True,
        )

    def start_from(
        self, weights: StartingWeights, observations: np.ndarray | None
    ) -> Mapping[str, bool]:
        """Take over the policy, and its critic where it values states; noise has a schedule."""
        self.start_actor(weights, observations, trunk=self.config.actor, head=weights.action_head)
        has_critic = self.start_state_critic(weights, self.critic)
        if has_critic:
            self.target_critic.set_weights(self.critic.get_weights())
        return {'actor': True, 'critic': has_critic}
