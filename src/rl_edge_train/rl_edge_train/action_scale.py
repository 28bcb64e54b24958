"""The linear map between network actions in [-1, 1] and the limits of the environment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rl_edge_core.environment_spec import EnvironmentSpec


@dataclass(frozen=True)
class ActionScale:
    """environment action = centre + half_range * network action."""

    centre: np.ndarray
    """(action_size,), in the action's units."""
    half_range: np.ndarray
    """(action_size,), in the action's units."""

    @staticmethod
    def of(spec: EnvironmentSpec) -> ActionScale:
        """Take the scale from the action limits of a spec."""
        low, high = np.asarray(spec.action_low), np.asarray(spec.action_high)
        return ActionScale(
            ((high + low) / 2).astype(np.float32), ((high - low) / 2).astype(np.float32)
        )

    def to_environment(self, action: Any) -> Any:
        """Map network actions (batch, n) to the limits of the environment."""
        return self.centre + self.half_range * action

    def to_network(self, action: Any) -> Any:
        """Map environment actions (batch, n) to [-1, 1]."""
        return (action - self.centre) / self.half_range
