"""Proximal policy optimisation (Schulman 2017) with GAE, minibatches and a KL stop."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.generator_state import generator_words, set_generator_words
from rl_edge_train import losses
from rl_edge_train.acting import GaussianHead
from rl_edge_train.advantage import ReturnScaler, generalized_advantages
from rl_edge_train.algorithms.base import Agent, AgentConfig, built_adam, mean_of_updates
from rl_edge_train.exported_models import gaussian_model
from rl_edge_train.networks import TANH_TRUNK, TrunkConfig, build_network
from rl_edge_train.starting import StartingWeights

METRICS = ('policy_loss', 'entropy', 'kl', 'clip_share')


@dataclass(frozen=True)
class PpoConfig(AgentConfig):
    """Hyper-parameters of proximal policy optimisation."""

    actor: TrunkConfig = TANH_TRUNK
    critic: TrunkConfig = TANH_TRUNK
    normalize_observations: bool = True
    scale_rewards: bool = True
    """Divide rewards by the running standard deviation of the discounted return."""
    gae_lambda: float = 0.95
    """Lambda of generalised advantage estimation."""
    clip_range: float = 0.2
    """Epsilon of the clipped ratio."""
    policy_learning_rate: float = 3e-4
    """Adam step of the actor and its log std at the start."""
    value_learning_rate: float = 3e-4
    """Adam step of the value network at the start."""
    final_learning_rate_share: float = 1.0
    """Share of the learning rates that is left at the end of the run; falls linearly."""
    policy_epochs: int = 10
    """Passes over a rollout that train the policy."""
    value_epochs: int = 10
    """Passes over a rollout that train the value network."""
    minibatches: int = 32
    """Parts a rollout is cut into, each an Adam step; 1 takes it whole."""
    entropy_weight: float = 0.0
    """Bonus for the entropy of the policy."""
    target_kl: float = 0.0
    """Mean KL from the old policy after which the policy epochs stop; 0 never stops."""
    gradient_norm: float = 0.5
    """Largest global norm of a gradient; longer ones are shortened; 0 leaves them."""
    initial_log_std: float = -0.5
    """Logarithm of the standard deviation at the start, state-independent."""
    final_log_std: float | None = None
    """Where given, the logarithm of the standard deviation is not learned: it falls linearly over
    the run, from `initial_log_std` to this."""
    minimum_log_std: float = -20.0
    """The logarithm of the standard deviation is kept from falling below this."""
    squashed_mean: bool = False
    """Bound the mean by tanh, as soft actor-critic does."""
    value_rollouts: int = 0
    """First rollouts that train the value network alone, for an actor that is good already."""
    action_scale: float = 1.0
    """Factor on the mean inside the graph; the study used 0.9."""
    orthogonal: bool = True
    """Orthogonal first weights, with a small head of the actor."""


class PpoAgent(Agent):
    """A Gaussian policy and a state value, learning from whole rollouts."""

    def __init__(self, spec: EnvironmentSpec, config: PpoConfig, *, seed: int) -> None:
        actions = spec.action_size
        extras = {'sample': actions, 'log_prob': 0}
        super().__init__(spec, config, seed=seed, extras=extras)
        self.config = config
        self.return_scaler = ReturnScaler(discount=config.discount, enabled=config.scale_rewards)
        self._build_networks(self.inputs, actions)
        self._generator = np.random.default_rng([seed, 2])
        self._progress = 0.0

    def _build_networks(self, inputs: int, actions: int) -> None:
        config, seed = self.config, self.seed * 1000
        initializer = 'orthogonal' if config.orthogonal else 'glorot'
        self.actor = build_network(
            inputs,
            actions,
            config.actor,
            name='actor',
            seed=seed,
            output_scale=0.01,
            initializer=initializer,
        )
        self.critic = build_network(
            inputs, 1, config.critic, name='critic', seed=seed + 100, initializer=initializer
        )
        self.log_std = tf.Variable(tf.fill([actions], config.initial_log_std))
        self.policy_variables = [*self.actor.trainable_variables, self.log_std]
        self.policy_optimizer = built_adam(
            config.policy_learning_rate, self.policy_variables, epsilon=1e-5
        )
        self.value_optimizer = built_adam(
            config.value_learning_rate, self.critic.trainable_variables, epsilon=1e-5
        )
        self.learned = {
            'actor': self.actor.weights,
            'critic': self.critic.weights,
            'log_std': [self.log_std],
            'policy_optimizer': self.policy_optimizer.variables,
            'value_optimizer': self.value_optimizer.variables,
        }

    def acting_head(self) -> GaussianHead:
        """Return a Gaussian around the mean, with the noise that is learned or scheduled."""
        return GaussianHead(
            self.scale,
            self.spec.low,
            self.spec.high,
            self.log_std.numpy(),
            mean_scale=self.config.action_scale,
            squashed_mean=self.config.squashed_mean,
        )

    def _mean(self, normalized: tf.Tensor) -> tf.Tensor:
        mean = self.actor(normalized)
        return self.config.action_scale * (tf.tanh(mean) if self.config.squashed_mean else mean)

    def _limit_noise(self) -> None:
        """Set the noise of the next rollout where the configuration says how much."""
        config = self.config
        if config.final_log_std is None:
            self.log_std.assign(tf.maximum(self.log_std, config.minimum_log_std))
            return
        fallen = (config.final_log_std - config.initial_log_std) * self._progress
        self.log_std.assign(tf.fill(self.log_std.shape, config.initial_log_std + fallen))

    def set_progress(self, share: float) -> None:
        """Let the learning rates fall, `share` (0 to 1) of the run being done."""
        config = self.config
        factor = 1.0 + (config.final_learning_rate_share - 1.0) * min(share, 1.0)
        self.policy_optimizer.learning_rate.assign(config.policy_learning_rate * factor)
        self.value_optimizer.learning_rate.assign(config.value_learning_rate * factor)
        self._progress = min(share, 1.0)

    def update(self, rows: np.ndarray) -> dict[str, float]:
        """Learn from one rollout, rows (time, environments, width); return the losses."""
        observed = self.layout.column(rows, 'observation').reshape(-1, self.inputs)
        is_first = not self.normalizer.count
        if is_first:
            # So that the first updates learn about inputs of the size that later ones have: the
            # new actor's mean is near 0 for either, and what it stored still belongs to it.
            self.observe(observed)
        batch = self._training_batch(rows)
        size = len(batch) // self.config.minibatches
        if not size:
            raise ValueError(
                f'a rollout of {len(batch)} steps cannot be cut into {self.config.minibatches} '
                'minibatches: lower minibatches or collect longer rollouts'
            )
        epochs = max(self.config.policy_epochs, self.config.value_epochs)
        orders = [self._generator.permutation(len(batch)) for _ in range(epochs)]

        def shuffled(epoch: int) -> np.ndarray:
            order = orders[epoch][: size * self.config.minibatches]
            return batch[order].reshape(self.config.minibatches, size, -1)

        # The two networks share nothing: on two cores they learn at the same time.
        with ThreadPoolExecutor(max_workers=1) as pool:
            value_epochs = pool.submit(self._train_value, shuffled)
            trains_policy = int(self.updates) >= self.config.value_rollouts
            measured = self._train_policy(shuffled) if trains_policy else {}
            measured['value_loss'] = value_epochs.result()
        self._limit_noise()
        self.updates.assign_add(1)
        self.actor_has_changed()
        if not is_first:
            self.observe(observed)
        return measured

    def _train_value(self, shuffled: Callable[[int], np.ndarray]) -> float:
        """Return the loss of the last epoch."""
        loss = 0.0
        for epoch in range(self.config.value_epochs):
            loss = float(self._value_epoch(tf.constant(shuffled(epoch))))
        return loss

    def _train_policy(self, shuffled: Callable[[int], np.ndarray]) -> dict[str, float]:
        """Return what the last epoch measured; stop at the target KL."""
        measured: list[float] = []
        epochs = 0
        while epochs < self.config.policy_epochs:
            measured = self._policy_epoch(tf.constant(shuffled(epochs))).numpy().tolist()
            epochs += 1
            if 0.0 < self.config.target_kl < measured[METRICS.index('kl')]:
                break
        return dict(zip(METRICS, measured, strict=True)) | {'policy_epochs': float(epochs)}

    def _training_batch(self, rows: np.ndarray) -> np.ndarray:
        """Return rows of observation, sample, log_prob, advantage and return, time flattened."""
        column = self.layout.column
        terminated = column(rows, 'terminated')
        ended = np.maximum(terminated, column(rows, 'truncated'))
        value, next_value = (
            self._values(tf.constant(column(rows, name).reshape(-1, self.inputs))).numpy()
            for name in ('observation', 'next_observation')
        )
        value = value.reshape(terminated.shape)
        advantage = generalized_advantages(
            reward=self.return_scaler.scaled(column(rows, 'reward'), ended),
            value=value,
            next_value=next_value.reshape(value.shape),
            terminated=terminated,
            ended=ended,
            discount=self.config.discount,
            gae_lambda=self.config.gae_lambda,
        )
        parts = [
            column(rows, 'observation'),
            column(rows, 'sample'),
            column(rows, 'log_prob')[..., None],
            advantage[..., None],
            (advantage + value)[..., None],
        ]
        return np.concatenate(parts, axis=-1).reshape(value.size, -1)

    @tf.function(jit_compile=True, autograph=False)
    def _values(self, observation: tf.Tensor) -> tf.Tensor:
        return self.critic(self.normalizer(observation))[:, 0]

    @tf.function(jit_compile=True, autograph=False)
    def _value_epoch(self, minibatches: tf.Tensor) -> tf.Tensor:
        return mean_of_updates(self._update_value, minibatches, measures=1)[0]

    def _update_value(self, batch: tf.Tensor) -> tf.Tensor:
        variables = self.critic.trainable_variables
        observation = self.normalizer(batch[:, : self.inputs])
        with tf.GradientTape() as tape:
            value = self.critic(observation)[:, 0]
            loss = tf.reduce_mean(tf.square(batch[:, -1] - value))
        self._step(self.value_optimizer, tape.gradient(loss, variables), variables)
        return loss[None]

    @tf.function(jit_compile=True, autograph=False)
    def _policy_epoch(self, minibatches: tf.Tensor) -> tf.Tensor:
        return mean_of_updates(self._update_policy, minibatches, measures=len(METRICS))

    def _update_policy(self, batch: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss, measured = self._policy_loss(batch)
        gradients = tape.gradient(loss, self.policy_variables)
        self._step(self.policy_optimizer, gradients, self.policy_variables)
        return measured

    def _policy_loss(self, batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        inputs, actions = self.inputs, self.spec.action_size
        sample = batch[:, inputs : inputs + actions]
        old_log_prob, advantage = batch[:, -3], batch[:, -2]
        mean = self._mean(self.normalizer(batch[:, :inputs]))
        log_ratio = losses.gaussian_log_prob(sample, mean, self.log_std) - old_log_prob
        ratio = tf.exp(log_ratio)
        clip = self.config.clip_range
        policy_loss = losses.clipped_policy_loss(
            ratio, losses.standardized(advantage), clip_range=clip
        )
        entropy = losses.gaussian_entropy(self.log_std)
        loss = policy_loss - self.config.entropy_weight * entropy
        clipped = tf.reduce_mean(tf.cast(tf.abs(ratio - 1.0) > clip, tf.float32))
        return loss, tf.stack([policy_loss, entropy, losses.approximate_kl(log_ratio), clipped])

    def _step(
        self,
        optimizer: keras.optimizers.Optimizer,
        gradients: list[tf.Tensor],
        variables: list[tf.Variable],
    ) -> None:
        if self.config.gradient_norm > 0.0:
            gradients, _ = tf.clip_by_global_norm(gradients, self.config.gradient_norm)
        optimizer.apply(gradients, variables)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return everything that learning goes on from, by name."""
        scaler = {f'return_scaler/{n}': v for n, v in self.return_scaler.arrays().items()}
        return super().arrays() | scaler | {'generator': generator_words(self._generator)}

    def load_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take over what `arrays` returned; another agent's arrays are an error."""
        super().load_arrays(arrays)
        names = self.return_scaler.arrays()
        self.return_scaler.load_arrays({name: arrays[f'return_scaler/{name}'] for name in names})
        set_generator_words(self._generator, arrays['generator'])

    def policy_model(self) -> keras.Model:
        """Build raw observation -> action, value and log_std."""
        return gaussian_model(
            self,
            self.critic,
            log_std=self.log_std.numpy(),
            mean_scale=self.config.action_scale,
            squashed_mean=self.config.squashed_mean,
        )

    def start_from(
        self, weights: StartingWeights, observations: np.ndarray | None
    ) -> Mapping[str, bool]:
        """Take over the policy; its critic and noise where they are of this kind."""
        config = self.config
        self.start_actor(
            weights,
            observations,
            trunk=config.actor,
            head=weights.action_head,
            squashed=config.squashed_mean,
            mean_scale=config.action_scale,
        )
        has_critic = self.start_state_critic(weights, self.critic)
        if weights.log_std is not None:
            self.log_std.assign(weights.log_std)
        self.actor_has_changed()
        return {'actor': True, 'critic': has_critic, 'log_std': weights.log_std is not None}
