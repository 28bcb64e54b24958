"""The figures of the report: of one run, of one policy, of a pair."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rl_edge_bringup.models import ChosenModel
from rl_edge_core.evaluation_summary import EvaluationSummary, summarize
from rl_edge_core.statistics import Interval, mean_interval
from rl_edge_eval.metrics.comparison import unpaired_difference
from rl_edge_eval.metrics.run_metrics import EpisodeMetrics
from rl_edge_eval.metrics.series import ImageSmoothness
from rl_edge_experiments.recorded_run import RecordedRun

ALONE, LOADED = 'alone', 'loaded'


@dataclass(frozen=True)
class ActingFigures:
    """What a policy took while it acted in real time, and what it came to."""

    policy_cpu_percent: Interval
    """Of one core; over the reports, one a second, with the interval of their mean."""
    policy_cpu_percent_max: float
    policy_cpu_ms_per_action: float
    policy_resident_mb: float
    """Highest that it reported while it acted."""
    policy_peak_mb: float
    """Highest since the start of the process: loading included."""
    policy_unique_mb: float
    loop_cpu_percent: float
    """Policy and simulator together, of one core."""
    loop_cpu_percent_max: float
    loop_resident_mb: float
    first_action_sec: float
    """From the start of the process."""
    inference_us_p50: float
    inference_us_p99: float
    response_us_p50: float
    response_us_p99: float
    steps: int
    missed_share: float
    """Control periods without the action that answers them."""
    safe_share: float
    mean_speed_m_per_s: float
    """Distance over simulated time of all episodes, the one that was cut short included."""
    falls: int
    pictures: ImageSmoothness | None
    """None where nothing was rendered."""

    def to_mapping(self) -> dict[str, Any]:
        """Return a mapping of JSON types."""
        return asdict(self)


def acting_figures(run: RecordedRun, *, picture_period_sec: float) -> ActingFigures:
    """Return the figures of a run in real time; raise RlEdgeError when it was too short."""
    robot = run.robot
    policy, simulator = run.usage_of('policy'), run.usage_of('sim')
    episodes = robot.episodes
    steps = sum(episode.length for episode in episodes)
    return ActingFigures(
        policy_cpu_percent=mean_interval(policy.reports.cpu_percent),
        policy_cpu_percent_max=policy.cpu_percent_max,
        policy_cpu_ms_per_action=policy.cpu_ms_per_step,
        policy_resident_mb=policy.resident_memory_mb_max,
        policy_peak_mb=policy.peak_memory_mb,
        policy_unique_mb=policy.unique_memory_mb_mean,
        loop_cpu_percent=policy.cpu_percent_mean + simulator.cpu_percent_mean,
        loop_cpu_percent_max=policy.cpu_percent_max + simulator.cpu_percent_max,
        loop_resident_mb=policy.resident_memory_mb_max + simulator.resident_memory_mb_max,
        first_action_sec=robot.first_action_sec,
        inference_us_p50=robot.inference_us.p50,
        inference_us_p99=robot.inference_us.p99,
        response_us_p50=robot.response_us.p50,
        response_us_p99=robot.response_us.p99,
        steps=steps,
        missed_share=sum(episode.actions.missed for episode in episodes) / max(steps, 1),
        safe_share=sum(episode.actions.safe for episode in episodes) / max(steps, 1),
        mean_speed_m_per_s=mean_speed(episodes, robot.control_period_sec),
        falls=sum(episode.ended_by == 'termination' for episode in episodes),
        pictures=run.acting.image_smoothness(picture_period_sec),
    )


def mean_speed(episodes: tuple[EpisodeMetrics, ...], period_sec: float) -> float:
    """Return the distance of all episodes over their simulated time, in m/s."""
    time_sec = period_sec * sum(episode.length for episode in episodes)
    distance_m = sum(episode.forward_distance_m for episode in episodes)
    return distance_m / time_sec if time_sec else float('nan')


@dataclass(frozen=True)
class Side:
    """One policy of a pair, with its runs."""

    model: ChosenModel
    file_bytes: int
    quality_run: RecordedRun
    """In lockstep, over whole episodes."""
    acting_runs: Mapping[str, RecordedRun]
    """In real time, by what ran beside: `ALONE`, `LOADED`."""
    acting: Mapping[str, ActingFigures]

    @property
    def episodes(self) -> list[EpisodeMetrics]:
        """Return the episodes that count, by seed."""
        episodes = [episode for episode in self.quality_run.robot.episodes if episode.counts]
        return sorted(episodes, key=lambda episode: (episode.seed is None, episode.seed))

    @property
    def summary(self) -> EvaluationSummary:
        """Return returns, distances and falls with their intervals."""
        return summarize([episode.result for episode in self.episodes])

    @property
    def returns(self) -> np.ndarray:
        """Return the return of each episode, by seed."""
        return np.array([episode.episode_return for episode in self.episodes])

    @property
    def distances_m(self) -> np.ndarray:
        """Return the forward distance of each episode, by seed."""
        return np.array([episode.forward_distance_m for episode in self.episodes])

    def to_mapping(self) -> dict[str, Any]:
        """Return a mapping of JSON types."""
        return {
            'model': self.model.to_mapping(),
            'file_bytes': self.file_bytes,
            'episodes': [
                {
                    'seed': episode.seed,
                    'return': episode.episode_return,
                    'length': episode.length,
                    'forward_distance_m': episode.forward_distance_m,
                    'ended_by': episode.ended_by,
                }
                for episode in self.episodes
            ],
            'summary': self.summary.to_dict(),
            'acting': {name: figures.to_mapping() for name, figures in self.acting.items()},
            'notes': {
                run.bag.parent.name: list(run.figures.notes)
                for run in (self.quality_run, *self.acting_runs.values())
            },
        }


@dataclass(frozen=True)
class Pair:
    """The full and the compressed policy of one artifact."""

    name: str
    full: Side
    compressed: Side
    float_bytes: int
    """Size of the artifact's float32 TFLite actor; 0 where it has none."""

    @property
    def conditions(self) -> tuple[str, ...]:
        """Return what the policies acted beside."""
        return tuple(self.full.acting)

    def cpu_difference(self, condition: str) -> Interval:
        """Return the compressed policy's CPU use minus the full one's, in % of a core."""
        samples = [
            side.acting_runs[condition].usage_of('policy').reports.cpu_percent
            for side in (self.full, self.compressed)
        ]
        return unpaired_difference(*samples)

    def to_mapping(self) -> dict[str, Any]:
        """Return a mapping of JSON types."""
        return {
            'uncompressed': self.full.to_mapping(),
            'compressed': self.compressed.to_mapping(),
            'float32_file_bytes': self.float_bytes,
            'cpu_percent_difference': {
                condition: self.cpu_difference(condition).to_dict()
                for condition in self.conditions
            },
        }
