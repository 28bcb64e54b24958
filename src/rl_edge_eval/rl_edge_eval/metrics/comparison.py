"""Bags side by side: how far each is from the first, with 95 % intervals."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rl_edge_core.statistics import Interval, difference_interval, unpaired_difference
from rl_edge_eval.metrics.run_metrics import EpisodeMetrics, NodeMetrics, RobotMetrics, RunMetrics

PAIRED, UNPAIRED = 'paired by seed', 'unpaired'

_EPISODE_METRICS: dict[str, Callable[[EpisodeMetrics], float]] = {
    'return': lambda episode: episode.episode_return,
    'forward distance, m': lambda episode: episode.forward_distance_m,
    'mean speed, m/s': lambda episode: episode.mean_speed_m_per_s,
    'length, steps': lambda episode: episode.length,
    'fell, share': lambda episode: float(episode.ended_by == 'termination'),
    'response p50, us': lambda episode: episode.response_us.p50,
    'response p99, us': lambda episode: episode.response_us.p99,
    'inference p50, us': lambda episode: episode.inference_us.p50,
    'inference p99, us': lambda episode: episode.inference_us.p99,
    'steps/s': lambda episode: episode.steps_per_sec,
}
_NODE_METRICS: dict[str, Callable[[NodeMetrics], float]] = {
    'CPU, %': lambda node: node.cpu_percent_mean,
    'CPU per step, ms': lambda node: node.cpu_ms_per_step,
    'resident, MB': lambda node: node.resident_memory_mb_mean,
    'peak, MB': lambda node: node.peak_memory_mb,
    'unique, MB': lambda node: node.unique_memory_mb_mean,
}


@dataclass(frozen=True)
class ComparedMetric:
    """One metric of two robots."""

    name: str
    baseline: float
    """Mean over the episodes that count, or the node's value."""
    other: float
    difference: Interval | None
    """Other minus baseline; None where there is a single value, as for a node's memory."""
    method: str
    """How the interval was made; empty without one."""


@dataclass(frozen=True)
class Comparison:
    """One robot of one bag against the robot of the first bag."""

    baseline: str
    other: str
    metrics: tuple[ComparedMetric, ...]


def compare(bags: Sequence[RunMetrics]) -> tuple[Comparison, ...]:
    """Compare each robot with the one of the same namespace in the first bag.

    A bag with a single robot is compared whatever its namespace. Robots without a counterpart
    are left out.
    """
    first, *others = bags
    pairs = [
        (bag, robot, _counterpart(robot, first, bag)) for bag in others for robot in bag.robots
    ]
    return tuple(
        Comparison(
            baseline=f'{first.path} {baseline.namespace}',
            other=f'{bag.path} {robot.namespace}',
            metrics=(*_episodes(baseline, robot), *_nodes(baseline, robot)),
        )
        for bag, robot, baseline in pairs
        if baseline is not None
    )


def _counterpart(robot: RobotMetrics, first: RunMetrics, bag: RunMetrics) -> RobotMetrics | None:
    if len(first.robots) == len(bag.robots) == 1:
        return first.robots[0]
    return next((one for one in first.robots if one.namespace == robot.namespace), None)


def _episodes(baseline: RobotMetrics, other: RobotMetrics) -> list[ComparedMetric]:
    left, right = baseline.counted, other.counted
    if not left or not right:
        return []
    # In the order of their seeds they are pairs where both ran the same seeds, each once.
    seeds = [episode.seed for episode in left]
    is_paired = (
        None not in seeds
        and len(set(seeds)) == len(seeds)
        and seeds == [episode.seed for episode in right]
    )
    compared = []
    for name, value_of in _EPISODE_METRICS.items():
        values = (np.array([value_of(e) for e in side], float) for side in (left, right))
        compared.append(_compared(name, *values, is_paired=is_paired))
    return compared


def _compared(
    name: str, baseline: np.ndarray, other: np.ndarray, *, is_paired: bool
) -> ComparedMetric:
    is_whole = bool(np.isfinite(baseline).all() and np.isfinite(other).all())
    baseline, other = baseline[np.isfinite(baseline)], other[np.isfinite(other)]
    if not baseline.size or not other.size:
        return ComparedMetric(name, float('nan'), float('nan'), None, '')
    if is_paired and is_whole:
        interval, method = difference_interval(other, baseline), PAIRED
    else:
        interval, method = unpaired_difference(baseline, other), UNPAIRED
    return ComparedMetric(name, float(baseline.mean()), float(other.mean()), interval, method)


def _nodes(baseline: RobotMetrics, other: RobotMetrics) -> list[ComparedMetric]:
    by_name = {_short(node.node): node for node in other.nodes}
    return [
        ComparedMetric(f'{name}: {what}', value_of(node), value_of(by_name[name]), None, '')
        for node in baseline.nodes
        if (name := _short(node.node)) in by_name
        for what, value_of in _NODE_METRICS.items()
    ]


def _short(node: str) -> str:
    return node.rpartition('/')[2]
