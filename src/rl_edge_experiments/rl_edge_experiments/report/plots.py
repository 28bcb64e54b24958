"""What the report shows of a pair: plots over time, and a video as it was seen."""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rl_edge_core.files import write_atomically
from rl_edge_eval.frames import Frame, frames_of
from rl_edge_experiments.demo_plot import COLORS, draw_distribution, draw_returns
from rl_edge_experiments.record_run import RecordedRun
from rl_edge_experiments.report.sides import LOADED, Pair
from rl_edge_experiments.video import captioned, side_by_side, write_gif

matplotlib.use('agg')

_DOTS_PER_INCH = 100
_VIDEO_STEP_MS = 50.0
_STYLES = {'alone': '-', 'loaded': ':'}


def write_plot(path: Path, pair: Pair) -> None:
    """Draw memory, CPU, images and latency over time, and returns, of both sides."""
    figure = Figure(figsize=(12, 7), layout='constrained')
    axes = figure.subplots(2, 3).ravel()
    runs = {
        f'{name}, {condition}': one.run
        for name, side in pair.sides.items()
        for condition, one in side.acting.items()
    }
    reports = {name: run.robot.node('policy').reports for name, run in runs.items()}
    memory = {name: (one.time_ns, one.resident_memory_mb) for name, one in reports.items()}
    _draw_over_time(axes[0], 'policy process, resident memory (MB)', runs, memory)
    cpu = {name: (one.time_ns, one.cpu_percent) for name, one in reports.items()}
    _draw_over_time(axes[1], 'policy process, CPU (% of a core)', runs, cpu)
    images = {name: run.acting.image_times_ns for name, run in runs.items()}
    gaps = {name: (times[1:], np.diff(times) * 1e-6) for name, times in images.items()}
    _draw_over_time(axes[2], 'from image to image (ms)', runs, gaps)
    steps = {name: run.acting.series for name, run in runs.items()}
    responses = {name: one.response_us / 1e3 for name, one in steps.items()}
    draw_distribution(axes[3], 'observation to action (ms)', responses)
    over_time = {name: (one.time_ns, responses[name]) for name, one in steps.items()}
    _draw_over_time(axes[4], 'observation to action (ms)', runs, over_time, yscale='log')
    draw_returns(axes[5], {name: side.quality_run for name, side in pair.sides.items()})
    figure.suptitle(f'{pair.name}: full and compressed, alone and beside busy processes')
    write_atomically(path, lambda file: figure.savefig(file, dpi=_DOTS_PER_INCH))


def write_video(path: Path, pair: Pair, *, seconds: float) -> bool:
    """Write both sides as they were seen while they acted; return whether there is anything.

    Each image stays until the next one had arrived, so that stutter is seen where there was some.
    Beside busy processes where that was run.
    """
    condition = LOADED if LOADED in pair.conditions else pair.conditions[0]
    shown = {
        f'{name}, {condition}': _shown(side.acting[condition].run, seconds=seconds)
        for name, side in pair.sides.items()
    }
    if not all(shown.values()):
        return False
    captions = list(shown)
    frames = [
        side_by_side(captioned(left, captions[0]), captioned(right, captions[1]))
        for left, right in zip(*shown.values(), strict=False)
    ]
    write_gif(path, frames, [_VIDEO_STEP_MS] * len(frames))
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


def _draw_over_time(
    axes: Axes,
    title: str,
    runs: dict[str, RecordedRun],
    samples: dict[str, tuple[np.ndarray, np.ndarray]],
    *,
    yscale: str = 'linear',
) -> None:
    """Draw times of recording and values of each run, from its first action on."""
    for name, (times_ns, values) in samples.items():
        side, _, condition = name.partition(', ')
        seconds = (times_ns - runs[name].begin_ns) * 1e-9
        axes.plot(seconds, values, _STYLES[condition], lw=0.8, color=COLORS[side], label=name)
    axes.axvline(0.0, color='grey', lw=0.6)
    axes.set(title=title, xlabel='time from the first action (s)', yscale=yscale)
    if yscale == 'linear':
        axes.set_ylim(bottom=0)
    axes.legend(fontsize=8)
