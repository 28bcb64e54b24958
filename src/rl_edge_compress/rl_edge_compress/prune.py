"""Set the smallest weights of an actor to zero, gradually, while it learns from the full actor."""

import dataclasses
from collections.abc import Mapping

import gymnasium
import keras
import numpy as np

from rl_edge_compress.imitation import ImitationConfig, Lesson, Say, VisitedStates, imitate
from rl_edge_compress.layer_chain import (
    LayerChain,
    dense_layer,
    front_values,
    layer_chain,
    moments,
    weights_of,
)
from rl_edge_compress.numpy_graph import NumpyGraph
from rl_edge_core.errors import ConfigurationError


def scheduled_sparsity(share: float, final: float) -> float:
    """Return the share of zeros after ``share`` (0 to 1) of the pruning.

    s = s_f (1 - (1 - t)^3), Zhu & Gupta 2017, eq. 1 from 0: fast while weights are redundant,
    slow towards the end.
    """
    if not 0 <= final < 1:
        raise ConfigurationError(f'sparsity {final} must be at least 0 and below 1')
    return final * (1 - (1 - min(max(share, 0.0), 1.0)) ** 3)


def magnitude_masks(kernels: Mapping[int, np.ndarray], sparsity: float) -> dict[int, np.ndarray]:
    """Return 0 for the ``sparsity`` share (rounded up) of weights nearest to zero, else 1.

    All kernels are ranked together: the first and the last layer, whose few weights are large,
    give up less than the wide ones between. By layer, 90 % leaves 3 inputs a neuron of 27.
    """
    sizes = np.abs(np.concatenate([kernel.reshape(-1) for kernel in kernels.values()]))
    mask = np.ones(sizes.size, np.float32)
    count = int(np.ceil(sparsity * sizes.size))
    if count:
        mask[np.argpartition(sizes, count - 1)[:count]] = 0
    ends = np.cumsum([kernel.size for kernel in kernels.values()])[:-1]
    parts = np.split(mask, ends)
    return {
        place: part.reshape(kernel.shape)
        for (place, kernel), part in zip(kernels.items(), parts, strict=True)
    }


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


def pruned(
    actor: keras.Model,
    sparsity: float,
    *,
    teacher: NumpyGraph,
    env: gymnasium.Env,
    states: VisitedStates,
    config: ImitationConfig,
    say: Say,
) -> keras.Model:
    """Return a copy of ``actor`` with ``sparsity`` of its dense weights at zero, re-trained.

    Sparsity rises over the rounds of `imitate`; in its final updates the zeros stay where they
    are. ``states`` are those that the teacher visited.
    """
    student = normalized_inputs(layer_chain(actor), states.observations).model()

    def move_masks(lesson: Lesson, share: float) -> None:
        now = scheduled_sparsity(share, sparsity)
        for place, mask in magnitude_masks(lesson.kernels, now).items():
            lesson.set_mask(place, mask)

    imitate(student, teacher, env, states, config, say=say, before_call=move_masks)
    return student
