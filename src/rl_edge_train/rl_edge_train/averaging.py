"""The actor's weights averaged over the newest updates, a second candidate for the best policy."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

import keras
import numpy as np


class HasActor(Protocol):
    """An agent whose actor's weights may be exchanged."""

    actor: keras.Model

    def actor_has_changed(self) -> None:
        """Act with the actor's present weights from now on."""
        ...


class WeightAverage:
    """Exponential average of an actor's weights over its newest updates.

    Neighbouring policies of one run differ in return by more than the progress between them; the
    mean of their weights lies in the middle of where they wander (Polyak and Juditsky 1992;
    Izmailov 2018, section 3).
    """

    def __init__(self, agent: HasActor, *, iterations: int) -> None:
        """Average over about so many `iterations` of the loop; 0 averages nothing."""
        if iterations < 0:
            raise ValueError(f'averaged_iterations is {iterations}, must be 0 (none) or more')
        self.agent, self.iterations = agent, iterations
        self._weights: list[np.ndarray] = []

    def __bool__(self) -> bool:
        return bool(self._weights)

    def add(self) -> None:
        """Take the actor's present weights in, after an iteration that changed them."""
        if not self.iterations:
            return
        present = self.agent.actor.get_weights()
        if not self._weights:
            self._weights = [weight.astype(np.float64) for weight in present]
            return
        for average, weight in zip(self._weights, present, strict=True):
            average += (weight - average) / self.iterations

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the agent act, and export, with the averaged weights inside the block."""
        present = self.agent.actor.get_weights()
        self._set([weight.astype(np.float32) for weight in self._weights])
        try:
            yield
        finally:
            self._set(present)

    def _set(self, weights: list[np.ndarray]) -> None:
        self.agent.actor.set_weights(weights)
        self.agent.actor_has_changed()

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the average by name."""
        return {str(index): weight.copy() for index, weight in enumerate(self._weights)}

    def load_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on from what `arrays` returned; without any, from the actor's next weights."""
        self._weights = [np.array(arrays[str(index)], np.float64) for index in range(len(arrays))]
