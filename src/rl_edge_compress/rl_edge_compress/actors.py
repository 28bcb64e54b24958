"""The actors that recipes write: each a short function of the workshop."""

from collections.abc import Callable, Mapping

import keras

from rl_edge_compress.distill import distilled
from rl_edge_compress.prune import pruned
from rl_edge_compress.recipes import FULL, SPARSITIES, WIDTHS
from rl_edge_compress.workshop import Workshop


def full_actor(workshop: Workshop) -> keras.Model:
    """Return the actor as it was trained."""
    return workshop.actor


def pruned_actor(sparsity: float) -> Callable[[Workshop], keras.Model]:
    """Return what prunes the actor to ``sparsity`` and re-trains it against the full one."""
    return lambda workshop: pruned(workshop.actor, sparsity, workshop.course)


def student_actor(width: int) -> Callable[[Workshop], keras.Model]:
    """Return what distils the actor into a student ``width`` neurons wide."""
    return lambda workshop: distilled(workshop.actor, width, workshop.course)


ACTORS: Mapping[str, Callable[[Workshop], keras.Model]] = {
    FULL: full_actor,
    **{f'pruned{percent}': pruned_actor(percent / 100) for percent in SPARSITIES},
    **{f'student{width}': student_actor(width) for width in WIDTHS},
}
