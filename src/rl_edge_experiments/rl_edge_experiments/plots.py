"""The plots of the demo and of a pair in the report, and a video as it was seen."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rl_edge_core.files import write_atomically
from rl_edge_eval.bag.decode import Frame, frames_of
from rl_edge_experiments.clip import captioned, side_by_side, write_gif
from rl_edge_experiments.experiment import COMPRESSED, FULL
from rl_edge_experiments.record_run import RecordedRun
from rl_edge_experiments.report.sides import ALONE, LOADED, Pair

_VIDEO_STEP_MS = 50.0
_STYLES = {ALONE: '-', LOADED: ':'}
COLORS = {FULL: '#5b7ba8', COMPRESSED: '#e08e45'}
MARKERS = {FULL: 'o', COMPRESSED: 'D'}
_DOTS_PER_INCH = 110


def write_demo_plot(path: Path, runs: Mapping[str, RecordedRun], *, note: str) -> None:
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


def write_plot(path: Path, pair: Pair) -> None:
    """Draw memory, CPU, images and latency over time, and returns, of both sides."""
    figure = Figure(figsize=(12, 7), layout='constrained')
    memory, cpu, gaps, distribution, latency, returns = figure.subplots(2, 3).ravel()
    responses = {}
    for side_name, side in pair.sides.items():
        for condition, run in side.runs.items():
            name = f'{side_name}, {condition}'
            style = {'color': COLORS[side_name], 'ls': _STYLES[condition], 'label': name}
            reports, steps = run.robot.node('policy').reports, run.acting.series
            images_ns = run.acting.image_times_ns
            responses[name] = steps.response_us / 1e3
            for axes, times_ns, values in (
                (memory, reports.time_ns, reports.resident_memory_mb),
                (cpu, reports.time_ns, reports.cpu_percent),
                (gaps, images_ns[1:], np.diff(images_ns) * 1e-6),
                (latency, steps.time_ns, responses[name]),
            ):
                axes.plot((times_ns - run.begin_ns) * 1e-9, values, lw=0.8, **style)
    for axes, title, yscale in (
        (memory, 'policy process, resident memory (MB)', 'linear'),
        (cpu, 'policy process, CPU (% of a core)', 'linear'),
        (gaps, 'from image to image (ms)', 'linear'),
        (latency, 'response (ms)', 'log'),
    ):
        axes.axvline(0.0, color='grey', lw=0.6)
        axes.set(title=title, xlabel='time from the first action (s)', yscale=yscale)
        if yscale == 'linear':
            axes.set_ylim(bottom=0)
        axes.legend(fontsize=8)
    draw_distribution(distribution, 'response (ms)', responses)
    draw_returns(returns, {name: side.quality_run for name, side in pair.sides.items()})
    figure.suptitle(f'{pair.name}: uncompressed and compressed, alone and beside busy processes')
    write_atomically(path, lambda file: figure.savefig(file, dpi=100))


def write_video(path: Path, pair: Pair, *, seconds: float) -> bool:
    """Write both sides as they were seen while they acted; return whether there is anything.

    Each image stays until the next one had arrived, so that stutter is seen where there was some.
    Beside busy processes where that was run.
    """
    condition = LOADED if LOADED in pair.full.runs else ALONE
    shown = {
        f'{name}, {condition}': _shown(side.runs[condition], seconds=seconds)
        for name, side in pair.sides.items()
    }
    if not all(shown.values()):
        return False
    captions = list(shown)
    frames = [
        side_by_side(captioned(left, captions[0]), captioned(right, captions[1]))
        for left, right in zip(*shown.values(), strict=False)
    ]
    write_gif(path, frames, period_ms=_VIDEO_STEP_MS)
    return True


def _shown(run: RecordedRun, *, seconds: float) -> list[np.ndarray]:
    """Return what was on the screen at each step of the video, from the middle of the run."""
    times = run.acting.image_times_ns
    if not len(times):
        return []
    length_ns = round(seconds * 1e9)
    begin_ns = max(times[0], (times[0] + times[-1] - length_ns) // 2)
    end_ns = min(times[-1], begin_ns + length_ns)
    kept = [frame for frame in frames_of(run.bag) if times[0] <= frame.time_ns <= end_ns]
    return newest_at(kept, np.arange(begin_ns, end_ns, round(_VIDEO_STEP_MS * 1e6)))


def newest_at(frames: list[Frame], moments_ns: np.ndarray) -> list[np.ndarray]:
    """Return the newest image at each moment; none has to be before the first image."""
    arrivals = np.array([frame.time_ns for frame in frames])
    indices = np.searchsorted(arrivals, moments_ns, side='right') - 1
    return [frames[max(int(index), 0)].pixels for index in indices]
