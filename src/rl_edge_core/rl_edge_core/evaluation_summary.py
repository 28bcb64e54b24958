"""Figures of a set of episodes, each with its 95 % interval."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from rl_edge_core.episode_result import EpisodeResult
from rl_edge_core.errors import ConfigurationError
from rl_edge_core.statistics import Interval, mean_interval, median_interval, share_interval


@dataclass(frozen=True)
class EvaluationSummary:
    """Summarize a policy's episodes."""

    episode_return: Interval
    forward_distance_m: Interval
    """Mean; beside the return, since standing still earns about 1,000 in Ant-v5."""
    forward_distance_median_m: Interval
    mean_speed_m_per_s: Interval
    episode_length: Interval
    fall_share: Interval
    """Share of episodes that the environment ended before their time limit."""

    def to_dict(self) -> dict[str, Any]:
        """Return a mapping of JSON types."""
        return {field.name: getattr(self, field.name).to_dict() for field in fields(self)}

    def rows(self) -> list[tuple[str, str]]:
        """Return (figure, value with its interval) for a table."""
        return [(field.name, str(getattr(self, field.name))) for field in fields(self)]


def summarize(results: Sequence[EpisodeResult]) -> EvaluationSummary:
    """Summarize episodes; raise ConfigurationError when there are none."""
    if not results:
        raise ConfigurationError('no finished episode to summarize; run at least one')
    distances = np.array([result.forward_distance for result in results])
    return EvaluationSummary(
        episode_return=mean_interval([result.episode_return for result in results]),
        forward_distance_m=mean_interval(distances),
        forward_distance_median_m=median_interval(distances),
        mean_speed_m_per_s=mean_interval([result.mean_speed for result in results]),
        episode_length=mean_interval([result.length for result in results]),
        fall_share=share_interval(sum(result.ended_early for result in results), len(results)),
    )
