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
    'ended early, share': lambda episode: float(episode.ended_by == 'termination'),
}
_TIMES: dict[str, Callable[[EpisodeMetrics], float]] = {
    'response p50, mean over episodes, us': lambda episode: episode.response_us.p50,
    'response p99, mean over episodes, us': lambda episode: episode.response_us.p99,
    'inference p50, mean over episodes, us': lambda episode: episode.inference_us.p50,
    'inference p99, mean over episodes, us': lambda episode: episode.inference_us.p99,
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
    """How the interval was made; empty without one, as of a single episode."""


@dataclass(frozen=True)
class Comparison:
    """One robot of one bag against the robot of the first bag."""

    baseline: str
    other: str
    bags: tuple[str, str]
    """Paths of the two bags."""
    metrics: tuple[ComparedMetric, ...]
    note: str = ''
    """What else differs, of which the metrics tell."""


def compare(bags: Sequence[RunMetrics]) -> tuple[Comparison, ...]:
    """Compare each robot with the one of the same namespace in the first bag.

    A bag with a single robot is compared whatever its namespace. Robots without a counterpart
    are left out.
    """
    first, *others = bags
    return tuple(
        Comparison(
            baseline=f'{first.path} {baseline.namespace}',
            other=f'{bag.path} {robot.namespace}',
            bags=(first.path, bag.path),
            metrics=(*_episodes(baseline, robot), *_nodes(baseline, robot)),
            note=f'{robot.mode} against {baseline.mode}: times, rates and CPU differ by that alone'
            if robot.mode != baseline.mode
            else '',
        )
        for bag in others
        for robot in bag.robots
        for baseline in first.robots
        if baseline.namespace == robot.namespace or len(first.robots) == len(bag.robots) == 1
    )


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
    for name, value_of in (_EPISODE_METRICS | _TIMES).items():
        first, second = (np.array([value_of(e) for e in side], float) for side in (left, right))
        finite = [values[np.isfinite(values)] for values in (first, second)]
        if not all(values.size for values in finite):
            compared.append(ComparedMetric(name, float('nan'), float('nan'), None, ''))
            continue
        # A seed decides on what happens in an episode, not on what a computer takes for it.
        has_pairs = is_paired and name not in _TIMES
        if has_pairs and all(values.size == len(left) for values in finite):
            interval, method = difference_interval(second, first), PAIRED
        else:
            interval, method = unpaired_difference(*finite), UNPAIRED
        if min(values.size for values in finite) == 1:
            method = ''
        before, after = (float(values.mean()) for values in finite)
        compared.append(ComparedMetric(name, before, after, interval, method))
    return compared


def _nodes(baseline: RobotMetrics, other: RobotMetrics) -> list[ComparedMetric]:
    nodes = {node.node.rpartition('/')[2]: node for node in baseline.nodes}
    others = {node.node.rpartition('/')[2]: node for node in other.nodes}
    return [
        ComparedMetric(f'{name}: {what}', value_of(node), value_of(others[name]), None, '')
        for name, node in nodes.items()
        if name in others
        for what, value_of in _NODE_METRICS.items()
    ]
