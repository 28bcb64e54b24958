"""What a sweep came to: a row per setting, over its seeds, and the curves."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rl_edge_core.files import write_atomically
from rl_edge_core.statistics import mean_interval
from rl_edge_core.wording import counted
from rl_edge_train.metrics import CsvLog
from rl_edge_train.sweep_trial import Trial, evaluations

_CURVES = 'curves.png'


def summarize(trials: Sequence[Trial], out: Path) -> None:
    """Print and write a row per setting, and draw the curves."""
    groups: dict[str, list[list[tuple[int, float]]]] = {}
    for trial in trials:
        groups.setdefault(trial.setting, []).append(evaluations(Path(trial.folder)))
    groups = {
        setting: evaluated
        for setting, curves in groups.items()
        if (evaluated := [curve for curve in curves if curve])
    }
    if not groups:
        print('no trial has been evaluated yet')
        return
    table = CsvLog(out / 'sweep.csv')
    table.path.unlink(missing_ok=True)
    print(f'\n{"setting":40s} {"seeds":>5s} {"best return":>22s} {"last return":>22s}')
    for setting, curves in groups.items():
        best = mean_interval([max(value for _, value in curve) for curve in curves])
        last = mean_interval([curve[-1][1] for curve in curves])
        print(f'{setting:40s} {len(curves):5d} {best!s:>22s} {last!s:>22s}')
        steps = max(curve[-1][0] for curve in curves)
        row: dict[str, Any] = {'setting': setting, 'seeds': len(curves), 'steps': steps}
        for name, interval in (('best', best), ('last', last)):
            row |= {f'{name}_{key}': value for key, value in interval.to_dict().items()}
        table.append(row)
    write_atomically(out / _CURVES, lambda path: _draw(groups, path))
    print(f'\n{out / "sweep.csv"}, {out / _CURVES}')


def _draw(groups: dict[str, list[list[tuple[int, float]]]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), dpi=100, layout='constrained')
    axes = figure.subplots()
    lines = itertools.cycle(('-', '--', '-.', ':'))  # so that equal curves can be told apart
    has_intervals = False
    for (setting, curves), style in zip(groups.items(), lines, strict=False):
        steps = sorted({at for curve in curves for at, _ in curve})
        values = [[dict(curve)[at] for curve in curves if at in dict(curve)] for at in steps]
        line = axes.plot(
            steps,
            [np.mean(at) for at in values],
            style,
            marker='.',
            label=f'{setting} ({counted(len(curves), "seed")})',
        )[0]
        if len(curves) > 2:  # of two, an interval says next to nothing
            has_intervals = True
            bounds = [mean_interval(at) for at in values]
            axes.fill_between(
                steps,
                [bound.low for bound in bounds],
                [bound.high for bound in bounds],
                color=line.get_color(),
                alpha=0.2,
                linewidth=0,
            )
    axes.set_xlabel('environment steps')
    axes.set_ylabel('return of evaluations' + ', with 95 % intervals' * has_intervals)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path)
