"""What an episode has come to so far, summed one way by rollout, simulator and robot."""

from collections.abc import Sequence

from rl_edge_core.episode_result import EndedBy, EpisodeResult


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
