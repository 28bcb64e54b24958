"""Figures of a set of episodes, each with its 95 % interval."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from math import isnan
from typing import Any

import numpy as np

from rl_edge_core.episode_result import EpisodeResult
from rl_edge_core.errors import ConfigurationError
from rl_edge_core.statistics import Interval, mean_interval, median_interval, share_interval

UNKNOWN = 'terminated'
"""Reason of an early end that came without one, as in a bag of an earlier version."""


@dataclass(frozen=True)
class EvaluationSummary:
    """Summarize a policy's episodes."""

    episode_return: Interval
    forward_distance_m: Interval
    """Mean; beside the return, since standing still earns about 1,000 in Ant-v5."""
    forward_distance_median_m: Interval
    mean_speed_m_per_s: Interval
    episode_length: Interval
    early_end_share: Interval
    """Share of episodes that the environment ended before their time limit."""
    termination_reasons: Mapping[str, int]
    """Of those, how many for each reason, such as ``torso too high``."""

    def to_dict(self) -> dict[str, Any]:
        """Return a mapping of JSON types.

        ``fall_share`` is the early name of ``early_end_share``, kept for what reads the results.
        """
        return {
            **{name: asdict(interval) for name, interval in self._intervals()},
            'fall_share': asdict(self.early_end_share),
            'termination_reasons': dict(self.termination_reasons),
        }

    def rows(self) -> list[tuple[str, str]]:
        """Return (metric, value with its interval) for a table, and what ended episodes early.

        Without what has no value, as the distance of a task that has none.
        """
        rows = [(n, str(value)) for n, value in self._intervals() if not isnan(value.estimate)]
        if self.termination_reasons:
            reasons = (f'{count} {reason}' for reason, count in self.termination_reasons.items())
            rows.append(('termination_reasons', ', '.join(reasons)))
        return rows

    def _intervals(self) -> list[tuple[str, Interval]]:
        values = [(field.name, getattr(self, field.name)) for field in fields(self)]
        return [(name, value) for name, value in values if isinstance(value, Interval)]


def summarize(results: Sequence[EpisodeResult]) -> EvaluationSummary:
    """Summarize episodes; raise ConfigurationError when there are none."""
    if not results:
        raise ConfigurationError('no finished episode to summarize; run at least one')
    reasons = [result.termination_reason or UNKNOWN for result in results if result.ended_early]
    distances = np.array([result.forward_distance for result in results])
    return EvaluationSummary(
        episode_return=mean_interval([result.episode_return for result in results]),
        forward_distance_m=mean_interval(distances),
        forward_distance_median_m=median_interval(distances),
        mean_speed_m_per_s=mean_interval([result.mean_speed for result in results]),
        episode_length=mean_interval([result.length for result in results]),
        early_end_share=share_interval(len(reasons), len(results)),
        termination_reasons=dict(Counter(reasons).most_common()),
    )
