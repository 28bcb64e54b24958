"""Metrics as images: episodes, latencies and resources over time."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rl_edge_core.files import ensure_folder, write_atomically
from rl_edge_eval.metrics.run_metrics import RobotMetrics, RunMetrics

_MOST_POINTS = 4000
"""An image is not wider than that: latencies are thinned to the highest of each stretch."""
_TIME = 'recorded time, s'
_RUN_STYLES = ('-', '--', ':', '-.')
_FEW_REPORTS = 5
"""Up to which a curve of one report per second shows them as points."""
_BAG = 'bag'
"""The folder that a run puts its bag into: the run's own says more."""


@dataclass(frozen=True)
class _Curve:
    run: str
    x: np.ndarray
    values: tuple[np.ndarray, ...]
    """For each of the axes below each other."""
    node: str = ''

    @property
    def label(self) -> str:
        return f'{self.run} {self.node}'.strip()


def write_plots(folder: Path, runs: Sequence[RunMetrics]) -> list[Path]:
    """Write the plots of all runs to ``folder`` and return their paths."""
    ensure_folder(folder)
    episodes: list[_Curve] = []
    latency: list[_Curve] = []
    resources: list[_Curve] = []
    one_robot = len({robot.namespace for run in runs for robot in run.robots}) == 1
    for name, run in zip(names_of([run.path for run in runs]), runs, strict=True):
        for robot in run.robots:
            label = name if one_robot else f'{name} {robot.namespace}'
            if robot.episodes:
                returns = np.array([episode.episode_return for episode in robot.episodes])
                distances = np.array([episode.forward_distance_m for episode in robot.episodes])
                episodes.append(_Curve(label, np.arange(len(returns)), (returns, distances)))
            if len(robot.series):
                times = (robot.series.time_ns - run.begin_ns) * 1e-9
                values = (robot.series.response_us, robot.series.inference_us)
                latency.append(_Curve(label, times, values))
            for node in robot.nodes:
                times = (node.reports.time_ns - run.begin_ns) * 1e-9
                values = (node.reports.cpu_percent, node.reports.resident_memory_mb)
                short = node.node.removeprefix(f'{robot.namespace}/')
                resources.append(_Curve(label, times, values, short))
    title = '\n'.join(dict.fromkeys(_what_ran(robot) for run in runs for robot in run.robots))
    plots = (
        ('episodes.png', episodes, 'episode', ('return', 'forward distance, m')),
        ('latency.png', latency, _TIME, ('response, µs', 'inference, µs')),
        ('resources.png', resources, _TIME, ('CPU, % of a core', 'resident memory, MB')),
    )
    return [
        _write_plot(folder / file, curves, title, x_label, y_labels)
        for file, curves, x_label, y_labels in plots
        if curves
    ]


def names_of(paths: Sequence[str]) -> list[str]:
    """Return the end of each bag's path that tells it from the others."""
    runs = [Path(path).resolve() for path in paths]
    runs = [path.parent if path.name == _BAG else path for path in runs]
    for depth in range(1, max(len(path.parts) for path in runs)):
        names = ['/'.join(path.parts[-depth:]) for path in runs]
        if len(set(names)) == len(set(runs)):
            break
    return names


def _what_ran(robot: RobotMetrics) -> str:
    models = dict.fromkeys(policy.model_id for policy in robot.policies if policy.model_id)
    return ', '.join([f'{robot.environment_id} {robot.mode}', *models])


def _write_plot(
    path: Path, curves: Sequence[_Curve], title: str, x_label: str, y_labels: Sequence[str]
) -> Path:
    """Draw curves into one axis below the other, as suits the file, and write it."""
    from matplotlib.figure import Figure

    # A task without a distance has no values of it.
    shown = [
        index
        for index in range(len(y_labels))
        if any(np.isfinite(curve.values[index]).any() for curve in curves)
    ]
    figure = Figure(figsize=(9, 0.6 + 2.6 * max(len(shown), 1)), layout='constrained')
    figure.suptitle(title, fontsize=10)
    for axis, index in zip(figure.subplots(len(shown), 1, squeeze=False).flat, shown, strict=True):
        axis.set(xlabel=x_label, ylabel=y_labels[index])
        axis.grid(alpha=0.3)
        draw = {'episodes': _draw_episodes, 'latency': _draw_latency}.get(path.stem, _draw_usage)
        draw(axis, [(curve, curve.values[index]) for curve in curves])
        # Above the axis: inside, it would lie on curves that end anywhere.
        place = {'loc': 'lower left', 'bbox_to_anchor': (0, 1), 'frameon': False}
        axis.legend(fontsize=8, ncols=-(-len(curves) // 2), **place)
    write_atomically(path, lambda target: figure.savefig(target, dpi=110))
    return path


_Lines = Sequence[tuple[_Curve, np.ndarray]]


def _draw_episodes(axis: Any, lines: _Lines) -> None:
    """Draw a point per episode: they have seeds of their own, and no line leads between them."""
    for curve, y in lines:
        axis.plot(curve.x, y, 'o', ms=4, label=curve.label)
    axis.set_xlim(-0.5, max(len(y) for _, y in lines) - 0.5)
    axis.xaxis.get_major_locator().set_params(integer=True)


def _draw_latency(axis: Any, lines: _Lines) -> None:
    """Draw the latency of each step, on a logarithmic scale, and its median and p99."""
    from matplotlib.ticker import LogFormatter

    if max(np.nanmax(y, initial=0.0) for _, y in lines) > 0:
        axis.set_yscale('log')
        axis.yaxis.set_major_formatter('{x:g}')
        axis.yaxis.set_minor_formatter(LogFormatter())
    for curve, y in lines:
        finite = y[np.isfinite(y)]
        if not finite.size:
            continue
        p50, p99 = np.percentile(finite, [50, 99])
        (points,) = axis.plot(*_thinned(curve.x, y), '.', ms=2, alpha=0.4)
        name = f'{curve.label}: p50 {p50:.0f} (line), p99 {p99:.0f} (dashed)'
        axis.axhline(p50, color=points.get_color(), lw=1.5, label=name)
        axis.axhline(p99, color=points.get_color(), lw=1.5, ls='--')


def _draw_usage(axis: Any, lines: _Lines) -> None:
    """Draw what nodes used: a colour for each node, a kind of line for each run."""
    runs = list(dict.fromkeys(curve.run for curve, _ in lines))
    nodes = list(dict.fromkeys(curve.node for curve, _ in lines))
    for curve, y in lines:
        style = {
            'color': f'C{nodes.index(curve.node)}',
            'ls': _RUN_STYLES[runs.index(curve.run) % len(_RUN_STYLES)],
            'marker': 'o' if len(y) <= _FEW_REPORTS else '',
        }
        axis.plot(curve.x, y, ms=4, label=curve.label, **style)
    # After all curves: a limit that is set ends the fit to what is drawn later.
    axis.set_ylim(0, 1.08 * max(np.nanmax(y, initial=0.0) for _, y in lines) or 1.0)


def _thinned(times: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return at most `_MOST_POINTS` points, the highest of each stretch."""
    width = -(-len(values) // _MOST_POINTS)
    if width <= 1:
        return times, values
    whole = len(values) // width * width
    stretches = np.where(np.isfinite(values[:whole]), values[:whole], -np.inf).reshape(-1, width)
    highest = stretches.argmax(axis=1) + np.arange(len(stretches)) * width
    return times[highest], values[highest]
