"""What an episode comes to, summed one way by rollout, simulator and robot."""

from collections.abc import Mapping, Sequence
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

    @property
    def cuts(self) -> bool:
        """Return whether neither environment nor time limit ended it: it goes into no mean."""
        return self not in (EndedBy.TERMINATION, EndedBy.TIME_LIMIT)


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


class EpisodeAccumulator:
    """Sum the rewards of an episode from its reset on."""

    def __init__(self, seed: int, start_position: float, term_names: Sequence[str]) -> None:
        """Start where the reset with ``seed`` has put the robot, in m (NaN: nowhere)."""
        self.seed = seed
        self.length = 0
        self.termination_reason = ''
        """To be set by whoever steps the environment, once it has ended the episode."""
        self._return = 0.0
        self._term_names = tuple(term_names)
        self._terms = [0.0] * len(self._term_names)
        self._start = self._position = start_position

    def add(self, reward: float, terms: Sequence[float], position: float) -> None:
        """Count one step: its reward, the terms in the order of the names, and where it led."""
        self.length += 1
        self._return += reward
        self._position = position
        sums = self._terms
        for index, value in enumerate(terms):
            sums[index] += value

    def result(self, ended_by: EndedBy, *, control_period_sec: float) -> EpisodeResult:
        """Return the outcome, ended now. The mean speed of an episode without a step is 0."""
        distance = self._position - self._start
        duration_sec = self.length * control_period_sec
        return EpisodeResult(
            seed=self.seed,
            episode_return=self._return,
            length=self.length,
            forward_distance=distance,
            mean_speed=distance / duration_sec if duration_sec else distance * 0.0,
            ended_by=ended_by,
            reward_terms=dict(zip(self._term_names, self._terms, strict=True)),
            termination_reason=self.termination_reason,
        )
