"""What a policy node counts over its life."""

import math
from dataclasses import dataclass, field

from rl_edge_core.errors import RlEdgeError
from rl_edge_policy.latency_histogram import LatencyHistogram
from rl_edge_policy.policy import RejectedObservationError


@dataclass
class PolicyFigures:
    """Counts and times, for the status and for /diagnostics."""

    actions: int = 0
    """Observations answered, by safe actions as well."""
    rejected_observations: int = 0
    failed_actions: int = 0
    """Answers of the model that were not finite, or none."""
    repeated_observations: int = 0
    """That were answered by the same action again."""
    swaps: int = 0
    last_fault: str = ''
    first_action_sec: float = math.nan
    """Age of the process when it had acted for the first time."""
    inference: LatencyHistogram = field(default_factory=LatencyHistogram)

    def count_fault(self, error: RlEdgeError) -> None:
        """Count an observation or an action that was rejected."""
        if isinstance(error, RejectedObservationError):
            self.rejected_observations += 1
        else:
            self.failed_actions += 1

    def to_mapping(self) -> dict[str, object]:
        """Return the counts by name."""
        return {
            'actions': self.actions,
            'rejected_observations': self.rejected_observations,
            'failed_actions': self.failed_actions,
            'repeated_observations': self.repeated_observations,
            'swaps': self.swaps,
            'last_fault': self.last_fault,
        }
