"""What one finished episode came to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType


class EndedBy(IntEnum):
    """Why an episode ended; the values are those of EpisodeSummary.msg."""

    TERMINATION = 0
    """The environment ended it: the robot fell."""
    TIME_LIMIT = 1
    RESET = 2
    POLICY_TIMEOUT = 3
    SHUTDOWN = 4


@dataclass(frozen=True)
class EpisodeResult:
    """Hold the outcome of one episode."""

    seed: int
    episode_return: float
    """Sum of rewards, undiscounted."""
    length: int
    """In steps."""
    forward_distance: float
    """In m; NaN where the environment has no forward coordinate."""
    mean_speed: float
    """Forward distance over simulated time, in m/s."""
    ended_by: EndedBy
    reward_terms: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """Sum of each reward term over the episode."""

    @property
    def fell(self) -> bool:
        """Return whether the environment ended the episode before its time limit."""
        return self.ended_by is EndedBy.TERMINATION
