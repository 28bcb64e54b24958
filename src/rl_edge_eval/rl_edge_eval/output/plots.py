"""Metrics as images: episodes, latencies and resources over time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rl_edge_core.files import ensure_folder, write_atomically
from rl_edge_eval.metrics.run_metrics import RunMetrics

_MOST_POINTS = 4000
"""An image is not wider than that: latencies are thinned to the highest of each stretch."""
_TIME = 'recorded time, s'
_Curve = tuple[str, np.ndarray, tuple[np.ndarray, ...]]
"""Label, x, and y for each of the axes below each other."""


def write_plots(folder: Path, runs: Sequence[RunMetrics]) -> list[Path]:
    """Write the plots of all runs to ``folder`` and return their paths."""
    ensure_folder(folder)
    episodes: list[_Curve] = []
    latency: list[_Curve] = []
    resources: list[_Curve] = []
    for run in runs:
        for robot in run.robots:
            name = Path(run.path).name
            label = f'{name} {robot.namespace}'
            if robot.episodes:
                returns = np.array([episode.episode_return for episode in robot.episodes])
                distances = np.array([episode.forward_distance_m for episode in robot.episodes])
                episodes.append((label, np.arange(len(returns)), (returns, distances)))
            if len(robot.series):
                times = (robot.series.time_ns - run.begin_ns) * 1e-9
                values = (robot.series.response_us, robot.series.inference_us)
                latency.append((label, times, values))
            for node in robot.nodes:
                times = (node.reports.time_ns - run.begin_ns) * 1e-9
                values = (node.reports.cpu_percent, node.reports.resident_memory_mb)
                resources.append((f'{name} {node.node}', times, values))
    plots = (
        ('episodes.png', episodes, 'episode', ('return', 'forward distance, m')),
        ('latency.png', latency, _TIME, ('response, us', 'inference, us')),
        ('resources.png', resources, _TIME, ('CPU, % of a core', 'resident memory, MB')),
    )
    return [
        _write_plot(folder / file, curves, x_label, y_labels)
        for file, curves, x_label, y_labels in plots
        if curves
    ]


def _write_plot(
    path: Path, curves: Sequence[_Curve], x_label: str, y_labels: tuple[str, ...]
) -> Path:
    """Draw curves into one axis below the other, as suits the file, and write it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.6 * len(y_labels)), layout='constrained')
    axes: Any = figure.subplots(len(y_labels), 1)
    for index, (axis, y_label) in enumerate(zip(axes, y_labels, strict=True)):
        axis.set(xlabel=x_label, ylabel=y_label)
        axis.grid(alpha=0.3)
        for label, x, values in curves:
            y = values[index]
            if path.stem == 'episodes':
                axis.plot(x, y, 'o-', ms=3, label=label)
            elif path.stem == 'latency':
                axis.plot(*_thinned(x, y), lw=0.7, label=label)
                if np.nanmax(y, initial=0.0) > 0:
                    axis.set_yscale('log')
            else:
                axis.plot(x, y, lw=1, label=label)
                axis.set_ylim(bottom=0)
    axes[0].legend(fontsize=8)
    write_atomically(path, lambda target: figure.savefig(target, dpi=110))
    return path


def _thinned(times: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return at most `_MOST_POINTS` points, the highest of each stretch."""
    width = -(-len(values) // _MOST_POINTS)
    if width <= 1:
        return times, values
    whole = len(values) // width * width
    stretches = np.where(np.isfinite(values[:whole]), values[:whole], -np.inf).reshape(-1, width)
    highest = stretches.argmax(axis=1) + np.arange(len(stretches)) * width
    return times[highest], values[highest]
