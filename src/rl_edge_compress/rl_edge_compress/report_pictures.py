"""The report's pictures: return kept against bytes and against time, and error by joint."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rl_edge_compress.select_recipe import KEPT_LEAST, RecipeReport
from rl_edge_core.files import write_atomically
from rl_edge_core.statistics import Interval

Cost = Callable[[RecipeReport], float]


def write_pictures(reports: Sequence[RecipeReport], folder: Path, *, runtime: str) -> list[Path]:
    """Write the pictures into ``folder`` and return their paths."""
    compressed = [report for report in reports if report.recipe != 'keras']
    pictures = {
        'pareto_bytes.png': pareto(compressed, lambda r: r.bytes / 1000, 'file in kB'),
        'pareto_time.png': pareto(
            compressed, lambda r: r.p50_us(runtime), f'time of one action in us, {runtime}, p50'
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
    axes.set(xscale='log', xlabel=label, ylabel=f'{what}, 95 % interval')
    axes.plot([], [], 'o', color='C0', label='on fresh seeds')
    axes.plot([], [], 'o', color='C0', fillstyle='none', label='on the seeds of the choice')
    axes.legend(loc='lower right')
    axes.grid(alpha=0.3)
    return figure


def _point(axes: Axes, report: RecipeReport, cost: float, kept: Interval) -> None:
    axes.errorbar(
        cost,
        kept.estimate,
        [[kept.estimate - kept.low], [kept.high - kept.estimate]],
        fmt='o',
        color='C0',
        fillstyle='full' if report.confirmed else 'none',
        capsize=3,
    )
    axes.annotate(
        report.recipe, (cost, kept.estimate), xytext=(5, 4), textcoords='offset points', fontsize=8
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
        figsize=(1.5 + 0.9 * len(joints), 1 + 0.35 * len(reports)), layout='constrained'
    )
    axes = figure.add_subplot()
    image = axes.imshow(values, cmap='viridis', aspect='auto')
    axes.set_xticks(range(len(joints)), joints, rotation=45, ha='right')
    axes.set_yticks(range(len(reports)), [report.recipe for report in reports])
    for (row, column), value in np.ndenumerate(values):
        axes.text(column, row, f'{value:.3f}', ha='center', va='center', color='w', fontsize=7)
    figure.colorbar(image, label='action RMSE against the full actor')
    return figure
