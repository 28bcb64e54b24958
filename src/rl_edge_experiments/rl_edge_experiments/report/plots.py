"""What the report shows of a pair: plots over time, and a video as it was seen."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from rl_edge_core.files import write_atomically
from rl_edge_eval.bag.decode import Frame, frames_of
from rl_edge_experiments.clip import captioned, side_by_side, write_gif
from rl_edge_experiments.demo_plot import COLORS, draw_distribution, draw_returns
from rl_edge_experiments.record_run import RecordedRun
from rl_edge_experiments.report.sides import ALONE, LOADED, Pair

_VIDEO_STEP_MS = 50.0
_STYLES = {ALONE: '-', LOADED: ':'}


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
