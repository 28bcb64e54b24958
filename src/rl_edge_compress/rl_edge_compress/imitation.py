"""Teach a network what the full actor would do, on the states that the network itself visits.

DAgger (Ross, Gordon & Bagnell 2011, Alg. 3.1) with beta = 1 in the first round and 0 after: the
teacher drives once, then the student does, and the teacher labels every state that was visited.
A student taught on the teacher's states alone meets states it has never seen as soon as it
errs, and ends early.

Not every error costs the same: one joint may be off where another must not. A teacher with a
critic therefore also says what the student's action is worth, and the student climbs that value
(AggreVaTe, Ross & Bagnell 2014; by its gradient as in AggreVaTeD, Sun et al. 2017). Staying near
the teacher's action keeps it where the critic knows something (TD3+BC, Fujimoto & Gu 2021, eq. 3,
whose scale of the value it takes, eq. 5).

A student that will be stored in few bits learns its last steps with weights rounded as they will
be, the gradient passing the rounding by (Jacob et al. 2018, section 3; Bengio et al. 2013).
"""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from rl_edge_compress.closed_loop import shared_environment
from rl_edge_compress.formats import float32_tflite
from rl_edge_compress.keras_models import Critic
from rl_edge_compress.numpy_graph import NumpyGraph, numpy_graph
from rl_edge_core.cluster import spread
from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.episode_result import EpisodeResult
from rl_edge_sim.rollout import rollout

Say = Callable[[str], None]
UPDATES_PER_CALL = 100
FIRST_SEED = 1_000_000
"""Of the episodes that students learn from; evaluation uses others."""


@dataclass(frozen=True)
class ImitationConfig:
    """How long and how fast a student learns."""

    rounds: int = 16
    """Times that states are collected and learned from."""
    steps_per_round: int = 12000
    """Environment steps collected in a round, at least; whole episodes."""
    updates_per_round: int = 3000
    """Gradient steps after each collection."""
    final_updates: int = 50000
    """Gradient steps on everything at the end, while the step size falls to zero."""
    batch_size: int = 256
    learning_rate: float = 1e-3
    """Adam's: constant in the rounds, then along a cosine to zero."""
    value_weight: float = 2.5
    """Of the value that the student's action loses, beside the error of imitation; 0, or a teacher
    without a critic of actions, imitates alone."""
    seed: int = 0

    @property
    def updates(self) -> int:
        """Return how many gradient steps there are in all."""
        return self.rounds * self.updates_per_round + self.final_updates


@dataclass(frozen=True)
class VisitedStates:
    """Observations that were visited, with the teacher's actions for them."""

    observations: np.ndarray
    """float32, (count, n)."""
    actions: np.ndarray
    """float32, (count, m)."""

    def __add__(self, other: 'VisitedStates') -> 'VisitedStates':
        return VisitedStates(
            np.concatenate([self.observations, other.observations]),
            np.concatenate([self.actions, other.actions]),
        )


@dataclass(frozen=True)
class ImitationData:
    """Who teaches, where, from which states on, and how."""

    teacher: NumpyGraph
    """Observations (count, n) -> actions (count, m)."""
    critic: Critic | None
    """The teacher's; None when it values states alone."""
    environment: EnvironmentSpec
    """Where the student drives."""
    states: VisitedStates
    """That the teacher visited; the student's own are added in `imitate`."""
    config: ImitationConfig
    say: Say
    """Gets a line per round."""
    cluster: str = ''
    """That the student's episodes are spread over; see `rl_edge_core.cluster.spread`."""


def visit(
    environment: EnvironmentSpec,
    driver: NumpyGraph,
    teacher: NumpyGraph,
    *,
    seeds: Iterable[int],
    least_steps: int,
    cluster: str = '',
) -> tuple[VisitedStates, list[EpisodeResult]]:
    """Return the states that ``driver`` visits, labelled by ``teacher``, and its episodes.

    Whole episodes run, one per seed, until there are ``least_steps`` or the seeds are used up;
    on a ``cluster`` the same ones, side by side.
    """
    seen: list[np.ndarray] = []
    results: list[EpisodeResult] = []
    driven = spread(drive, (environment, driver), seeds, cluster=cluster)
    with contextlib.closing(driven):
        for observations, result in driven:
            seen.append(observations)
            results.append(result)
            if sum(map(len, seen)) >= least_steps:
                break
    together = np.concatenate(seen)
    return VisitedStates(together, teacher(together)), results


def drive(
    common: tuple[EnvironmentSpec, NumpyGraph], seed: int
) -> tuple[np.ndarray, EpisodeResult]:
    """Return the observations (steps, n) of one episode of a driver, and what it came to."""
    environment, driver = common
    seen: list[np.ndarray] = []

    def policy(observation: np.ndarray) -> np.ndarray:
        seen.append(observation)
        return driver(observation[None])[0]

    (result,) = rollout(shared_environment(environment), policy, [seed])
    return np.asarray(seen, np.float32), result


def rounded_kernel(kernel: tf.Tensor, bits: int) -> tf.Tensor:
    """Return the nearest multiples of a scale, max|w| / (2^(bits - 1) - 1), of a kernel (n, m).

    Symmetric about 0; one scale per layer in 8 bits, one per unit in fewer, as in `formats`.
    """
    largest = tf.reduce_max(tf.abs(kernel), axis=None if bits >= 8 else 0)
    scale = tf.maximum(largest / (2.0 ** (bits - 1) - 1), 1e-12)
    return tf.round(kernel / scale) * scale


class ImitationTrainer:
    """A student and its optimizer. Pruned weights are held at zero by masks."""

    def __init__(
        self,
        student: keras.Model,
        config: ImitationConfig,
        *,
        action_scale: np.ndarray,
        critic: Critic | None = None,
    ) -> None:
        """Train ``student`` in place; errors count relative to ``action_scale``, (m,)."""
        self.student, self.config = student, config
        self._critic = critic if config.value_weight else None
        self._scale = np.asarray(action_scale, np.float32)
        self._variables = student.trainable_variables
        self._fixed = student.non_trainable_variables
        self._kernel_places = list(self.kernels)
        self._masks = [tf.Variable(tf.ones(v.shape), trainable=False) for v in self._variables]
        self._optimizer = keras.optimizers.Adam(config.learning_rate)
        self._optimizer.build(self._variables)
        self._generator = np.random.default_rng(config.seed)

    @property
    def kernels(self) -> Mapping[int, np.ndarray]:
        """Return the weight matrices of the dense layers by place among the variables."""
        return {i: np.asarray(v) for i, v in enumerate(self._variables) if len(v.shape) == 2}

    def set_mask(self, place: int, mask: np.ndarray) -> None:
        """Hold the weights of a kernel at zero where ``mask`` is 0, from now on."""
        self._masks[place].assign(mask)
        self._variables[place].assign(self._variables[place] * mask)

    def learn(
        self, states: VisitedStates, *, rate: float, weight_bits: int | None = None
    ) -> float:
        """Take `UPDATES_PER_CALL` gradient steps; return the last mean square action error.

        With ``weight_bits`` the student acts by weights rounded to so many (see `round_weights`).
        """
        self._optimizer.learning_rate = rate
        size = (UPDATES_PER_CALL, self.config.batch_size)
        chosen = self._generator.integers(len(states.observations), size=size)
        observations, actions = states.observations[chosen], states.actions[chosen]
        return float(self._steps(tf.constant(observations), tf.constant(actions), weight_bits))

    def round_weights(self, bits: int) -> None:
        """Make the weights of dense layers multiples of their scale, all but the first one's.

        Those are rounded when the actor is written: its inputs are balanced before. In fewer than
        8 bits the last layer stays as it is too.
        """
        for place in self._rounded_places(bits):
            variable = self._variables[place]
            variable.assign(rounded_kernel(variable.value, bits))

    def _rounded_places(self, bits: int) -> Sequence[int]:
        return self._kernel_places[1:] if bits >= 8 else self._kernel_places[1:-1]

    def _action(self, observation: tf.Tensor, weight_bits: int | None) -> tf.Tensor:
        if weight_bits is None:
            return self.student(observation, training=True)
        weights = [variable.value for variable in self._variables]
        for place in self._rounded_places(weight_bits):
            exact = weights[place]
            weights[place] = exact + tf.stop_gradient(rounded_kernel(exact, weight_bits) - exact)
        action, _ = self.student.stateless_call(weights, self._fixed, observation, training=True)
        return action

    @tf.function(jit_compile=True, autograph=False)  # which would trace the loop's body twice
    def _steps(
        self, observations: tf.Tensor, actions: tf.Tensor, weight_bits: int | None
    ) -> tf.Tensor:
        def step(index: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return index + 1, self._step(observations[index], actions[index], weight_bits)

        start = tf.constant(0), tf.constant(0.0)
        return tf.while_loop(lambda index, _: index < UPDATES_PER_CALL, step, start)[1]

    def _step(
        self, observation: tf.Tensor, teachers: tf.Tensor, weight_bits: int | None
    ) -> tf.Tensor:
        with tf.GradientTape() as tape:
            action = self._action(observation, weight_bits)
            loss = error = tf.reduce_mean(tf.square((action - teachers) / self._scale))
            if self._critic is not None:
                lost = self._value_lost(observation, action, teachers)
                loss += self.config.value_weight * lost
        self._optimizer.apply(tape.gradient(loss, self._variables), self._variables)
        for variable, mask in zip(self._variables, self._masks, strict=True):
            variable.assign(variable * mask)
        return error

    def _value_lost(
        self, observation: tf.Tensor, action: tf.Tensor, teachers: tf.Tensor
    ) -> tf.Tensor:
        """Return the mean share of the teacher's value that ``action`` forgoes."""
        best = self._critic(observation, teachers)  # type: ignore[misc]
        lost = best - self._critic(observation, action)  # type: ignore[misc]
        return tf.reduce_mean(lost) / tf.reduce_mean(tf.abs(best))


def imitate(
    student: keras.Model,
    data: ImitationData,
    *,
    before_call: Callable[[ImitationTrainer, float], None] | None = None,
    weight_bits: int | None = None,
) -> None:
    """Train ``student`` in place.

    ``before_call(trainer, share)`` runs before every `UPDATES_PER_CALL` steps, ``share`` rising
    from 0 to 1 over the rounds and staying 1 in the final updates: pruning moves its masks there.
    With ``weight_bits`` the final updates are by rounded weights, and the student ends with them.
    """
    config, states = data.config, data.states
    scale = np.abs(states.actions).max(axis=0) + 1e-6
    trainer = ImitationTrainer(student, config, action_scale=scale, critic=data.critic)
    seed = FIRST_SEED * (config.seed + 1)
    calls = max(1, config.updates_per_round // UPDATES_PER_CALL)

    def learn(share: float, rate: float, bits: int | None = None) -> float:
        if before_call is not None:
            before_call(trainer, share)
        return trainer.learn(states, rate=rate, weight_bits=bits)

    for number in range(config.rounds):
        for call in range(calls):
            error = learn((number + call / calls) / config.rounds, config.learning_rate)
        driver = numpy_graph(float32_tflite(student))
        fresh, results = visit(
            data.environment,
            driver,
            data.teacher,
            seeds=itertools.count(seed),
            least_steps=config.steps_per_round,
            cluster=data.cluster,
        )
        seed += len(results)
        states = states + fresh
        fared = np.mean([result.episode_return for result in results])
        data.say(f'round {number + 1}/{config.rounds}: error {error**0.5:.3f}, return {fared:.0f}')
    calls = max(1, config.final_updates // UPDATES_PER_CALL)
    for call in range(calls):
        rate = config.learning_rate * 0.5 * (1 + np.cos(np.pi * call / calls))
        error = learn(1.0, rate, weight_bits)
    if weight_bits is not None:
        trainer.round_weights(weight_bits)
    data.say(f'learned from {len(states.observations)} states, error {error**0.5:.3f}')
