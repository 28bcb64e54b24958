"""Deterministic policy gradients: DDPG (Lillicrap 2015) and TD3 (Fujimoto 2018)."""

from collections.abc import Mapping
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_train import losses
from rl_edge_train.acting import DeterministicHead
from rl_edge_train.algorithms.base import (
    Agent,
    ReplayAgentConfig,
    built_adam,
    check_whole_rounds,
    mean_of_updates,
    trainable_of,
    weights_of,
)
from rl_edge_train.exported_models import deterministic_model
from rl_edge_train.networks import clone_network, soft_update
from rl_edge_train.starting import StartingWeights

METRICS = ('critic_loss', 'actor_loss', 'q_mean')


@dataclass(frozen=True)
class DdpgConfig(ReplayAgentConfig):
    """Hyper-parameters of deep deterministic policy gradient."""

    exploration_std: float = 0.1
    """Gaussian noise on actions, as a share of half the action range."""


@dataclass(frozen=True)
class Td3Config(DdpgConfig):
    """Hyper-parameters of twin delayed DDPG: those of DDPG and three more."""

    policy_delay: int = 2
    """Critic updates for one update of the actor and the targets."""
    smoothing_std: float = 0.2
    """Noise on the target action, as a share of half the action range."""
    smoothing_limit: float = 0.5
    """Largest size of that noise."""


class DeterministicAgent(Agent):
    """An actor that climbs the first critic's value of its own action.

    TD3 has two critics, of whose values targets take the smaller, a delayed actor and smoothed
    target actions; DDPG is the same with one critic, no delay and no smoothing.
    """

    def __init__(self, spec: EnvironmentSpec, config: DdpgConfig, *, seed: int) -> None:
        super().__init__(spec, config, seed=seed)
        self.config = config
        if isinstance(config, Td3Config):
            self.rules, critics = config, 2
        else:
            self.rules, critics = Td3Config(policy_delay=1, smoothing_std=0.0), 1
        self.build_actor(spec.action_size, config)
        self.critics = self.action_critics(critics, config.critic)
        networks = [self.actor, *self.critics]
        self.targets = [clone_network(n, name=f'target_{n.name}') for n in networks]
        self.critic_variables = trainable_of(self.critics)
        self.critic_optimizer = built_adam(config.critic_learning_rate, self.critic_variables)
        self.learned = {
            'networks': weights_of([self.actor, *self.critics]),
            'targets': weights_of(self.targets),
            'actor_optimizer': self.actor_optimizer.variables,
            'critic_optimizer': self.critic_optimizer.variables,
        }

    def acting_head(self) -> DeterministicHead:
        """Return an action with Gaussian noise on it."""
        return DeterministicHead(self.scale, self.config.exploration_std)

    def update(self, rows: np.ndarray) -> dict[str, float]:
        """Learn from rows (updates, batch, width), updates a multiple of the policy delay."""
        check_whole_rounds(len(rows), self.rules.policy_delay)
        measured = self._update(tf.constant(rows)).numpy()
        self.actor_has_changed()
        return dict(zip(METRICS, measured.tolist(), strict=True))

    @tf.function(jit_compile=True, autograph=False)
    def _update(self, rows: tf.Tensor) -> tf.Tensor:
        rounds = tf.reshape(rows, (-1, self.rules.policy_delay, *rows.shape[1:]))
        return mean_of_updates(self._update_round, rounds, measures=len(METRICS))

    def _update_round(self, rows: tf.Tensor) -> tf.Tensor:
        """Update the critics once for each of ``policy_delay`` batches, then actor and targets."""
        for batch in tf.unstack(rows):
            critic_loss, q_mean = self._update_critics(batch)
        actor_loss = self._update_actor(batch)
        networks = weights_of([self.actor, *self.critics])
        soft_update(weights_of(self.targets), networks, tau=self.config.tau)
        return tf.stack([critic_loss, actor_loss, q_mean])

    def _update_critics(self, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        self.updates.assign_add(1)
        inputs = self.critic_inputs(rows)
        target = self.critic_target(rows)
        with tf.GradientTape() as tape:
            predicted = [critic(inputs)[:, 0] for critic in self.critics]
            loss = tf.add_n([tf.reduce_mean(tf.square(q - target)) for q in predicted])
        gradients = tape.gradient(loss, self.critic_variables)
        self.critic_optimizer.apply(gradients, self.critic_variables)
        return loss, tf.reduce_mean(predicted[0])

    def critic_target(self, rows: tf.Tensor) -> tf.Tensor:
        """Return the TD targets (batch,) of rows (batch, width); the target action is smoothed."""
        target_actor, *target_critics = self.targets
        following = self.normalizer(self.layout.column(rows, 'next_observation'))
        action = tf.tanh(target_actor(following))
        if self.rules.smoothing_std > 0.0:
            noise = self.rules.smoothing_std * self.learning_noise(tf.shape(action), stream=0)
            limit = self.rules.smoothing_limit
            action += tf.clip_by_value(noise, -limit, limit)
        inputs = tf.concat([following, tf.clip_by_value(action, -1.0, 1.0)], axis=-1)
        values = tf.concat([critic(inputs) for critic in target_critics], axis=-1)
        return losses.td_target(
            self.layout.column(rows, 'reward'),
            self.layout.column(rows, 'terminated'),
            tf.reduce_min(values, axis=-1),
            discount=self.config.discount,
        )

    def _update_actor(self, rows: tf.Tensor) -> tf.Tensor:
        observation = self.normalizer(self.layout.column(rows, 'observation'))
        variables = self.actor.trainable_variables
        with tf.GradientTape() as tape:
            action = tf.tanh(self.actor(observation))
            value = self.critics[0](tf.concat([observation, action], axis=-1))
            loss = -tf.reduce_mean(value)
        self.actor_optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    def policy_model(self) -> keras.Model:
        """Build raw observation -> action and value (the smaller Q at that action)."""
        return deterministic_model(self, self.critics)

    def start_from(
        self, weights: StartingWeights, observations: np.ndarray | None
    ) -> Mapping[str, bool]:
        """Take over the policy, and its critics where they are of this kind."""
        self.start_actor(weights, observations, trunk=self.config.actor, head=weights.action_head)
        target_actor, *target_critics = self.targets
        target_actor.set_weights(self.actor.get_weights())
        has_critics = self.start_action_critics(weights, self.critics, target_critics)
        return {'actor': True, 'critics': has_critics}
