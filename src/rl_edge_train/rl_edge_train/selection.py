"""Evaluation while training: episodes of their own, on seeds of their own."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rl_edge_train.vector_environment import FinishedEpisode, VectorEnvironment

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
