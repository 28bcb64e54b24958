"""The plot of the demo: returns seed by seed, latencies, and what the policy used."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rl_edge_core.files import write_atomically
from rl_edge_experiments.experiment import COMPRESSED, FULL
from rl_edge_experiments.record_run import RecordedRun

COLORS = {FULL: '#5b7ba8', COMPRESSED: '#e08e45'}
MARKERS = {FULL: 'o', COMPRESSED: 'D'}
_DOTS_PER_INCH = 110


def write_plot(path: Path, runs: Mapping[str, RecordedRun], *, note: str) -> None:
    """Draw the runs of both configurations and write the image atomically."""
    figure = Figure(figsize=(11, 6.5), layout='constrained')
    axes = figure.subplots(2, 3).ravel()
    draw_returns(axes[0], runs)
    inference, response = (
        {name: getattr(run.robot.series, f'{what}_us') for name, run in runs.items()}
        for what in ('inference', 'response')
    )
    draw_distribution(axes[1], 'inference (µs)', inference)
    draw_distribution(axes[2], 'response (µs)', response)
    bars: dict[str, Callable[[RecordedRun], float]] = {
        'policy process, peak memory (MB)': lambda run: run.robot.node('policy').peak_memory_mb,
        'policy process, CPU per action (ms)': (
            lambda run: run.acting.node('policy').cpu_ms_per_step
        ),
        'start to first action (s)': lambda run: run.robot.first_action_sec,
    }
    for one, (title, value_of) in zip(axes[3:], bars.items(), strict=True):
        values = [value_of(run) for run in runs.values()]
        drawn = one.bar(list(runs), values, color=[COLORS[name] for name in runs])
        one.bar_label(drawn, fmt='%.3g', padding=2)
        one.margins(y=0.15)
        one.set(title=title, xlim=(-0.6, len(values) - 0.4))
        one.set_ylim(bottom=0)
        one.spines[['top', 'right']].set_visible(False)
    title = 'Keras actor-critic and compressed TFLite actor, the same seeds'
    figure.suptitle(f'{title}\n{note}' if note else title)
    write_atomically(path, lambda file: figure.savefig(file, dpi=_DOTS_PER_INCH))


def draw_returns(axes: Axes, runs: Mapping[str, RecordedRun]) -> None:
    """Draw the return of each seed; a line joins the runs of one seed, a cross is an early end."""
    by_seed: dict[int, list[float]] = {}
    early: list[tuple[int, float]] = []
    for name, run in runs.items():
        results = [episode.result for episode in run.robot.counted]
        seeds, returns = [one.seed for one in results], [one.episode_return for one in results]
        for seed, value in zip(seeds, returns, strict=True):
            by_seed.setdefault(seed, []).append(value)
        early += [(one.seed, one.episode_return) for one in results if one.ended_early]
        axes.plot(seeds, returns, MARKERS[name], color=COLORS[name], label=name, zorder=3)
    for seed, returns in by_seed.items():
        axes.plot([seed, seed], [min(returns), max(returns)], color='#999999', lw=1, zorder=1)
    if early:
        axes.plot(
            *zip(*early, strict=True), 'x', color='black', ms=9, label='ended early', zorder=4
        )
    axes.set(title='return by seed', xlabel='seed', ylabel='return')
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(fontsize=8)


def draw_distribution(axes: Axes, title: str, values: Mapping[str, np.ndarray]) -> None:
    """Draw the share of actions that took at most so long, which shows every quantile.

    The axis ends where 999 of 1,000 are drawn: the first action of a process takes far longer.
    """
    ends: list[float] = []
    for name, times in values.items():
        ordered = np.sort(times[np.isfinite(times)])
        share = np.arange(1, len(ordered) + 1) / max(len(ordered), 1)
        style = ':' if 'loaded' in name else '-'
        axes.plot(ordered, share, style, color=COLORS[name.partition(',')[0]], label=name)
        ends += np.quantile(ordered, [0, 0.999]).tolist() if ordered.size else []
    axes.set(title=title, xscale='log', ylabel='share of actions', ylim=(0, 1))
    if ends and min(ends) > 0:
        axes.set_xlim(min(ends) / 1.2, max(ends) * 1.2)
    axes.grid(alpha=0.3)
    axes.legend(loc='lower right', fontsize=8)
