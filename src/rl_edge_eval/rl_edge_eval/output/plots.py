"""Metrics as images: episodes, latencies and resources over time."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rl_edge_core.files import ensure_folder, write_atomically
from rl_edge_eval.metrics.run_metrics import RobotMetrics, RunMetrics

_MOST_POINTS = 4000
"""An image is not wider than that: latencies are thinned to the highest of each stretch."""


def write_plots(folder: Path, runs: Sequence[RunMetrics]) -> list[Path]:
    """Write the plots of all runs to ``folder`` and return their paths."""
    import matplotlib

    matplotlib.use('Agg')
    ensure_folder(folder)
    robots = [
        (f'{Path(run.path).name} {robot.namespace}', run.begin_ns, robot)
        for run in runs
        for robot in run.robots
    ]
    figures = [
        ('episodes.png', _episodes(robots)),
        ('latency.png', _latency(robots)),
        ('resources.png', _resources(robots)),
    ]
    return [_save(figure, folder / name) for name, figure in figures if figure is not None]


_Robots = Sequence[tuple[str, int, RobotMetrics]]


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


def _episodes(robots: _Robots) -> Any:
    shown = [(label, robot.episodes) for label, _, robot in robots if robot.episodes]
    if not shown:
        return None
    figure, axes = _canvas([('return', 'episode'), ('forward distance, m', 'episode')])
    for label, episodes in shown:
        axes[0].plot([e.episode_return for e in episodes], 'o-', ms=3, label=label)
        axes[1].plot([e.forward_distance_m for e in episodes], 'o-', ms=3, label=label)
    axes[0].legend(fontsize=8)
    return figure


def _latency(robots: _Robots) -> Any:
    shown = [item for item in robots if len(item[2].series)]
    if not shown:
        return None
    figure, axes = _canvas(
        [('response, us', 'recorded time, s'), ('inference, us', 'recorded time, s')]
    )
    for label, begin_ns, robot in shown:
        times = (robot.series.time_ns - begin_ns) * 1e-9
        for axis, values in zip(
            axes, (robot.series.response_us, robot.series.inference_us), strict=True
        ):
            axis.plot(*_thinned(times, values), lw=0.7, label=label)
            if np.nanmax(values, initial=0.0) > 0:
                axis.set_yscale('log')
    axes[0].legend(fontsize=8)
    return figure


def _resources(robots: _Robots) -> Any:
    nodes = [
        (f'{label.split(" ")[0]} {node.node}', begin_ns, node.reports)
        for label, begin_ns, robot in robots
        for node in robot.nodes
    ]
    if not nodes:
        return None
    figure, axes = _canvas(
        [('CPU, % of a core', 'recorded time, s'), ('resident memory, MB', 'recorded time, s')]
    )
    for label, begin_ns, reports in nodes:
        times = (reports.time_ns - begin_ns) * 1e-9
        for axis, values in zip(
            axes, (reports.cpu_percent, reports.resident_memory_mb), strict=True
        ):
            axis.plot(times, values, lw=1, label=label)
            axis.set_ylim(bottom=0)
    axes[0].legend(fontsize=8)
    return figure


def _thinned(times: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return at most `_MOST_POINTS` points, the highest of each stretch."""
    width = -(-len(values) // _MOST_POINTS)
    if width <= 1:
        return times, values
    whole = len(values) // width * width
    stretches = np.where(np.isfinite(values[:whole]), values[:whole], -np.inf).reshape(-1, width)
    highest = stretches.argmax(axis=1) + np.arange(len(stretches)) * width
    return times[highest], values[highest]
