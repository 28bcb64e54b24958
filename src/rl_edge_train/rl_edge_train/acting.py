"""Acting in NumPy: for a few observations a call into TensorFlow takes ten times as long.

It needs no TensorFlow, so that a machine that collects for an agent acts by the same code.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from rl_edge_core.environment_spec import EnvironmentSpec

if TYPE_CHECKING:
    import keras

CLIP = 10.0
"""Largest size of a normalised observation value."""
LOG_TWO_PI = math.log(2.0 * math.pi)
Layer = Callable[[np.ndarray], np.ndarray]
ACTIVATIONS: dict[str, Layer] = {
    'relu': lambda values: np.maximum(values, 0.0),
    'tanh': np.tanh,
    'elu': lambda values: np.where(values > 0.0, values, np.expm1(np.minimum(values, 0.0))),
    'silu': lambda values: values / (1.0 + np.exp(-values)),
}


@dataclass(frozen=True)
class ActionScale:
    """The linear map between network actions in [-1, 1] and the limits of the environment.

    environment action = centre + half_range * network action.
    """

    centre: np.ndarray
    """(action_size,), in the action's units."""
    half_range: np.ndarray
    """(action_size,), in the action's units."""

    @staticmethod
    def of(spec: EnvironmentSpec) -> ActionScale:
        """Take the scale from the action limits of a spec."""
        low, high = np.asarray(spec.action_low), np.asarray(spec.action_high)
        return ActionScale(
            ((high + low) / 2).astype(np.float32), ((high - low) / 2).astype(np.float32)
        )

    def to_environment(self, action: Any) -> Any:
        """Map network actions (batch, n) to the limits of the environment."""
        return self.centre + self.half_range * action

    def to_network(self, action: Any) -> Any:
        """Map environment actions (batch, n) to [-1, 1]."""
        return (action - self.centre) / self.half_range


@dataclass(frozen=True)
class Decision:
    """Actions for a batch of observations, and what is stored beside the transition."""

    action: np.ndarray
    """(batch, action_size), in the limits of the environment."""
    extras: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Such as log_prob (batch,): the log-probability of exactly the stored action."""


class NumpyNetwork:
    """A network of `build_network` with the weights that it has now: (batch, n) -> (batch, m).

    It can be pickled, and is used without TensorFlow then.
    """

    def __init__(self, network: keras.Model) -> None:
        """Copy the weights; later updates do not reach the copy."""
        self._layers = [_function_of(layer) for layer in network.layers[1:]]

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Return the outputs for float32 inputs."""
        for layer in self._layers:
            inputs = layer(inputs)
        return inputs


def _function_of(layer: keras.Layer) -> Layer:
    import keras  # here alone, so that what was copied acts where there is no TensorFlow

    if isinstance(layer, keras.layers.Dense):
        return _Dense(layer.kernel.numpy(), layer.bias.numpy())
    if isinstance(layer, keras.layers.LayerNormalization):
        return _LayerNorm(layer.gamma.numpy(), layer.beta.numpy(), layer.epsilon)
    return functools.partial(_activate, layer.activation.__name__)


def _activate(name: str, values: np.ndarray) -> np.ndarray:
    return ACTIVATIONS[name](values)


@dataclass(frozen=True)
class _Dense:
    kernel: np.ndarray
    bias: np.ndarray

    def __call__(self, values: np.ndarray) -> np.ndarray:
        return values @ self.kernel + self.bias


@dataclass(frozen=True)
class _LayerNorm:
    gamma: np.ndarray
    beta: np.ndarray
    epsilon: float

    def __call__(self, values: np.ndarray) -> np.ndarray:
        centred = values - values.mean(axis=-1, keepdims=True)
        variance = np.square(centred).mean(axis=-1, keepdims=True)
        return centred / np.sqrt(variance + self.epsilon) * self.gamma + self.beta


def normalized(observation: np.ndarray, offset: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Return observations (batch, n) less ``offset`` (n,), times ``factor`` (n,), cut at +-10."""
    return np.clip((observation - offset) * factor, -CLIP, CLIP)


Head = Callable[[np.ndarray, np.ndarray | None], Decision]
"""What an actor says of observations (batch, n), and standard normal noise (batch, action_size) to
explore by, or None, -> actions."""


@dataclass(frozen=True)
class SquashedGaussianHead:
    """Mean and log_std side by side, squashed by tanh: soft actor-critic."""

    scale: ActionScale
    log_std_limits: tuple[float, float]

    def __call__(self, output: np.ndarray, noise: np.ndarray | None) -> Decision:
        """Return the actions."""
        mean, log_std = np.split(output, 2, axis=-1)
        if noise is not None:
            mean = mean + np.exp(np.clip(log_std, *self.log_std_limits)) * noise
        return Decision(self.scale.to_environment(np.tanh(mean)))


@dataclass(frozen=True)
class DeterministicHead:
    """An action squashed by tanh, with noise on it: DDPG and TD3."""

    scale: ActionScale
    noise_std: float
    """As a share of half the action range."""

    def __call__(self, output: np.ndarray, noise: np.ndarray | None) -> Decision:
        """Return the actions."""
        action = np.tanh(output)
        if noise is not None:
            action = action + self.noise_std * noise
        return Decision(self.scale.to_environment(np.clip(action, -1.0, 1.0)))


@dataclass(frozen=True)
class GaussianHead:
    """A mean, and a log_std that does not depend on the state: PPO and actor-critic."""

    scale: ActionScale
    low: np.ndarray
    high: np.ndarray
    """Limits of the environment's actions."""
    log_std: np.ndarray
    mean_scale: float = 1.0
    squashed_mean: bool = False

    def __call__(self, output: np.ndarray, noise: np.ndarray | None) -> Decision:
        """Return the actions.

        Exploring, the extras hold the sample before the limits of the environment cut it, and the
        log-probability of exactly that sample: learning uses both.
        """
        mean = self.mean_scale * (np.tanh(output) if self.squashed_mean else output)
        if noise is None:
            return Decision(self._limited(mean))
        sample = mean + np.exp(self.log_std) * noise
        extras = {'sample': sample, 'log_prob': gaussian_log_prob(noise, self.log_std)}
        return Decision(self._limited(sample), extras)

    def _limited(self, action: np.ndarray) -> np.ndarray:
        return np.clip(self.scale.to_environment(action), self.low, self.high)


@dataclass(frozen=True)
class ActingCopy:
    """An agent's exploring policy at one moment, for a machine that collects for it."""

    actor: NumpyNetwork
    head: Head
    inputs: int
    """Leading observation values that the actor sees."""
    moments: tuple[np.ndarray, np.ndarray] | None
    """Offset and factor of the agent's normaliser; None without one."""

    def act(self, observation: np.ndarray, noise: np.ndarray) -> Decision:
        """Return actions for observations (batch, observation_size), explored by normal noise."""
        seen = np.ascontiguousarray(observation[:, : self.inputs], np.float32)
        if self.moments is not None:
            seen = normalized(seen, *self.moments)
        return self.head(self.actor(seen), noise)


def gaussian_log_prob(noise: np.ndarray, log_std: np.ndarray) -> np.ndarray:
    """Return the log density of mean + exp(log_std) noise, summed: (batch, n) -> (batch,)."""
    return (-0.5 * np.square(noise) - log_std - 0.5 * LOG_TWO_PI).sum(axis=-1)
