"""Acting in NumPy: for a few observations a call into TensorFlow takes ten times as long."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras

LOG_TWO_PI = math.log(2.0 * math.pi)
Layer = Callable[[np.ndarray], np.ndarray]
ACTIVATIONS: dict[str, Layer] = {
    'relu': lambda values: np.maximum(values, 0.0),
    'tanh': np.tanh,
    'elu': lambda values: np.where(values > 0.0, values, np.expm1(np.minimum(values, 0.0))),
    'silu': lambda values: values / (1.0 + np.exp(-values)),
}


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


def gaussian_log_prob(noise: np.ndarray, log_std: np.ndarray) -> np.ndarray:
    """Return the log density of mean + exp(log_std) noise, summed: (batch, n) -> (batch,)."""
    return (-0.5 * np.square(noise) - log_std - 0.5 * LOG_TWO_PI).sum(axis=-1)
