"""How the best policy is found: episodes and seeds of their own, and averaged weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rl_edge_train.vector_environment import FinishedEpisode, VectorEnvironment

if TYPE_CHECKING:
    from rl_edge_train.algorithms.base import Agent

SELECTION_SEED = 1_000_000
"""First seed of the episodes that choose the best policy; training stays below."""
EVALUATION_SEED = 2_000_000
"""First seed of `evaluate`; neither training nor selection ever uses these."""


@dataclass(frozen=True)
class SelectionConfig:
    """How often policies are evaluated, and on how many episodes."""

    every_steps: int = 100_000
    """Training steps between evaluations."""
    episodes: int = 10
    """Episodes of each evaluation, run together."""
    confirmations: int = 30
    """Further episodes for a policy that looks best, before it is kept as best."""
    averaged_iterations: int = 0
    """Iterations of the loop (rollouts, or steps of all environments) over which the actor's
    weights are averaged into a second candidate at each evaluation; 0 for none."""


def play(
    environments: VectorEnvironment, act: Callable[[np.ndarray], np.ndarray], *, first_seed: int
) -> list[FinishedEpisode]:
    """Play one whole episode in every environment, seeds counted up from `first_seed`."""
    observation = environments.reset(range(first_seed, first_seed + environments.count))
    finished: dict[int, FinishedEpisode] = {}
    while len(finished) < environments.count:
        environments.start_step(act(observation))
        step = environments.finish_step()
        for episode in step.episodes:
            finished.setdefault(episode.environment, episode)
        observation = environments.observation
    return [finished[index] for index in range(environments.count)]


def metrics_of(episodes: list[FinishedEpisode]) -> dict[str, float]:
    """Return what a set of episodes came to."""
    returns = [episode.episode_return for episode in episodes]
    return {
        'episodes': len(episodes),
        'episode_return': float(np.mean(returns)),
        'return_std': float(np.std(returns)),
        'distance_m': float(np.mean([episode.distance for episode in episodes])),
        'early_ends': sum(episode.terminated for episode in episodes),
    }


class WeightAverage:
    """Exponential average of an actor's weights over its newest updates.

    Neighbouring policies of one run differ in return by more than the progress between them; the
    mean of their weights lies in the middle of where they wander (Polyak and Juditsky 1992;
    Izmailov 2018, section 3).
    """

    def __init__(self, agent: Agent, *, iterations: int) -> None:
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
