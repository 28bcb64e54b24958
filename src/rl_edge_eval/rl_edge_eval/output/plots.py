"""Figures as pictures."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rl_edge_core.files import ensure_folder, write_atomically
from rl_edge_eval.evaluate import BagEvaluation
from rl_edge_eval.figures.bag_figures import BagFigures
from rl_edge_eval.figures.robot_record import NodeRecord, RobotRecord

_MOST_POINTS = 4000
"""A picture is not wider than that: latencies are thinned to the highest of each stretch."""


def write_plots(
    folder: Path, evaluations: Sequence[BagEvaluation], bags: Sequence[BagFigures]
) -> list[Path]:
    """Write the pictures of all bags to ``folder`` and return their paths."""
    import matplotlib

    matplotlib.use('Agg')
    ensure_folder(folder)
    pictures = [
        ('episodes.png', _episodes(bags)),
        ('latency.png', _latency(evaluations)),
        ('resources.png', _resources(evaluations)),
    ]
    return [_save(figure, folder / name) for name, figure in pictures if figure is not None]


def _save(figure: Any, path: Path) -> Path:
    write_atomically(path, lambda target: figure.savefig(target, dpi=110))
    return path


def _canvas(titles: Sequence[tuple[str, str]]) -> tuple[Any, Any]:
    """Return a figure with one axis below the other, with (y label, x label)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.6 * len(titles)), layout='constrained')
    axes = figure.subplots(len(titles), 1, squeeze=False)[:, 0]
    for axis, (y_label, x_label) in zip(axes, titles, strict=True):
        axis.set_ylabel(y_label)
        axis.set_xlabel(x_label)
        axis.grid(alpha=0.3)
    return figure, axes


def _episodes(bags: Sequence[BagFigures]) -> Any:
    robots = [(bag, robot) for bag in bags for robot in bag.robots if robot.episodes]
    if not robots:
        return None
    figure, axes = _canvas([('return', 'episode'), ('forward distance, m', 'episode')])
    for bag, robot in robots:
        label = f'{Path(bag.path).name} {robot.namespace}'
        axes[0].plot([e.episode_return for e in robot.episodes], 'o-', ms=3, label=label)
        axes[1].plot([e.forward_distance_m for e in robot.episodes], 'o-', ms=3, label=label)
    axes[0].legend(fontsize=8)
    return figure


def _latency(evaluations: Sequence[BagEvaluation]) -> Any:
    robots = [item for item in _robots(evaluations) if item[2].sequence.received]
    if not robots:
        return None
    figure, axes = _canvas(
        [('response, us', 'recorded time, s'), ('inference, us', 'recorded time, s')]
    )
    for label, begin_ns, robot in robots:
        episodes = [episode for episode in robot.episodes.values() if episode.steps]
        times = np.concatenate([np.frombuffer(e.times_ns, np.int64) for e in episodes])
        for axis, name in zip(axes, ('response_us', 'inference_us'), strict=True):
            values = np.concatenate(
                [np.frombuffer(getattr(e, name), np.float32) for e in episodes]
            )
            axis.plot(*_thinned((times - begin_ns) * 1e-9, values), lw=0.7, label=label)
            if np.nanmax(values, initial=0.0) > 0:
                axis.set_yscale('log')
    axes[0].legend(fontsize=8)
    return figure


def _resources(evaluations: Sequence[BagEvaluation]) -> Any:
    nodes = [
        (f'{label.split(" ")[0]} {name}', begin_ns, record)
        for label, begin_ns, robot in _robots(evaluations)
        for name, record in sorted(robot.nodes.items())
    ]
    if not nodes:
        return None
    figure, axes = _canvas(
        [('CPU, % of a core', 'recorded time, s'), ('resident memory, MB', 'recorded time, s')]
    )
    for label, begin_ns, record in nodes:
        for axis, name in zip(axes, ('cpu_percent', 'resident_memory_mb'), strict=True):
            axis.plot(_seconds(record, begin_ns), record.values[name], lw=1, label=label)
            axis.set_ylim(bottom=0)
    axes[0].legend(fontsize=8)
    return figure


def _robots(evaluations: Sequence[BagEvaluation]) -> Iterator[tuple[str, int, RobotRecord]]:
    for evaluation in evaluations:
        for namespace, robot in sorted(evaluation.robots.items()):
            label = f'{evaluation.bag.path.name} {namespace}'
            yield label, evaluation.begin_ns, robot


def _seconds(record: NodeRecord, begin_ns: int) -> np.ndarray:
    return (np.frombuffer(record.times_ns, np.int64) - begin_ns) * 1e-9


def _thinned(times: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return at most `_MOST_POINTS` points, the highest of each stretch."""
    width = -(-len(values) // _MOST_POINTS)
    if width <= 1:
        return times, values
    whole = len(values) // width * width
    stretches = np.where(np.isfinite(values[:whole]), values[:whole], -np.inf).reshape(-1, width)
    highest = stretches.argmax(axis=1) + np.arange(len(stretches)) * width
    return times[highest], values[highest]
