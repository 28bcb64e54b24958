"""What the runner asks of a loop, whichever way the algorithm collects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from rl_edge_train.agent import Decision
from rl_edge_train.vector_environment import FinishedEpisode, VectorStep


@dataclass(frozen=True)
class LoopReport:
    """What one iteration brought."""

    episodes: list[FinishedEpisode]
    metrics: Mapping[str, float] = field(default_factory=dict)


def transitions_of(
    observation: np.ndarray, decision: Decision, step: VectorStep
) -> dict[str, np.ndarray]:
    """Return the transitions of one step, by the names of a `TransitionLayout`; (batch, ...)."""
    return {
        'observation': observation,
        'action': decision.action,
        'reward': step.reward,
        'next_observation': step.next_observation,
        'terminated': step.terminated,
        'truncated': step.truncated,
        **decision.extras,
    }


class Loop(Protocol):
    """Collects with an agent and lets it learn, one iteration at a time."""

    steps: int

    def iterate(self) -> LoopReport:
        """Take the next steps and the updates that belong to them."""
        ...

    def state(self) -> dict[str, Any]:
        """Return counts and generator states as JSON values, with everything on disk."""
        ...

    def load_state(self, state: Mapping[str, Any]) -> str:
        """Go on from `state`; return what a person should know."""
        ...

    def after_checkpoint(self) -> None:
        """Tidy up what only older checkpoints needed."""
        ...

    def close(self) -> None:
        """Close files."""
        ...
