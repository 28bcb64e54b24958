"""Actors that learn from the full one: pruned, narrower, and a copy for weights of few bits."""

import dataclasses
from collections.abc import Mapping

import keras
import numpy as np

from rl_edge_compress.imitation import ImitationData, ImitationTrainer, imitate
from rl_edge_compress.keras_models import (
    LayerChain,
    dense_layer,
    front_values,
    layer_chain,
    moments,
    weights_of,
)
from rl_edge_core.errors import ConfigurationError

RISING = 0.6
"""Share of the rounds in which sparsity rises."""
CLIP = 10.0
WEIGHT_BITS = 8
TUNING_RATE = 0.3
"""Of the rate at which a student learns: what was trained is only to be adapted."""


def scheduled_sparsity(share: float, final: float) -> float:
    """Return the share of zeros after ``share`` (0 to 1) of the pruning.

    s = s_f (1 - (1 - t)^3), Zhu & Gupta 2017, eq. 1 from 0: fast while weights are redundant,
    slow towards the end.
    """
    if not 0 <= final < 1:
        raise ConfigurationError(f'sparsity {final} must be at least 0 and below 1')
    return final * (1 - (1 - min(max(share, 0.0), 1.0)) ** 3)


def kept_weights(shapes: Mapping[int, tuple[int, ...]], sparsity: float) -> dict[int, int]:
    """Return how many weights each kernel keeps, so that ``sparsity`` (rounded up) are zero.

    Erdős-Rényi: a kernel (n, m) keeps a share that grows with (n + m) / (n m), whole kernels
    where that exceeds 1 (Evci et al. 2020, RigL, section 3). One threshold for all layers would
    cut the first one, whose inputs no other can replace, to one input per neuron.
    """
    left = int((1 - sparsity) * sum(rows * columns for rows, columns in shapes.values()) + 1e-9)
    kept: dict[int, int] = {}
    rest = dict(shapes)
    while rest:
        share = left / sum(rows + columns for rows, columns in rest.values())
        whole = [k for k, (n, m) in rest.items() if share * (n + m) >= n * m]
        if not whole:
            return kept | {k: int(share * (n + m) + 1e-6) for k, (n, m) in rest.items()}
        for place in whole:
            rows, columns = rest.pop(place)
            kept[place] = rows * columns
            left -= rows * columns
    return kept


def magnitude_masks(kernels: Mapping[int, np.ndarray], sparsity: float) -> dict[int, np.ndarray]:
    """Return 1 for the largest weights of each kernel, as many as `kept_weights` says, else 0."""
    kept = kept_weights({place: k.shape for place, k in kernels.items()}, sparsity)
    masks = {}
    for place, kernel in kernels.items():
        sizes = np.abs(kernel).reshape(-1)
        mask = np.zeros(sizes.size, np.float32)
        mask[np.argsort(sizes, kind='stable')[sizes.size - kept[place] :]] = 1
        masks[place] = mask.reshape(kernel.shape)
    return masks


def normalized_inputs(chain: LayerChain, observations: np.ndarray) -> LayerChain:
    """Return a chain of the same function whose first dense layer sees normalised values.

    Only then do the magnitudes of its weights say what each input contributes, and does Adam
    learn them at one pace. ``observations`` (count, n) give the moments; a chain that normalises
    already stays as it is.
    """
    if any(isinstance(step, keras.layers.Normalization) for step in chain.front):
        return chain
    mean, variance = moments(front_values(chain, observations))
    kernel, bias = weights_of(chain.dense[0])
    first = dense_layer(
        kernel * np.sqrt(variance)[:, None],
        bias + mean @ kernel,
        activation=chain.dense[0].activation,
    )
    layer = keras.layers.Normalization(mean=mean, variance=variance)
    return dataclasses.replace(chain, front=(*chain.front, layer), trunk=(first, *chain.trunk[1:]))


def pruned(actor: keras.Model, sparsity: float, data: ImitationData) -> keras.Model:
    """Return a copy of ``actor`` with ``sparsity`` of its dense weights at zero, re-trained.

    Sparsity rises over the first `RISING` of the rounds of `imitate`; in the others the student
    visits states, and learns from them, as sparse as it will be.
    """
    student = normalized_inputs(layer_chain(actor), data.states.observations).model()

    def move_masks(trainer: ImitationTrainer, share: float) -> None:
        now = scheduled_sparsity(share / RISING, sparsity)
        for place, mask in magnitude_masks(trainer.kernels, now).items():
            trainer.set_mask(place, mask)

    imitate(student, data, before_call=move_masks)
    return student


def distilled(actor: keras.Model, width: int, data: ImitationData) -> keras.Model:
    """Return a student ``width`` neurons wide that was taught by ``actor``, for 8-bit weights."""
    keras.utils.set_random_seed(data.config.seed)
    student = narrower(layer_chain(actor), width, data.states.observations)
    imitate(student, data, weight_bits=WEIGHT_BITS)
    return student


def tuned(actor: keras.Model, bits: int, data: ImitationData) -> keras.Model:
    """Return a copy of ``actor`` that learned to answer as it does with weights of ``bits``."""
    student = layer_chain(actor).model()
    rate = TUNING_RATE * data.config.learning_rate
    config = dataclasses.replace(data.config, learning_rate=rate)
    imitate(student, dataclasses.replace(data, config=config), weight_bits=bits)
    return student


def narrower(chain: LayerChain, width: int, observations: np.ndarray) -> keras.Model:
    """Return an untrained actor with as many hidden layers as ``chain``, each ``width`` wide.

    It sees what the chain's first dense layer sees, normalised by ``observations`` where the
    chain does not normalise, and has no LayerNorm: on a chip, that costs more than it adds to a
    network this small.
    """
    source = keras.Input((chain.observation_size,), name='observation')
    value = source
    for step in chain.front:
        value = step(value)
    if not any(isinstance(step, keras.layers.Normalization) for step in chain.front):
        mean, variance = moments(front_values(chain, observations))
        normal = keras.layers.Normalization(mean=mean, variance=variance)(value)
        value, taken = keras.ops.clip(normal, -CLIP, CLIP), chain.operation_names
        # Keras names an operation by its number in this process; one from a file may be called so.
        while value._keras_history.operation.name in taken:
            value = keras.ops.clip(normal, -CLIP, CLIP)
    for number, _ in enumerate(chain.dense[:-1]):
        value = keras.layers.Dense(width, activation='relu', name=f'student_{number}')(value)
    head = chain.dense[-1]
    value = keras.layers.Dense(head.units, activation=head.activation, name='student_head')(value)
    for step in chain.tail:
        value = step(value)
    return keras.Model(source, value, name='actor')
