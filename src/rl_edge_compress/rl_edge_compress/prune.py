"""Set the smallest weights of an actor to zero, gradually, while it learns from the full actor."""

import dataclasses
from collections.abc import Mapping

import keras
import numpy as np

from rl_edge_compress.imitation import ImitationData, ImitationTrainer, imitate
from rl_edge_compress.layer_chain import (
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
