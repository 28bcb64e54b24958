"""What one finished episode came to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType


class EndedBy(IntEnum):
    """Why an episode ended; the values are those of EpisodeSummary.msg."""

    TERMINATION = 0
    """The environment ended it before its time limit; `termination_reason` says why."""
    TIME_LIMIT = 1
    RESET = 2
    POLICY_TIMEOUT = 3
    SHUTDOWN = 4
    SAFETY_STOP = 5
    """The safety logic of a robot stopped it; `termination_reason` says why."""


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
    termination_reason: str = ''
    """Which limit was left, such as ``torso too high``; ``terminated`` where the environment does
    not tell; empty unless it was ended by termination or a safety stop."""

    @property
    def ended_early(self) -> bool:
        """Return whether the environment ended the episode before its time limit."""
        return self.ended_by is EndedBy.TERMINATION
