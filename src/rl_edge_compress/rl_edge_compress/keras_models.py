"""Keras actor-critics: their outputs and network, and the actor as a chain of operations."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from rl_edge_core.archive import check_keras_archive
from rl_edge_core.artifact import Network
from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.errors import ArtifactError

CRITIC_INPUT = 'observation_and_action'
"""Name of the layer in which critics of actions meet what they judge."""
SCALED_ACTION = 'action'
"""Name of the layer that maps a network's action to the limits of the environment."""

SMALLEST_VARIANCE = 1e-4
Operation = Callable[[Any], Any]
Critic = Callable[[Any, Any], Any]
"""Raw observations (batch, n) and actions (batch, m) -> values (batch, 1)."""


def load_keras(path: Path) -> keras.Model:
    """Load a Keras model in safe mode; raise ArtifactError when that is not possible."""
    check_keras_archive(path)
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError) as error:
        raise ArtifactError(f'{path} cannot be loaded as a Keras model: {error}') from error


def named_outputs(model: keras.Model) -> Mapping[str, keras.KerasTensor]:
    """Return the outputs of an actor-critic by name: action, value and perhaps log_std.

    Raise ArtifactError when there is no action among them.
    """
    outputs = model.output
    if not isinstance(outputs, Mapping):
        names = getattr(model, 'output_names', [])
        outputs = dict(zip(names, model.outputs, strict=True))
    if 'action' not in outputs:
        raise ArtifactError(
            f'the Keras model has outputs {", ".join(outputs) or "without names"}; '
            f'it needs one named action (and may have value, and log_std for a Gaussian policy)'
        )
    return outputs


def actor_of(model: keras.Model) -> keras.Model:
    """Return the part that acts, observation (batch, n) -> action (batch, m); shares weights."""
    return keras.Model(model.inputs[0], named_outputs(model)['action'], name='actor')


def critic_of(model: keras.Model) -> Critic | None:
    """Return the part that values actions, in the environment's units; shares weights.

    None when the value is one of states alone, as on-policy algorithms learn it.
    """
    names = [layer.name for layer in model.layers]
    if CRITIC_INPUT not in names:
        return None
    _, action = model.get_layer(CRITIC_INPUT).input
    value = keras.Function([model.inputs[0], action], named_outputs(model)['value'])
    scaling = model.get_layer(SCALED_ACTION)

    def critic(observation: Any, scaled: Any) -> Any:
        return value([observation, (scaled - scaling.offset) / scaling.scale])

    return critic


def check_sizes(model: keras.Model, spec: EnvironmentSpec) -> None:
    """Raise ArtifactError unless the model maps the spec's observations to its actions."""
    for what, tensor, size in (
        ('input', model.inputs[0], spec.observation_size),
        ('action output', named_outputs(model)['action'], spec.action_size),
    ):
        if tensor.shape[-1] != size:
            raise ArtifactError(
                f'the {what} of the Keras model has {tensor.shape[-1]} values, '
                f'{spec.environment_id} has {size}'
            )


def flat_layers(model: keras.Model) -> list[keras.Layer]:
    """Return the layers of a model and of the models nested in it, in order."""
    layers: list[keras.Layer] = []
    for layer in model.layers:
        layers += flat_layers(layer) if isinstance(layer, keras.Model) else [layer]
    return layers


def describe_network(model: keras.Model) -> Network:
    """Read off what the actor of an actor-critic is made of."""
    actor = actor_of(model)
    layers = flat_layers(actor)
    dense = [layer for layer in layers if isinstance(layer, keras.layers.Dense)]
    active = (keras.layers.Dense, keras.layers.Activation)
    activations = (str(x.activation.__name__) for x in layers if isinstance(x, active))
    is_gaussian = 'log_std' in named_outputs(model)
    return Network(
        hidden_sizes=tuple(int(layer.units) for layer in dense[:-1]),
        activation=next((name for name in activations if name != 'linear'), 'linear'),
        layer_norm=any(isinstance(layer, keras.layers.LayerNormalization) for layer in layers),
        parameters=int(sum(weight.shape.num_elements() for weight in actor.trainable_variables)),
        action_distribution='squashed_gaussian' if is_gaussian else 'deterministic',
    )


@dataclass(frozen=True)
class LayerChain:
    """The operations of an actor in order, each with one input and one output."""

    observation_size: int
    front: tuple[Operation, ...]
    """From the raw observation to what the first dense layer sees: selection, normalisation."""
    trunk: tuple[Operation, ...]
    """From the first dense layer to the last, both included."""
    tail: tuple[Operation, ...]
    """From the last dense layer to the action in the environment's limits."""

    @property
    def dense(self) -> list[keras.layers.Dense]:
        """Return the dense layers in order."""
        return [step for step in self.trunk if isinstance(step, keras.layers.Dense)]

    @property
    def operation_names(self) -> set[str]:
        """Return the names that its operations have in a Keras model."""
        steps = (*self.front, *self.trunk, *self.tail)
        parts = [getattr(getattr(step, '__self__', None), 'operations', [step]) for step in steps]
        return {str(operation.name) for part in parts for operation in part}

    def model(self) -> keras.Model:
        """Return the actor as a Keras model of these very operations."""
        source = keras.Input((self.observation_size,), name='observation')
        value = source
        for step in (*self.front, *self.trunk, *self.tail):
            value = step(value)
        return keras.Model(source, value, name='actor')


def layer_chain(actor: keras.Model) -> LayerChain:
    """Return a copy of ``actor`` as a chain, nested models unfolded, unused head units left out.

    Raise ArtifactError when the actor branches or has no dense layer.
    """
    flat = _flat_copy(actor)
    steps = _steps(flat)
    places = [i for i, step in enumerate(steps) if isinstance(step, keras.layers.Dense)]
    if not places:
        raise ArtifactError('the actor has no dense layer: there is nothing to compress')
    first, last = places[0], places[-1]
    chain = LayerChain(
        observation_size=int(actor.inputs[0].shape[-1]),
        front=tuple(steps[:first]),
        trunk=tuple(steps[first : last + 1]),
        tail=tuple(steps[last + 1 :]),
    )
    # Head units that the action does not depend on, e.g. those of a log_std, are cut.
    kernel, bias = weights_of(chain.dense[-1])
    chosen = _selection(chain.tail[0], kernel.shape[1]) if chain.tail else None
    if chosen is None:
        return chain
    head = dense_layer(kernel[:, chosen], bias[chosen], activation=chain.dense[-1].activation)
    return LayerChain(
        chain.observation_size, chain.front, (*chain.trunk[:-1], head), chain.tail[1:]
    )


def dense_layer(
    kernel: np.ndarray, bias: np.ndarray, *, activation: Any = 'linear', name: str | None = None
) -> keras.layers.Dense:
    """Return a built dense layer of the given weights, kernel (inputs, units)."""
    layer = keras.layers.Dense(kernel.shape[1], activation=activation, name=name)
    layer.build((None, kernel.shape[0]))
    layer.set_weights([kernel, bias])
    return layer


def weights_of(layer: keras.layers.Dense) -> tuple[np.ndarray, np.ndarray]:
    """Return (kernel, bias) of a dense layer; a zero bias where it has none."""
    kernel = np.asarray(layer.kernel)
    bias = np.zeros(kernel.shape[1], np.float32) if layer.bias is None else np.asarray(layer.bias)
    return kernel, bias


def _flat_copy(actor: keras.Model) -> keras.Model:
    flat = actor
    with warnings.catch_warnings():
        # A nested model's input may be recorded as a list of one; it takes the tensor as well.
        warnings.filterwarnings('ignore', message='The structure of `inputs`')
        while any(isinstance(layer, keras.Model) for layer in flat.layers):
            flat = keras.models.clone_model(
                flat,
                clone_function=lambda layer: layer,
                call_function=lambda layer, *arguments, **keywords: (
                    layer.call if isinstance(layer, keras.Model) else layer
                )(*arguments, **keywords),
            )
    copy = keras.models.clone_model(flat)
    copy.set_weights(flat.get_weights())
    return copy


def _steps(flat: keras.Model) -> list[Operation]:
    """Return the operations as functions of one tensor; raise ArtifactError if they branch."""
    operations = [op for op in flat.operations if not isinstance(op, keras.layers.InputLayer)]
    before, steps = [flat.inputs[0]], []
    for place, operation in enumerate(operations):
        if not any(operation.input is tensor for tensor in before):
            raise ArtifactError(
                f'the actor branches at {operation.name}: only chains of layers can be compressed'
            )
        following = operations[place + 1].input if place + 1 < len(operations) else None
        steps.append(_one_output(operation, following))
        before = _outputs(operation)
    return steps


def _outputs(operation: Any) -> list[Any]:
    outputs = operation.output
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]


def _one_output(operation: Any, following: Any) -> Operation:
    """Return an operation as a function of its tensor alone: the output that goes on."""
    if isinstance(operation, keras.Layer):
        return operation
    # Others, such as a slice, are recorded with more arguments than the tensor.
    outputs = _outputs(operation)
    used = next((output for output in outputs if output is following), outputs[0])
    return keras.Function(operation.input, used).call


def _selection(step: Operation, size: int) -> Sequence[int] | None:
    """Return which of ``size`` inputs a step passes on; None when it does anything else."""
    numbers = np.arange(size, dtype=np.float32)
    probes = np.stack([numbers, np.random.default_rng(0).normal(size=size).astype(np.float32)])
    passed, values = np.asarray(step(keras.ops.convert_to_tensor(probes)))
    if passed.shape[0] >= size or not np.isin(passed, numbers).all():
        return None
    chosen = passed.astype(int)
    return list(chosen) if np.array_equal(values, probes[1][chosen]) else None


def front_values(chain: LayerChain, observations: np.ndarray) -> np.ndarray:
    """Return what the first dense layer sees of raw observations (count, n)."""
    value = keras.ops.convert_to_tensor(np.asarray(observations, np.float32))
    for step in chain.front:
        value = step(value)
    return np.asarray(value)


def moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance (n,) of values (count, n); no variance is quite zero."""
    return values.mean(axis=0), np.maximum(values.var(axis=0), SMALLEST_VARIANCE)
