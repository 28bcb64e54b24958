"""Set the smallest weights of an actor to zero, gradually, while it learns from the full actor."""

import gymnasium
import keras
import numpy as np

from rl_edge_compress.imitation import ImitationConfig, Lesson, Say, VisitedStates, imitate
from rl_edge_compress.layer_chain import layer_chain
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


def magnitude_mask(kernel: np.ndarray, sparsity: float) -> np.ndarray:
    """Return 0 for the ``sparsity`` share (rounded up) of weights nearest to zero, else 1."""
    count = int(np.ceil(sparsity * kernel.size))
    mask = np.ones(kernel.size, np.float32)
    if count:
        mask[np.argpartition(np.abs(kernel).reshape(-1), count - 1)[:count]] = 0
    return mask.reshape(kernel.shape)


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
    """Return a copy of ``actor`` with ``sparsity`` of each dense kernel at zero, re-trained.

    Sparsity rises over the rounds of `imitate`; in its final updates the zeros stay where they
    are. ``states`` are those that the teacher visited.
    """
    student = layer_chain(actor).model()

    def move_masks(lesson: Lesson, share: float) -> None:
        now = scheduled_sparsity(share, sparsity)
        for place, kernel in lesson.kernels.items():
            lesson.set_mask(place, magnitude_mask(kernel, now))

    imitate(student, teacher, env, states, config, say=say, before_call=move_masks)
    return student
