"""What every algorithm offers to the loops, to the checkpoint and to the train node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from rl_edge_train.replay import TransitionLayout

if TYPE_CHECKING:
    import keras

    from rl_edge_train.starting import StartingWeights


@dataclass(frozen=True)
class Decision:
    """Actions for a batch of observations, and what is stored beside the transition."""

    action: np.ndarray
    """(batch, action_size), in the limits of the environment."""
    extras: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Such as log_prob (batch,): the log-probability of exactly the stored action."""


class Agent(Protocol):
    """A pure learner: it acts and learns from rows, and knows no environment and no loop."""

    actor: keras.Model
    updates: Any
    """A variable: the updates made so far."""

    @property
    def layout(self) -> TransitionLayout:
        """Return the layout of the rows that `update` expects."""
        ...

    @property
    def sequence_length(self) -> int:
        """Return how many successive transitions `update` takes together."""
        ...

    def act(self, observation: np.ndarray, *, explore: bool) -> Decision:
        """Return actions for raw observations (batch, observation_size)."""
        ...

    def actor_has_changed(self) -> None:
        """Act with the actor's present weights from now on."""
        ...

    def observe(self, observation: np.ndarray) -> None:
        """Take raw observations (batch, observation_size) into the normaliser's statistics."""
        ...

    def set_progress(self, share: float) -> None:
        """Tell the agent which share (0 to 1) of the run is done; schedules follow it."""
        ...

    def learning_rates(self) -> dict[str, float]:
        """Return the present step size of each optimizer, by the name of its setting."""
        ...

    def update(self, rows: np.ndarray) -> dict[str, float]:
        """Learn from rows (updates, batch, width); return the losses.

        With a `sequence_length` above 1: (updates, batch, sequence_length, width).
        """
        ...

    def arrays(self) -> dict[str, np.ndarray]:
        """Return everything that learning goes on from, by name."""
        ...

    def load_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take over what `arrays` returned."""
        ...

    def start_from(
        self, weights: StartingWeights, observations: np.ndarray | None
    ) -> Mapping[str, bool]:
        """Take over a shipped policy; return which of its parts it was possible to take.

        `observations` (count, observation_size) are what that policy visits, needed where the
        agent normalises and the policy does not. ConfigurationError names what does not fit.
        """
        ...

    def policy_model(self) -> keras.Model:
        """Build raw observation -> action, value and, for Gaussians, log_std."""
        ...
