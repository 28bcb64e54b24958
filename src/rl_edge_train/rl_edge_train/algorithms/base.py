"""What all agents share: the kept inputs, the normaliser, the action scale, and their state."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_train.acting import ActingCopy, ActionScale, Decision, Head, NumpyNetwork
from rl_edge_train.networks import PLAIN_TRUNK, TrunkConfig, build_network
from rl_edge_train.normalizer import ObservationNormalizer
from rl_edge_train.replay import TransitionLayout
from rl_edge_train.starting import StartingWeights, fits

CONTACT_PREFIX = 'contact.'
"""How the names of contact forces begin; MuJoCo environments observe them last."""


@dataclass(frozen=True)
class AgentConfig:
    """What the networks of every algorithm see and are made of."""

    actor: TrunkConfig = PLAIN_TRUNK
    """Hidden layers of the actor, the part that the edge device runs."""
    critic: TrunkConfig = PLAIN_TRUNK
    """Hidden layers of the value network, or of each critic."""
    observation_inputs: int = 0
    """Leading observation values the networks see; 0 takes all. The artifact takes all anyway."""
    contact_forces: bool = True
    """Without, the networks see the observation values before the first contact force alone:
    positions and velocities of Ant-v5. Where there are no contact forces, nothing changes."""
    normalize_observations: bool = False
    """Scale observations by running moments."""
    normalizer_frozen_after: int = 0
    """Observations after which the moments stay as they are; 0 never."""
    discount: float = 0.99
    """Gamma, a control step."""

    def inputs_of(self, spec: EnvironmentSpec) -> int:
        """Return how many leading observation values of an environment the networks see.

        Raise ValueError where it has fewer than `observation_inputs`.
        """
        if self.observation_inputs > spec.observation_size:
            raise ValueError(
                f'observation_inputs is {self.observation_inputs}, {spec.environment_id} has '
                f'{spec.observation_size} observation values: lower it, or 0 for all'
            )
        if self.observation_inputs or self.contact_forces:
            return self.observation_inputs or spec.observation_size
        names = spec.observation_names
        contacts = (i for i, name in enumerate(names) if name.startswith(CONTACT_PREFIX))
        return next(contacts, len(names)) or len(names)


@dataclass(frozen=True)
class ReplayAgentConfig(AgentConfig):
    """What algorithms have besides that learn from replay, by targets that follow slowly."""

    actor_learning_rate: float = 3e-4
    """Adam step of the actor."""
    critic_learning_rate: float = 3e-4
    """Adam step of the value network, or of the critics."""
    tau: float = 0.005
    """Share of the way that the targets move at each update."""


class Agent(ABC):
    """A pure learner: it acts and learns from rows, and knows no environment and no loop.

    Networks are built by the algorithms; this keeps what they do alike in one place.
    """

    actor: keras.Model
    learned: Mapping[str, Sequence[tf.Variable]]
    """The variables that learning goes on from, in groups; those of all agents aside."""

    def __init__(
        self,
        spec: EnvironmentSpec,
        config: AgentConfig,
        *,
        seed: int,
        extras: Mapping[str, int] | None = None,
    ) -> None:
        """Take what all configurations have; store `extras` with a transition.

        The same seed gives every agent the same weights and samples.
        """
        self.spec, self.seed = spec, seed
        self.inputs = config.inputs_of(spec)
        self.normalizer = ObservationNormalizer(
            self.inputs,
            enabled=config.normalize_observations,
            frozen_after=config.normalizer_frozen_after,
        )
        self.layout = TransitionLayout(self.inputs, spec.action_size, extras or {})
        self.scale = ActionScale.of(spec)
        self.acts = tf.Variable(0, dtype=tf.int32, trainable=False)
        self._acts_taken = 0
        self._acting: tuple[NumpyNetwork, Head] | None = None
        self.updates = tf.Variable(0, dtype=tf.int32, trainable=False)

    @abstractmethod
    def acting_head(self) -> Head:
        """Return what makes actions of the actor's outputs, as the agent is now."""

    @abstractmethod
    def update(self, rows: np.ndarray) -> dict[str, float]:
        """Learn from rows (updates, batch, width); return the losses.

        With a `sequence_length` above 1: (updates, batch, sequence_length, width).
        """

    @abstractmethod
    def start_from(
        self, weights: StartingWeights, observations: np.ndarray | None
    ) -> Mapping[str, bool]:
        """Take over a shipped policy; return which of its parts it was possible to take.

        `observations` (count, observation_size) are what that policy visits, needed where the
        agent normalises and the policy does not. ConfigurationError names what does not fit.
        """

    @abstractmethod
    def policy_model(self) -> keras.Model:
        """Build raw observation -> action, value and, for Gaussians, log_std."""

    @property
    def sequence_length(self) -> int:
        """Return how many successive transitions `update` takes together: each alone."""
        return 1

    def kept(self, observation: np.ndarray) -> np.ndarray:
        """Return the inputs (batch, inputs) that the networks see, float32."""
        return np.ascontiguousarray(observation[:, : self.inputs], np.float32)

    def observe(self, observation: np.ndarray) -> None:
        """Take raw observations (batch, observation_size) into the normaliser's statistics."""
        self.normalizer.observe(observation[:, : self.inputs])

    def set_progress(self, share: float) -> None:  # noqa: B027 (most have no schedule)
        """Tell the agent which share (0 to 1) of the run is done; schedules follow it."""

    def learning_rates(self) -> dict[str, float]:
        """Return the present step size of each optimizer, by the name of its setting."""
        return {
            name.replace('_optimizer', '_learning_rate'): float(value.learning_rate.numpy())
            for name, value in vars(self).items()
            if isinstance(value, keras.optimizers.Optimizer)
        }

    def act(self, observation: np.ndarray, *, explore: bool) -> Decision:
        """Return actions for raw observations (batch, observation_size)."""
        if self._acting is None:
            self._acting = NumpyNetwork(self.actor), self.acting_head()
        network, head = self._acting
        output = network(self.normalizer.normalized(self.kept(observation)))
        shape = (len(observation), self.spec.action_size)
        return head(output, self.acting_noise(shape) if explore else None)

    def acting_copy(self) -> ActingCopy:
        """Return how the agent explores now; later updates do not reach the copy."""
        return ActingCopy(
            NumpyNetwork(self.actor), self.acting_head(), self.inputs, self.normalizer.moments()
        )

    def actor_has_changed(self) -> None:
        """Act with the present weights, and the present noise, from now on."""
        self._acting = None

    def acting_noise(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return standard normal noise for acting, float32, another at each call."""
        bits = np.random.Philox(key=self.seed * 2 + 1, counter=[0, self._acts_taken, 0, 0])
        self._acts_taken += 1
        return np.random.Generator(bits).standard_normal(shape, np.float32)

    def build_actor(self, outputs: int, config: ReplayAgentConfig) -> None:
        """Build the actor of an algorithm that learns from replay, and its optimizer."""
        self.actor = build_network(
            self.inputs,
            outputs,
            config.actor,
            name='actor',
            seed=self.seed * 1000,
            output_scale=0.1,
        )
        self.actor_optimizer = built_adam(
            config.actor_learning_rate, self.actor.trainable_variables
        )

    def action_critics(
        self, count: int, trunk: TrunkConfig, *, outputs: int = 1
    ) -> list[keras.Model]:
        """Build critics of observation and network action, each with weights of its own."""
        return [
            build_network(
                self.inputs + self.spec.action_size,
                outputs,
                trunk,
                name=f'critic_{index}',
                seed=self.seed * 1000 + 100 * (index + 1),
            )
            for index in range(count)
        ]

    def critic_inputs(self, rows: tf.Tensor) -> tf.Tensor:
        """Return what critics of actions see of rows (batch, width)."""
        observation = self.normalizer(self.layout.column(rows, 'observation'))
        action = self.scale.to_network(self.layout.column(rows, 'action'))
        return tf.concat([observation, action], axis=-1)

    def learning_noise(self, shape: tf.Tensor, *, stream: int) -> tf.Tensor:
        """Return standard normal noise for an update; two streams (0, 1) an update."""
        seed = tf.stack([self.seed * 2, 2 * self.updates + stream])
        return tf.random.stateless_normal(shape, seed)

    def start_actor(
        self,
        weights: StartingWeights,
        observations: np.ndarray | None,
        *,
        trunk: TrunkConfig,
        head: Sequence[np.ndarray],
        squashed: bool = True,
        mean_scale: float = 1.0,
    ) -> None:
        """Act as a shipped policy does; ConfigurationError names what does not fit."""
        weights.check_actor(
            inputs=self.inputs,
            actions=self.spec.action_size,
            trunk=trunk,
            squashed=squashed,
            mean_scale=mean_scale,
        )
        kept = None if observations is None else self.kept(observations)
        weights.set_moments(self.normalizer, kept)
        weights.set_network(self.actor, [*weights.trunk, *head], self.normalizer)
        self.actor_has_changed()

    def start_state_critic(self, weights: StartingWeights, critic: keras.Model) -> bool:
        """Take over a policy's critic of states; return whether it has one, of these sizes."""
        theirs = weights.state_critic
        if theirs is None or not fits(critic, theirs):
            return False
        weights.set_network(critic, theirs.get_weights(), self.normalizer)
        return True

    def start_action_critics(
        self,
        weights: StartingWeights,
        critics: Sequence[keras.Model],
        targets: Sequence[keras.Model],
    ) -> bool:
        """Take over a policy's critics of actions; return whether it has such, of these sizes."""
        theirs = weights.action_critics[: len(critics)]
        if len(theirs) < len(critics) or not all(map(fits, critics, theirs)):
            return False
        for critic, target, source in zip(critics, targets, theirs, strict=True):
            weights.set_network(critic, source.get_weights(), self.normalizer)
            target.set_weights(critic.get_weights())
        return True

    def _named_variables(self) -> dict[str, tf.Variable]:
        groups = {'counters': [self.acts, self.updates], **self.learned}
        return {
            f'{group}/{index}': variable
            for group, variables in groups.items()
            for index, variable in enumerate(variables)
        }

    def arrays(self) -> dict[str, np.ndarray]:
        """Return everything that learning goes on from, by name."""
        self.acts.assign(self._acts_taken)
        variables = self._named_variables().items()
        arrays = {name: np.asarray(variable.numpy()) for name, variable in variables}
        moments = self.normalizer.arrays().items()
        return arrays | {f'normalizer/{name}': value for name, value in moments}

    def load_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take over what `arrays` returned; another agent's arrays are an error."""
        for name, variable in self._named_variables().items():
            variable.assign(_checked(arrays, name, tuple(variable.shape)))
        self.normalizer.load_arrays(
            {name: arrays[f'normalizer/{name}'] for name in self.normalizer.arrays()}
        )
        self._acts_taken = int(self.acts.numpy())
        self.actor_has_changed()


def _checked(arrays: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...]) -> np.ndarray:
    if name not in arrays:
        raise ValueError(f'the checkpoint has no array {name}: it is of another agent')
    if arrays[name].shape != shape:
        raise ValueError(
            f'array {name} of the checkpoint has shape {arrays[name].shape}, the agent '
            f'{shape}: resume with the configuration that the run was started with'
        )
    return arrays[name]


def check_whole_rounds(updates: int, policy_delay: int) -> None:
    """Raise ValueError where critic updates of a call would have no actor update after them."""
    if updates % policy_delay:
        raise ValueError(
            f'{updates} updates per call are no multiple of policy_delay {policy_delay}: change '
            f'updates_per_iteration or policy_delay'
        )


def mean_of_updates(
    update: Callable[[tf.Tensor], tf.Tensor], batches: tf.Tensor, *, measures: int
) -> tf.Tensor:
    """Learn from ``batches`` (n, ...) one after the other in a compiled loop.

    ``update`` learns from one of them and returns what it measures, (measures,); the mean over all
    is returned. It is traced once: call this in a ``tf.function`` without autograph, which would
    trace the body of a loop twice.
    """

    def step(index: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return index + 1, total + update(batches[index])

    count = batches.shape[0]
    _, total = tf.while_loop(
        lambda index, _: index < count, step, (tf.constant(0), tf.zeros(measures))
    )
    return total / count


def built_adam(
    learning_rate: float, variables: Sequence[tf.Variable], *, epsilon: float = 1e-7
) -> keras.optimizers.Adam:
    """Return Adam with its slots made, so that a compiled update creates nothing."""
    optimizer = keras.optimizers.Adam(learning_rate, epsilon=epsilon)
    optimizer.build(list(variables))
    return optimizer


def weights_of(networks: Sequence[keras.Model]) -> list[tf.Variable]:
    """Return all weights of some networks, in order."""
    return [variable for network in networks for variable in network.weights]


def trainable_of(networks: Sequence[keras.Model]) -> list[tf.Variable]:
    """Return the trainable weights of some networks, in order."""
    return [variable for network in networks for variable in network.trainable_variables]
