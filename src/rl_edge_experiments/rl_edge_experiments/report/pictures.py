"""What the report shows of a pair: pictures over time, and a clip as it was seen."""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rl_edge_core.files import write_atomically
from rl_edge_eval.frames import Frame, frames_of
from rl_edge_experiments.demo_picture import COMPRESSED_COLOR, FULL_COLOR
from rl_edge_experiments.gif import captioned, side_by_side, write_gif
from rl_edge_experiments.recorded_run import RecordedRun
from rl_edge_experiments.report.figures import LOADED, Pair

matplotlib.use('agg')

_DOTS_PER_INCH = 100
_CLIP_STEP_MS = 50.0
_STYLES = {'alone': '-', 'loaded': ':'}


def write_picture(path: Path, pair: Pair) -> None:
    """Draw memory, CPU, latency and pictures over time, and returns, of both sides."""
    figure = Figure(figsize=(12, 7), layout='constrained')
    axes = figure.subplots(2, 3).ravel()
    _draw_usage(axes[0], pair, 'resident_memory_mb', 'policy process, resident memory (MB)')
    _draw_usage(axes[1], pair, 'cpu_percent', 'policy process, CPU (% of a core)')
    _draw_gaps(axes[2], pair)
    _draw_latency(axes[3], pair)
    _draw_responses(axes[4], pair)
    _draw_returns(axes[5], pair)
    figure.suptitle(f'{pair.name}: full and compressed, alone and beside busy processes')
    write_atomically(path, lambda file: figure.savefig(file, dpi=_DOTS_PER_INCH))


def write_clip(path: Path, pair: Pair, *, seconds: float) -> bool:
    """Write both sides as they were seen while they acted; return whether there is anything.

    Each picture stays until the next one had arrived, so that stutter is seen where there was
    some. Beside busy processes where that was run.
    """
    condition = LOADED if LOADED in pair.conditions else pair.conditions[0]
    runs = [side.acting_runs[condition] for side in (pair.full, pair.compressed)]
    shown = [_shown(run, seconds=seconds) for run in runs]
    if not all(shown):
        return False
    captions = (f'full, {condition}', f'compressed, {condition}')
    frames = []
    for left, right in zip(*shown, strict=False):
        frames.append(side_by_side(captioned(left, captions[0]), captioned(right, captions[1])))
    write_gif(path, frames, [_CLIP_STEP_MS] * len(frames))
    return True


def _shown(run: RecordedRun, *, seconds: float) -> list[np.ndarray]:
    """Return what was on the screen at each step of the clip, from the middle of the run."""
    times = run.picture_times_ns
    if not times:
        return []
    length_ns = round(seconds * 1e9)
    begin_ns = max(times[0], (times[0] + times[-1] - length_ns) // 2)
    end_ns = min(times[-1], begin_ns + length_ns)
    kept = [picture for picture in frames_of(run.bag) if times[0] <= picture.time_ns <= end_ns]
    return newest_at(kept, np.arange(begin_ns, end_ns, round(_CLIP_STEP_MS * 1e6)))


def newest_at(pictures: list[Frame], moments_ns: np.ndarray) -> list[np.ndarray]:
    """Return the newest picture at each moment; none has to be before the first picture."""
    arrivals = np.array([picture.time_ns for picture in pictures])
    indices = np.searchsorted(arrivals, moments_ns, side='right') - 1
    return [pictures[max(int(index), 0)].pixels for index in indices]


def _draw_usage(axes: Axes, pair: Pair, name: str, title: str) -> None:
    for label, color, run, style in _runs(pair):
        reports = run.robot.node('policy').reports
        times = (reports.time_ns - run.begin_ns) * 1e-9
        axes.plot(times, getattr(reports, name), style, color=color, label=label)
    axes.axvline(0.0, color='grey', lw=0.6)
    axes.set(title=title, xlabel='time from the first action (s)')
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8)


def _draw_gaps(axes: Axes, pair: Pair) -> None:
    for label, color, run, style in _runs(pair):
        times = np.array(run.picture_times_ns, np.int64)
        if times.size > 1:
            seconds = (times[1:] - run.begin_ns) * 1e-9
            axes.plot(seconds, np.diff(times) * 1e-6, style, color=color, lw=0.8, label=label)
    axes.set(title='from picture to picture (ms)', xlabel='time (s)')
    axes.set_ylim(bottom=0)
    if axes.lines:
        axes.legend(fontsize=8)


def _draw_latency(axes: Axes, pair: Pair) -> None:
    for label, color, run, style in _runs(pair):
        ordered = np.sort(_responses_us(run)) / 1e3
        share = np.arange(1, len(ordered) + 1) / max(len(ordered), 1)
        axes.plot(ordered, share, style, color=color, label=label)
    axes.set(title='observation to action (ms)', xscale='log', ylabel='share of actions')
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


def _draw_responses(axes: Axes, pair: Pair) -> None:
    for label, color, run, style in _runs(pair):
        responses = _responses_us(run) / 1e3
        axes.plot(responses, style, color=color, lw=0.6, label=label)
    axes.set(title='observation to action (ms)', xlabel='action', yscale='log')
    axes.legend(fontsize=8)


def _draw_returns(axes: Axes, pair: Pair) -> None:
    full, compressed = pair.full.returns, pair.compressed.returns
    axes.plot(full, 'o', color=FULL_COLOR, label='full')
    axes.plot(compressed, 'x', color=COMPRESSED_COLOR, label='compressed')
    axes.set(title='return, the same seeds, in lockstep', xlabel='episode')
    axes.legend(fontsize=8)


def _responses_us(run: RecordedRun) -> np.ndarray:
    values = run.robot.series.response_us
    return values[np.isfinite(values)]


def _runs(pair: Pair) -> list[tuple[str, str, RecordedRun, str]]:
    return [
        (f'{name}, {condition}', color, side.acting_runs[condition], _STYLES[condition])
        for name, color, side in (
            ('full', FULL_COLOR, pair.full),
            ('compressed', COMPRESSED_COLOR, pair.compressed),
        )
        for condition in pair.conditions
    ]
