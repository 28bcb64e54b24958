"""A plain actor as frameworks store it: normalisation, dense layers, a bound on the action."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rl_edge_compress.keras_models import SCALED_ACTION
from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.errors import ArtifactError

Array = np.ndarray

ACTIVATIONS: Mapping[str, tuple[str, Callable[[Array], Array]]] = {
    'relu': ('relu', lambda x: np.maximum(x, 0)),
    'tanh': ('tanh', np.tanh),
    'elu': ('elu', lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0)))),
    'selu': (
        'selu',
        lambda x: (
            1.0507009873554805
            * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0)))
        ),
    ),
    'leakyrelu': ('leaky_relu', lambda x: np.where(x > 0, x, 0.01 * x)),
    'sigmoid': ('sigmoid', lambda x: 1 / (1 + np.exp(-x))),
    'silu': ('silu', lambda x: x / (1 + np.exp(-x))),
    'softplus': ('softplus', lambda x: np.logaddexp(0, x)),
    'softsign': ('softsign', lambda x: x / (1 + np.abs(x))),
    'mish': ('mish', lambda x: x * np.tanh(np.logaddexp(0, x))),
    'relu6': ('relu6', lambda x: np.clip(x, 0, 6)),
    'identity': ('linear', lambda x: x),
}
"""PyTorch's names in lower case -> Keras' name, and the function in NumPy."""
_SAME = {'swish': 'silu', 'lrelu': 'leakyrelu', 'linear': 'identity', 'none': 'identity'}


def activation_name(name: str) -> str:
    """Return the key of `ACTIVATIONS` that a framework's ``name`` stands for.

    Raise ArtifactError for another one, listing those there are.
    """
    short = name.rpartition('.')[2].strip("'<>").lower().replace('_', '')
    short = _SAME.get(short, short)
    if short not in ACTIVATIONS:
        raise ArtifactError(
            f'activation {name!r} has no form here; there are {", ".join(ACTIVATIONS)}: export '
            f'the policy as ONNX, which names it by its operators'
        )
    return short


@dataclass(frozen=True)
class DenseLayer:
    """One layer: x kernel + bias, limited where it has a ``clip``, then the activation."""

    kernel: Array
    """(inputs, units)."""
    bias: Array
    """(units,)."""
    activation: str = 'identity'
    """A key of `ACTIVATIONS`."""
    clip: float | None = None
    """Bound of what the activation takes, as PyTorch's Hardtanh has it."""


@dataclass(frozen=True)
class Normalization:
    """(observation - mean) / deviation, then limited to +-clip."""

    mean: Array
    deviation: Array
    clip: float | None = None


@dataclass(frozen=True)
class DenseActor:
    """A chain of dense layers from observation to action."""

    layers: Sequence[DenseLayer]
    normalization: Normalization | None = None
    squashed: bool = False
    """Whether the last layer's output, in -1..1, is scaled to the limits; else clipped to them."""

    def __post_init__(self) -> None:
        """Check that the layers fit each other and that every number is finite."""
        if not self.layers:
            raise ArtifactError('the policy has no layers')
        for number, layer in enumerate(self.layers):
            if layer.kernel.ndim != 2 or layer.bias.shape != layer.kernel.shape[1:]:
                raise ArtifactError(
                    f'layer {number} has weights of shape {layer.kernel.shape} and a bias of '
                    f'shape {layer.bias.shape}: they do not fit'
                )
            if number and layer.kernel.shape[0] != self.layers[number - 1].kernel.shape[1]:
                raise ArtifactError(
                    f'layer {number} takes {layer.kernel.shape[0]} values, the one before gives '
                    f'{self.layers[number - 1].kernel.shape[1]}'
                )
            _check_finite(f'weights of layer {number}', layer.kernel, layer.bias)
        seen = self.normalization
        if seen is not None:
            if seen.mean.shape != (self.observation_size,) or seen.deviation.shape != (
                self.observation_size,
            ):
                raise ArtifactError(
                    f'the statistics normalise {seen.mean.shape} observation values, the policy '
                    f'takes {self.observation_size}: they belong to another policy'
                )
            _check_finite('statistics of the observations', seen.mean, seen.deviation)

    @property
    def observation_size(self) -> int:
        """Return how many values an observation has."""
        return int(self.layers[0].kernel.shape[0])

    @property
    def action_size(self) -> int:
        """Return how many values an action has."""
        return int(self.layers[-1].kernel.shape[1])

    def act(self, observations: Array, spec: EnvironmentSpec) -> Array:
        """Return the actions (count, m) for observations (count, n), in float64."""
        value = np.asarray(observations, np.float64)
        if self.normalization is not None:
            value = (value - self.normalization.mean) / self.normalization.deviation
            if self.normalization.clip is not None:
                value = np.clip(value, -self.normalization.clip, self.normalization.clip)
        for layer in self.layers:
            value = value @ layer.kernel.astype(np.float64) + layer.bias
            if layer.clip is not None:
                value = np.clip(value, -layer.clip, layer.clip)
            value = ACTIVATIONS[layer.activation][1](value)
        if self.squashed:
            value = spec.low + 0.5 * (value + 1.0) * (spec.high - spec.low)
        return np.clip(value, spec.low, spec.high)

    def keras_model(self, spec: EnvironmentSpec) -> Any:
        """Return the actor as a Keras model, observation -> {'action'}, within the limits."""
        import keras

        source = keras.Input((self.observation_size,), name='observation')
        value = source
        if self.normalization is not None:
            value = keras.layers.Normalization(
                mean=self.normalization.mean,
                variance=np.square(self.normalization.deviation),
                name='observation_normalization',
            )(value)
            if self.normalization.clip is not None:
                value = keras.ops.clip(value, -self.normalization.clip, self.normalization.clip)
        for number, layer in enumerate(self.layers):
            activation = ACTIVATIONS[layer.activation][0]
            dense = keras.layers.Dense(
                layer.kernel.shape[1],
                activation=None if layer.clip else activation,
                name=f'actor_{number}',
            )
            value = dense(value)
            dense.set_weights([layer.kernel, layer.bias])
            if layer.clip:
                value = keras.ops.clip(value, -layer.clip, layer.clip)
                value = keras.layers.Activation(activation)(value)
        return keras.Model(source, {'action': bounded(value, spec, squashed=self.squashed)})


def stored_layer(tensors: Mapping[str, Array], name: str, activation: str) -> DenseLayer:
    """Return a layer of PyTorch's state dict; raise ArtifactError for a missing or other one."""
    try:
        kernel, bias = tensors[f'{name}.weight'], tensors[f'{name}.bias']
    except KeyError as error:
        raise ArtifactError(
            f'it has no tensor {error.args[0]}: it is not a chain of dense layers'
        ) from None
    if kernel.ndim != 2:
        raise ArtifactError(
            f'{name} is not a dense layer, its weights have shape {kernel.shape}: export the '
            f'actor as ONNX'
        )
    return DenseLayer(kernel.T.astype(np.float32), bias.astype(np.float32), activation)


def stored_chain(tensors: Mapping[str, Array], prefix: str, activation: str) -> list[DenseLayer]:
    """Return the layers ``prefix.0``, ``prefix.2``, ... of a state dict in order, if any."""
    start = f'{prefix}.' if prefix else ''
    names = (name.removeprefix(start) for name in tensors if name.startswith(start))
    numbers = (name.removesuffix('.weight') for name in names if name.endswith('.weight'))
    return [
        stored_layer(tensors, f'{start}{number}', activation)
        for number in sorted(map(int, filter(str.isdigit, numbers)))
    ]


def bounded(value: Any, spec: EnvironmentSpec, *, squashed: bool) -> Any:
    """Return a Keras tensor of actions within the limits of ``spec``.

    What is ``squashed`` lies in -1..1 and is scaled to the limits; all else is clipped to them.
    """
    import keras

    half = (spec.high - spec.low) / 2
    centre = (spec.high + spec.low) / 2
    is_unit = np.all(spec.low == -1) and np.all(spec.high == 1)
    if not squashed:
        if not is_unit:
            value = keras.layers.Rescaling((1 / half).tolist(), (-centre / half).tolist())(value)
        value = keras.layers.Activation('hard_tanh', name='within_limits')(value)
    return keras.layers.Rescaling(half.tolist(), centre.tolist(), name=SCALED_ACTION)(value)


def _check_finite(what: str, *arrays: Array) -> None:
    for array in arrays:
        if not np.isfinite(array).all():
            raise ArtifactError(
                f'the {what} hold {int(np.count_nonzero(~np.isfinite(array)))} values that are '
                f'not finite: the training has diverged, take an earlier checkpoint'
            )
