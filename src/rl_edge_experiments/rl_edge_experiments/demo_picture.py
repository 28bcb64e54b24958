"""The picture of the demo: where the robot went, and what the policy took."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rl_edge_core.files import write_atomically
from rl_edge_experiments.measured_run import MeasuredRun

matplotlib.use('agg')

FULL_COLOR, COMPRESSED_COLOR = '#5b7ba8', '#e08e45'
_DOTS_PER_INCH = 110


def write_picture(path: Path, full: MeasuredRun, compressed: MeasuredRun, *, note: str) -> None:
    """Draw both runs and write the picture atomically."""
    figure = Figure(figsize=(11, 6.5), layout='constrained')
    axes = figure.subplots(2, 3).ravel()
    _draw_paths(axes[0], full, compressed)
    _draw_times(axes[1], 'inference (us)', full.inference_us, compressed.inference_us)
    _draw_times(axes[2], 'observation to action (us)', full.response_us, compressed.response_us)
    _draw_bars(axes[3], 'peak memory (MB)', full.policy_memory_mb, compressed.policy_memory_mb)
    _draw_bars(
        axes[4],
        'CPU an action (ms)',
        full.policy_cpu_ms_per_action,
        compressed.policy_cpu_ms_per_action,
    )
    _draw_bars(
        axes[5], 'start to first action (s)', full.first_action_sec, compressed.first_action_sec
    )
    title = 'full Keras actor-critic and compressed TFLite actor, the same seeds'
    figure.suptitle(f'{title}\n{note}' if note else title)
    write_atomically(path, lambda file: figure.savefig(file, dpi=_DOTS_PER_INCH))


def _draw_paths(axes: Axes, full: MeasuredRun, compressed: MeasuredRun) -> None:
    for run, color, label, style in (
        (full, FULL_COLOR, 'full', '-'),
        (compressed, COMPRESSED_COLOR, 'compressed', '--'),
    ):
        for number, positions in enumerate(run.forward_positions_m):
            axes.plot(positions, style, color=color, label=label if number == 0 else None)
    axes.set(title='forward position (m)', xlabel='step')
    axes.legend()


def _draw_times(axes: Axes, title: str, full: np.ndarray, compressed: np.ndarray) -> None:
    """Draw the share of actions that took at most so long, which shows every quantile."""
    for values, color, label in (
        (full, FULL_COLOR, 'full'),
        (compressed, COMPRESSED_COLOR, 'compressed'),
    ):
        ordered = np.sort(values[np.isfinite(values)])
        share = np.arange(1, len(ordered) + 1) / max(len(ordered), 1)
        axes.plot(ordered, share, color=color, label=label)
    axes.set(title=title, xscale='log', ylabel='share of actions', ylim=(0, 1))
    axes.grid(alpha=0.3)
    axes.legend(loc='lower right')


def _draw_bars(axes: Axes, title: str, full: float, compressed: float) -> None:
    values: Sequence[float] = (full, compressed)
    bars = axes.bar(['full', 'compressed'], values, color=[FULL_COLOR, COMPRESSED_COLOR])
    axes.bar_label(bars, fmt='%.3g', padding=2)
    axes.set_title(title)
    axes.margins(y=0.15)
    axes.spines[['top', 'right']].set_visible(False)
