"""The report's pictures: return kept against bytes and against time, and error by joint."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import LogLocator, NullFormatter
from matplotlib.transforms import Bbox

from rl_edge_compress.select_recipe import KEPT_LEAST, RecipeReport
from rl_edge_core.files import write_atomically
from rl_edge_core.statistics import Interval

Cost = Callable[[RecipeReport], float]
_PLACES = [
    (side * (5 + far / 2), far * up)
    for far in (7, 0, 14, 22, 32, 44, 58)
    for up in (1, -1)
    for side in (1, -1)
]
"""Of a name beside its point, in points of a letter, the nearest first."""


def write_pictures(reports: Sequence[RecipeReport], folder: Path, *, runtime: str) -> list[Path]:
    """Write the pictures into ``folder`` and return their paths."""
    compressed = [report for report in reports if report.recipe != 'keras']
    pictures = {
        'pareto_bytes.png': pareto(compressed, lambda r: r.bytes / 1000, 'file in kB'),
        'pareto_time.png': pareto(
            compressed, lambda r: r.p50_us(runtime), f'time of one action in µs, {runtime}, p50'
        ),
        'action_error.png': error_by_joint(compressed),
    }
    for name, figure in pictures.items():
        write_atomically(folder / name, partial(figure.savefig, dpi=150))
    return [folder / name for name in pictures]


def pareto(reports: Sequence[RecipeReport], cost: Cost, label: str) -> Figure:
    """Draw the return kept, with its 95 % interval, against a cost; the front is joined.

    Where the full policy's return is about 0, of which nothing can be a share, the difference
    from it is drawn.
    """
    figure = Figure(figsize=(9, 6), layout='constrained')
    axes = figure.add_subplot()
    shown = [report for report in reports if np.isfinite(cost(report))]
    returns = [report.best_known.return_kept for report in shown]
    are_shares = not any(math.isnan(kept.estimate) for kept in returns)
    if not are_shares:
        returns = [report.best_known.return_difference for report in shown]
    for report, value in zip(shown, returns, strict=True):
        _point(axes, report, cost(report), value)
    front = pareto_front(
        [(cost(report), value.estimate) for report, value in zip(shown, returns, strict=True)]
    )
    if front:
        axes.step(*zip(*front, strict=True), where='post', color='0.7', zorder=0)
    if are_shares:
        axes.axhline(KEPT_LEAST, color='0.5', ls=':', label=f'{KEPT_LEAST:.0%} of the return')
        what = 'return kept (1 = full policy)'
    else:
        what = 'return minus that of the full policy'
    axes.set(xlabel=label, ylabel=f'{what}, 95 % interval')
    axes.plot([], [], 'o', color='C0', label='on fresh seeds')
    axes.plot([], [], 'o', color='C0', fillstyle='none', label='on the seeds of the choice')
    axes.legend(loc='lower right')
    axes.grid(alpha=0.3)
    costs = [cost(report) for report in shown]
    if costs and max(costs) > 5 * min(costs):
        axes.set_xscale('log')
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter('{x:g}')
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.12, y=0.1)
    _write_names(
        figure,
        axes,
        {r.recipe: (cost(r), v.estimate) for r, v in zip(shown, returns, strict=True)},
    )
    return figure


def _write_names(figure: Figure, axes: Axes, points: Mapping[str, tuple[float, float]]) -> None:
    """Write each name beside its point, where it lies inside the axes and on nothing else."""
    FigureCanvasAgg(figure).draw()
    frame, scale = axes.get_window_extent(), figure.dpi / 72
    spots = {name: axes.transData.transform(point) for name, point in points.items()}
    taken = [Bbox([spot - 4 * scale, spot + 4 * scale]) for spot in spots.values()]
    if (legend := axes.get_legend()) is not None:
        taken.append(legend.get_window_extent())
    for name, (x, y) in sorted(spots.items(), key=lambda item: tuple(item[1])):
        text = axes.annotate(
            name,
            points[name],
            xytext=(0, 0),
            textcoords='offset points',
            va='center',
            fontsize=8,
            in_layout=False,
            arrowprops={'arrowstyle': '-', 'color': '0.7', 'lw': 0.5, 'shrinkA': 0, 'shrinkB': 3},
        )
        size = Text.get_window_extent(text)
        boxes = [
            Bbox.from_bounds(
                x + dx * scale - (size.width if dx < 0 else 0),
                y + dy * scale - size.height / 2,
                size.width,
                size.height,
            )
            for dx, dy in _PLACES
        ]
        covered = [
            sum(_shared_area(box, other) for other in taken)
            + 10 * (size.width * size.height - _shared_area(box, frame))
            for box in boxes
        ]
        best = int(np.argmin(np.round(covered)))
        text.set(position=_PLACES[best], ha='right' if _PLACES[best][0] < 0 else 'left')
        taken.append(boxes[best])


def _shared_area(one: Bbox, other: Bbox) -> float:
    shared = Bbox.intersection(one, other)
    return shared.width * shared.height if shared is not None else 0.0


def _point(axes: Axes, report: RecipeReport, cost: float, kept: Interval) -> None:
    axes.errorbar(
        cost,
        kept.estimate,
        # Of equal pairs the bounds are the estimate, but for rounding.
        np.maximum([[kept.estimate - kept.low], [kept.high - kept.estimate]], 0.0),
        fmt='o',
        color='C0',
        fillstyle='full' if report.confirmed else 'none',
        capsize=3,
    )


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the (cost, value) points that no cheaper one equals or exceeds, by rising cost."""
    front: list[tuple[float, float]] = []
    for cost, value in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or value > front[-1][1]:
            front.append((cost, value))
    return front


def error_by_joint(reports: Sequence[RecipeReport]) -> Figure:
    """Draw the RMSE of each action against the full actor, a row per recipe."""
    joints = list(reports[0].action_rmse_of_joint)
    values = np.array([list(report.action_rmse_of_joint.values()) for report in reports])
    figure = Figure(
        figsize=(4.5 + 0.9 * len(joints), 2 + 0.35 * len(reports)), layout='constrained'
    )
    axes = figure.add_subplot()
    image = axes.imshow(values, cmap='viridis', aspect='auto')
    axes.set_xticks(range(len(joints)), joints, rotation=45, ha='right')
    axes.set_yticks(range(len(reports)), [report.recipe for report in reports])
    for (row, column), value in np.ndenumerate(values):
        # The upper end of the colours is yellow, on which white is not read.
        color = 'k' if value > 0.6 * values.max() else 'w'
        axes.text(column, row, f'{value:.3f}', ha='center', va='center', color=color, fontsize=7)
    figure.colorbar(image, label='action RMSE against the full actor')
    return figure
