"""What is measured of a policy and of a pair of them, and the columns that the report shows."""

from collections.abc import Mapping
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np

from rl_edge_bringup.models import ChosenModel
from rl_edge_core.results import json_types
from rl_edge_core.statistics import Interval, mean_interval, unpaired_difference
from rl_edge_eval.metrics.series import ImageSmoothness
from rl_edge_eval.output.columns import HIGHER, LOWER, Column, comparison_rows
from rl_edge_experiments.experiment import COMPRESSED, FULL
from rl_edge_experiments.record_run import RecordedRun

ALONE, LOADED = 'alone', 'loaded'
Acting = Mapping[str, Any]
"""What was measured of a run in real time, by its keys in the summary; see `measure`."""


def measure(run: RecordedRun, *, image_period_sec: float) -> Acting:
    """Return what there is to say of a run in real time; an image is due each period."""
    robot, acting = run.robot, run.acting
    policy, simulator = run.usage_of('policy'), run.usage_of('sim')
    return {
        'policy_cpu_percent': mean_interval(policy.reports.cpu_percent),
        'policy_cpu_percent_max': policy.cpu_percent_max,
        'policy_cpu_ms_per_action': policy.cpu_ms_per_step,
        'policy_resident_mb': policy.resident_memory_mb_max,
        'policy_peak_mb': policy.peak_memory_mb,
        'policy_unique_mb': policy.unique_memory_mb_mean,
        'loop_cpu_percent': policy.cpu_percent_mean + simulator.cpu_percent_mean,
        'loop_cpu_percent_max': policy.cpu_percent_max + simulator.cpu_percent_max,
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
        'pictures': ImageSmoothness.of(
            acting.image_times_ns, period_sec=image_period_sec, breaks_ns=acting.breaks_ns
        ),
    }


@dataclass(frozen=True)
class Side:
    """One policy of a pair, with its runs."""

    model: ChosenModel
    file_bytes: int
    quality_run: RecordedRun
    """In lockstep, over whole episodes."""
    runs: Mapping[str, RecordedRun]
    """In real time, by what ran beside: `ALONE`, `LOADED`."""
    acting: Mapping[str, Acting]
    """What was measured of them."""

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
        runs = (self.quality_run, *self.runs.values())
        return {run.bag.parent.name: list(run.metrics.notes) for run in runs}

    def to_mapping(self) -> dict[str, Any]:
        """Return a mapping of JSON types."""
        robot = self.quality_run.robot
        acting = json_types(self.acting)
        for values in acting.values():
            if values['pictures'] is not None:
                values['pictures']['pictures'] = values['pictures'].pop('images')
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
                for episode in robot.counted
            ],
            'summary': robot.summary.to_dict() if robot.summary else None,
            'acting': acting,
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
    def sides(self) -> dict[str, Side]:
        """Return both sides by their names in tables and plots."""
        return {FULL: self.full, COMPRESSED: self.compressed}

    def cpu_differences(self) -> dict[str, Interval]:
        """Return the compressed policy's CPU use minus the full one's, in % of a core.

        By what the policies acted beside.
        """
        reports = {
            condition: [
                side.runs[condition].usage_of('policy').reports.cpu_percent
                for side in self.sides.values()
            ]
            for condition in self.full.runs
        }
        return {condition: unpaired_difference(*both) for condition, both in reports.items()}

    def to_mapping(self) -> dict[str, Any]:
        """Return a mapping of JSON types."""
        return {
            'uncompressed': self.full.to_mapping(),
            'compressed': self.compressed.to_mapping(),
            'float32_file_bytes': self.float_bytes,
            'cpu_percent_difference': json_types(self.cpu_differences()),
        }

    def rows(self) -> list[tuple[str, ...]]:
        """Return the rows of its table: what it is, full, compressed, how they differ."""
        rows = comparison_rows(self.sides, QUALITY_COLUMNS)
        for condition in self.full.runs:
            acting = {name: side.acting[condition] for name, side in self.sides.items()}
            images = {name: values['pictures'] for name, values in acting.items()}
            shown = comparison_rows(acting, ACTING_COLUMNS)
            if all(images.values()):
                shown += comparison_rows(images, IMAGE_COLUMNS)
            rows += [(f'{condition}: {heading}', *cells) for heading, *cells in shown]
        return rows


def _early_percent(side: Side) -> float:
    summary = side.quality_run.robot.summary
    return 100 * summary.early_end_share.estimate if summary else float('nan')


QUALITY_COLUMNS: tuple[Column[Side], ...] = (
    Column('return, mean', '', lambda one: one.returns.mean(), HIGHER, 1, '', True),
    Column('forward distance, mean', 'm', lambda one: one.distances_m.mean(), HIGHER, 2, '', True),
    Column('episodes ended early', '%', _early_percent, LOWER, 1, '', True),
    Column('model file', 'kB', lambda one: one.file_bytes / 1e3, LOWER, 1),
)
ACTING_COLUMNS: tuple[Column[Acting], ...] = (
    Column(
        'policy process, CPU', '% of a core', lambda o: o['policy_cpu_percent'].estimate, LOWER, 1
    ),
    Column(
        'policy process, CPU per action', 'ms', itemgetter('policy_cpu_ms_per_action'), LOWER, 2
    ),
    Column('policy and sim, CPU', '% of a core', itemgetter('loop_cpu_percent'), LOWER, 1),
    Column('policy, resident memory', 'MB', itemgetter('policy_resident_mb'), LOWER, 0),
    Column('policy, peak memory', 'MB', itemgetter('policy_peak_mb'), LOWER, 0),
    Column('both, resident memory', 'MB', itemgetter('loop_resident_mb'), LOWER, 0),
    Column('start to first action', 's', itemgetter('first_action_sec'), LOWER, 2),
    Column('inference p50', 'us', itemgetter('inference_us_p50'), LOWER, 0),
    Column('inference p99', 'us', itemgetter('inference_us_p99'), LOWER, 0),
    Column('response p50', 'us', itemgetter('response_us_p50'), LOWER, 0),
    Column('response p99', 'us', itemgetter('response_us_p99'), LOWER, 0),
    Column('actions missed', '%', lambda one: 100 * one['missed_share'], LOWER, 2, '', True),
    Column('mean speed', 'm/s', itemgetter('mean_speed_m_per_s'), HIGHER, 2, '', True),
)
IMAGE_COLUMNS: tuple[Column[ImageSmoothness], ...] = (
    Column(
        'images later than 1.5 periods',
        '%',
        lambda one: 100 * one.late_share.estimate,
        LOWER,
        2,
        '',
        True,
    ),
    Column('images', '1/s', lambda one: one.rate_hz, HIGHER, 1),
    Column('image to image p99', 'ms', lambda one: one.interval_ms.p99, LOWER, 0),
    Column('image to image, longest', 'ms', lambda one: one.interval_ms.max, LOWER, 0),
)
