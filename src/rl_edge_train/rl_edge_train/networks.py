"""Keras networks of the algorithms: trunks, heads, and the copies that follow them slowly."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import tensorflow as tf

LAYER_NORM_PLACES = ('none', 'before', 'after')
ACTIVATIONS = ('relu', 'tanh', 'elu', 'silu')


@dataclass(frozen=True)
class TrunkConfig:
    """Hidden layers of one network."""

    widths: tuple[int, ...] = (256, 256)
    """Units of each dense layer."""
    activations: tuple[str, ...] = ('relu',)
    """Activation of each layer; the last one given repeats for the layers that follow."""
    layer_norms: tuple[str, ...] = ('none',)
    """LayerNorm `before` the activation, `after` it, or `none`; the last one repeats as well."""

    def __post_init__(self) -> None:
        """Refuse widths, activations and places that do not exist."""
        if not self.widths or min(self.widths) < 1:
            raise ValueError(f'widths must be positive integers, got {self.widths}')
        _check_choices('activations', self.activations, ACTIVATIONS)
        _check_choices('layer_norms', self.layer_norms, LAYER_NORM_PLACES)

    def layers(self) -> list[tuple[int, str, str]]:
        """Return (width, activation, place of the LayerNorm) of each layer."""
        return [
            (width, _item_or_last(self.activations, index), _item_or_last(self.layer_norms, index))
            for index, width in enumerate(self.widths)
        ]


def _check_choices(name: str, values: Sequence[str], choices: Sequence[str]) -> None:
    wrong = [value for value in values if value not in choices]
    if wrong or not values:
        raise ValueError(f'{name} {list(values)} must be taken from {", ".join(choices)}')


def _item_or_last(values: Sequence[str], index: int) -> str:
    return values[min(index, len(values) - 1)]


PLAIN_TRUNK = TrunkConfig()
"""Two layers of 256, relu."""
STUDY_TRUNK = TrunkConfig(layer_norms=('after', 'none'))
"""What the study's actor-critic has: a LayerNorm after the first layer."""
TANH_TRUNK = TrunkConfig(activations=('tanh',))
"""Two layers of 256, tanh, as PPO likes them."""


def build_network(
    inputs: int,
    outputs: int,
    trunk: TrunkConfig,
    *,
    name: str,
    seed: int,
    output_scale: float = 1.0,
    initializer: str = 'glorot',
) -> keras.Model:
    """Build a dense network (batch, inputs) -> (batch, outputs) with a linear head.

    `output_scale` shrinks the first weights of the head; `initializer` is `glorot` or `orthogonal`
    (gain sqrt(2) in the trunk, `output_scale` in the head, as PPO likes it).
    """
    source = keras.Input((inputs,), name=f'{name}_input')
    hidden = source
    for index, (width, activation, layer_norm) in enumerate(trunk.layers()):
        hidden = keras.layers.Dense(
            width,
            kernel_initializer=_kernel(initializer, 2**0.5, seed + index),
            name=f'{name}_dense_{index}',
        )(hidden)
        if layer_norm == 'before':
            hidden = keras.layers.LayerNormalization(name=f'{name}_norm_{index}')(hidden)
        hidden = keras.layers.Activation(activation, name=f'{name}_{activation}_{index}')(hidden)
        if layer_norm == 'after':
            hidden = keras.layers.LayerNormalization(name=f'{name}_norm_{index}')(hidden)
    head = keras.layers.Dense(
        outputs,
        kernel_initializer=_kernel(initializer, output_scale, seed + len(trunk.widths)),
        name=f'{name}_head',
    )
    network = keras.Model(source, head(hidden), name=name)
    if initializer == 'glorot' and output_scale != 1.0:
        head.kernel.assign(head.kernel * output_scale)
    return network


def _kernel(initializer: str, gain: float, seed: int) -> keras.initializers.Initializer:
    if initializer == 'orthogonal':
        return keras.initializers.Orthogonal(gain=gain, seed=seed)
    if initializer == 'glorot':
        return keras.initializers.GlorotUniform(seed=seed)
    raise ValueError(f'initializer {initializer!r} must be glorot or orthogonal')


def clone_network(network: keras.Model, *, name: str) -> keras.Model:
    """Build a second network with the same layers and the same weights (a target network)."""
    clone = keras.models.clone_model(network)
    clone.name = name
    clone.set_weights(network.get_weights())
    clone.trainable = False
    return clone


def soft_update(
    targets: Sequence[tf.Variable], sources: Sequence[tf.Variable], *, tau: float
) -> None:
    """Move each target a share `tau` of the way to its source (DDPG, Lillicrap 2015, Alg. 1)."""
    for target, source in zip(targets, sources, strict=True):
        target.assign_add(tau * (source - target))
