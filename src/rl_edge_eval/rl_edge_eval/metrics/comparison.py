"""Bags side by side: how far each is from the first, with 95 % intervals."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rl_edge_core.statistics import RESAMPLES, Interval, difference_interval
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
    'CPU a step, ms': lambda node: node.cpu_ms_per_step,
    'resident, MB': lambda node: node.resident_memory_mb_mean,
    'peak, MB': lambda node: node.peak_memory_mb,
    'unique, MB': lambda node: node.unique_memory_mb_mean,
}


@dataclass(frozen=True)
class ComparedMetric:
    """One figure of two robots."""

    name: str
    baseline: float
    """Mean over the episodes that count, or the node's figure."""
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
    figures: tuple[ComparedMetric, ...]


def compare(bags: Sequence[RunMetrics]) -> tuple[Comparison, ...]:
    """Compare each robot with the one of the same namespace in the first bag.

    A bag with a single robot is compared whatever its namespace. Robots without a counterpart
    are left out.
    """
    first, *others = bags
    comparisons = []
    for bag in others:
        for robot in bag.robots:
            baseline = _counterpart(robot, first, bag)
            if baseline is not None:
                comparisons.append(
                    Comparison(
                        baseline=f'{first.path} {baseline.namespace}',
                        other=f'{bag.path} {robot.namespace}',
                        figures=(*_episodes(baseline, robot), *_nodes(baseline, robot)),
                    )
                )
    return tuple(comparisons)


def unpaired_difference(baseline: np.ndarray, other: np.ndarray, *, seed: int = 0) -> Interval:
    """Return the mean of ``other`` minus that of ``baseline``, shapes (n,) and (m,).

    Percentile bootstrap of both samples (Efron & Tibshirani 1993, ch. 16).
    """
    generator = np.random.default_rng(seed)
    means = [
        sample[generator.integers(len(sample), size=(RESAMPLES, len(sample)))].mean(axis=1)
        for sample in (other, baseline)
    ]
    low, high = np.quantile(means[0] - means[1], [0.025, 0.975])
    return Interval(
        float(other.mean() - baseline.mean()), float(low), float(high), len(baseline) + len(other)
    )


def _counterpart(robot: RobotMetrics, first: RunMetrics, bag: RunMetrics) -> RobotMetrics | None:
    if len(first.robots) == len(bag.robots) == 1:
        return first.robots[0]
    return next((one for one in first.robots if one.namespace == robot.namespace), None)


def _episodes(baseline: RobotMetrics, other: RobotMetrics) -> list[ComparedMetric]:
    left = [episode for episode in baseline.episodes if episode.counts]
    right = [episode for episode in other.episodes if episode.counts]
    if not left or not right:
        return []
    pairs = _pairs_by_seed(left, right)
    return [
        _compared(name, figure, left=left, right=right, pairs=pairs)
        for name, figure in _EPISODE_METRICS.items()
    ]


def _pairs_by_seed(
    left: list[EpisodeMetrics], right: list[EpisodeMetrics]
) -> list[tuple[EpisodeMetrics, EpisodeMetrics]]:
    """Pair episodes when both sides ran exactly the same seeds, each once."""
    by_seed = {episode.seed: episode for episode in right}
    seeds = [episode.seed for episode in left]
    usable = None not in seeds and len(set(seeds)) == len(seeds) == len(right)
    if not usable or set(seeds) != set(by_seed):
        return []
    return [(episode, by_seed[episode.seed]) for episode in left]


def _compared(
    name: str,
    figure: Callable[[EpisodeMetrics], float],
    *,
    left: list[EpisodeMetrics],
    right: list[EpisodeMetrics],
    pairs: list[tuple[EpisodeMetrics, EpisodeMetrics]],
) -> ComparedMetric:
    baseline, other = _finite(figure, left), _finite(figure, right)
    if not baseline.size or not other.size:
        return ComparedMetric(name, float('nan'), float('nan'), None, '')
    if pairs and baseline.size == len(left) and other.size == len(right):
        interval = difference_interval(
            [figure(b) for _, b in pairs], [figure(a) for a, _ in pairs]
        )
        method = PAIRED
    else:
        interval, method = unpaired_difference(baseline, other), UNPAIRED
    return ComparedMetric(name, float(baseline.mean()), float(other.mean()), interval, method)


def _finite(
    figure: Callable[[EpisodeMetrics], float], episodes: list[EpisodeMetrics]
) -> np.ndarray:
    values = np.array([figure(episode) for episode in episodes], np.float64)
    return values[np.isfinite(values)]


def _nodes(baseline: RobotMetrics, other: RobotMetrics) -> list[ComparedMetric]:
    figures = []
    by_name = {_short(node.node): node for node in other.nodes}
    for node in baseline.nodes:
        name = _short(node.node)
        if name in by_name:
            figures += [
                ComparedMetric(f'{name}: {what}', figure(node), figure(by_name[name]), None, '')
                for what, figure in _NODE_METRICS.items()
            ]
    return figures


def _short(node: str) -> str:
    return node.rpartition('/')[2]
