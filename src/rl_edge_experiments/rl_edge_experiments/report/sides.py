"""The runs of one policy, of a pair of policies, and the columns that the report has of them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rl_edge_bringup.models import ChosenModel
from rl_edge_core.evaluation_summary import EvaluationSummary
from rl_edge_core.results import json_types
from rl_edge_core.statistics import Interval, mean_interval
from rl_edge_eval.metrics.comparison import unpaired_difference
from rl_edge_eval.metrics.series import ImageSmoothness
from rl_edge_eval.output.columns import HIGHER, LOWER, Column, comparison_rows
from rl_edge_experiments.record_run import RecordedRun

ALONE, LOADED = 'alone', 'loaded'


@dataclass(frozen=True)
class ActingRun:
    """A policy that acts in real time."""

    run: RecordedRun
    image_period_sec: float
    """How often an image is due."""

    @property
    def images(self) -> ImageSmoothness | None:
        """Return how smoothly images came; None where nothing was rendered."""
        return self.run.acting.image_smoothness(self.image_period_sec)

    @property
    def cpu_percent(self) -> np.ndarray:
        """Return the policy's CPU use of each second, in % of a core."""
        return self.run.usage_of('policy').reports.cpu_percent

    @property
    def loop_cpu_percent_max(self) -> float:
        """Return the busiest second of the policy plus that of the simulator, in % of a core."""
        return sum(self.run.usage_of(node).cpu_percent_max for node in ('policy', 'sim'))

    def to_mapping(self) -> dict[str, Any]:
        """Return a mapping of JSON types."""
        robot, acting = self.run.robot, self.run.acting
        policy, simulator = (self.run.usage_of(node) for node in ('policy', 'sim'))
        images = json_types(self.images)
        if images is not None:
            images['pictures'] = images.pop('images')
        values = {
            'policy_cpu_percent': mean_interval(self.cpu_percent),
            'policy_cpu_percent_max': policy.cpu_percent_max,
            'policy_cpu_ms_per_action': policy.cpu_ms_per_step,
            'policy_resident_mb': policy.resident_memory_mb_max,
            'policy_peak_mb': policy.peak_memory_mb,
            'policy_unique_mb': policy.unique_memory_mb_mean,
            'loop_cpu_percent': policy.cpu_percent_mean + simulator.cpu_percent_mean,
            'loop_cpu_percent_max': self.loop_cpu_percent_max,
            'loop_resident_mb': policy.resident_memory_mb_max + simulator.resident_memory_mb_max,
            'first_action_sec': robot.first_action_sec,
            'inference_us_p50': acting.inference_us.p50,
            'inference_us_p99': acting.inference_us.p99,
            'response_us_p50': acting.response_us.p50,
            'response_us_p99': acting.response_us.p99,
            'steps': robot.steps,
            'missed_share': robot.missed_share,
            'safe_share': robot.safe_share,
            'mean_speed_m_per_s': robot.mean_speed_m_per_s,
            'falls': robot.falls,
            'pictures': images,
        }
        plain: dict[str, Any] = json_types(values)
        return plain


@dataclass(frozen=True)
class Side:
    """One policy of a pair, with its runs."""

    model: ChosenModel
    file_bytes: int
    quality_run: RecordedRun
    """In lockstep, over whole episodes."""
    acting: Mapping[str, ActingRun]
    """In real time, by what ran beside: `ALONE`, `LOADED`."""

    @property
    def summary(self) -> EvaluationSummary | None:
        """Return returns, distances and early ends with their intervals; None without episodes."""
        return self.quality_run.robot.summary

    @property
    def returns(self) -> np.ndarray:
        """Return the return of each episode, by seed."""
        return np.array([one.episode_return for one in self.quality_run.robot.counted])

    @property
    def distances_m(self) -> np.ndarray:
        """Return the forward distance of each episode, by seed."""
        return np.array([one.forward_distance_m for one in self.quality_run.robot.counted])

    def notes(self) -> dict[str, list[str]]:
        """Return what the bags' readers noted, by run."""
        runs = (self.quality_run, *(one.run for one in self.acting.values()))
        return {run.bag.parent.name: list(run.metrics.notes) for run in runs}

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
                    'termination_reason': episode.termination_reason,
                }
                for episode in self.quality_run.robot.counted
            ],
            'summary': self.summary.to_dict() if self.summary else None,
            'acting': {name: one.to_mapping() for name, one in self.acting.items()},
            'notes': self.notes(),
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

    @property
    def sides(self) -> dict[str, Side]:
        """Return both sides by their names in tables and plots."""
        return {'full': self.full, 'compressed': self.compressed}

    def cpu_difference(self, condition: str) -> Interval:
        """Return the compressed policy's CPU use minus the full one's, in % of a core."""
        full, compressed = (side.acting[condition].cpu_percent for side in self.sides.values())
        return unpaired_difference(full, compressed)

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

    def rows(self) -> list[tuple[str, ...]]:
        """Return the rows of its table: what it is, full, compressed, how they differ."""
        rows = comparison_rows(self.sides, QUALITY_COLUMNS)
        for condition in self.conditions:
            runs = {name: side.acting[condition] for name, side in self.sides.items()}
            rendered = all(run.images for run in runs.values())
            columns = (*ACTING_COLUMNS, *IMAGE_COLUMNS) if rendered else ACTING_COLUMNS
            named = [replace(column, name=f'{condition}: {column.name}') for column in columns]
            rows += comparison_rows(runs, named)
        return rows


def _early_percent(side: Side) -> float:
    return 100 * side.summary.early_end_share.estimate if side.summary else float('nan')


def _usage(attribute: str, *nodes: str) -> Any:
    return lambda one: sum(getattr(one.run.usage_of(node), attribute) for node in nodes)


_LOOP = ('policy', 'sim')
QUALITY_COLUMNS: tuple[Column[Side], ...] = (
    Column('return, mean', '', lambda one: one.returns.mean(), HIGHER, 1, '', True),
    Column('forward distance, mean', 'm', lambda one: one.distances_m.mean(), HIGHER, 2, '', True),
    Column('episodes ended early', '%', _early_percent, LOWER, 1, '', True),
    Column('model file', 'kB', lambda one: one.file_bytes / 1e3, LOWER, 1),
)
ACTING_COLUMNS: tuple[Column[ActingRun], ...] = (
    Column('policy process, CPU', '% of a core', lambda one: one.cpu_percent.mean(), LOWER, 1),
    Column('policy process, CPU per action', 'ms', _usage('cpu_ms_per_step', 'policy'), LOWER, 2),
    Column('policy and sim, CPU', '% of a core', _usage('cpu_percent_mean', *_LOOP), LOWER, 1),
    Column('policy, resident memory', 'MB', _usage('resident_memory_mb_max', 'policy'), LOWER, 0),
    Column('policy, peak memory', 'MB', _usage('peak_memory_mb', 'policy'), LOWER, 0),
    Column('both, resident memory', 'MB', _usage('resident_memory_mb_max', *_LOOP), LOWER, 0),
    Column('start to first action', 's', lambda one: one.run.robot.first_action_sec, LOWER, 2),
    Column('inference p50', 'us', lambda one: one.run.acting.inference_us.p50, LOWER, 0),
    Column('inference p99', 'us', lambda one: one.run.acting.inference_us.p99, LOWER, 0),
    Column('observation to action p50', 'us', lambda o: o.run.acting.response_us.p50, LOWER, 0),
    Column('observation to action p99', 'us', lambda o: o.run.acting.response_us.p99, LOWER, 0),
    Column(
        'actions missed', '%', lambda one: 100 * one.run.robot.missed_share, LOWER, 2, '', True
    ),
    Column('mean speed', 'm/s', lambda o: o.run.robot.mean_speed_m_per_s, HIGHER, 2, '', True),
)
IMAGE_COLUMNS: tuple[Column[ActingRun], ...] = (
    Column(
        'images later than 1.5 periods',
        '%',
        lambda one: 100 * one.images.late_share.estimate if one.images else float('nan'),
        LOWER,
        2,
        is_difference=True,
    ),
    Column('images', '1/s', lambda o: o.images.rate_hz if o.images else float('nan'), HIGHER, 1),
    Column(
        'image to image p99',
        'ms',
        lambda one: one.images.interval_ms.p99 if one.images else float('nan'),
        LOWER,
        0,
    ),
    Column(
        'image to image, longest',
        'ms',
        lambda one: one.images.interval_ms.max if one.images else float('nan'),
        LOWER,
        0,
    ),
)
