"""What a person sees of a run: a progress bar on a terminal, lines in a log, TensorBoard files."""

import math
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TextIO

import tensorflow as tf
from tqdm import tqdm

from rl_edge_core.errors import StorageError

NOT_PLOTTED = ('steps', 'seconds')
_BAR = '{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}, {rate_fmt}{postfix}]'
"""Without tqdm's remaining time, which counts compiling and steps that learn nothing."""


class TimeLeft:
    """The time that the rest of a run takes, by the pace since the networks are compiled."""

    def __init__(self, total_steps: int, *, now_sec: Callable[[], float] = time.monotonic) -> None:
        """Know nothing yet: iterations that do not learn are fast, and the first compiles."""
        self._total_steps, self._now_sec = total_steps, now_sec
        self._steps, self._since_sec = 0, math.nan

    def note(self, steps: int, *, has_learned: bool) -> None:
        """Take note that an iteration has led to ``steps``, and whether it learned."""
        if has_learned and math.isnan(self._since_sec):
            self._steps, self._since_sec = steps, self._now_sec()

    def text(self, steps: int) -> str:
        """Return e.g. ``12 min left``; empty while nothing is known."""
        if math.isnan(self._since_sec) or steps <= self._steps:
            return ''
        pace = (self._now_sec() - self._since_sec) / (steps - self._steps)
        seconds = max(self._total_steps - steps, 0) * pace
        if seconds < 100:
            return f'{seconds:.0f} s left'
        return f'{seconds / 60:.0f} min left' if seconds < 6000 else f'{seconds / 3600:.1f} h left'


class RunDisplay:
    """A tqdm bar where there is a terminal, else a line per log row; scalars go to TensorBoard."""

    def __init__(self, folder: Path, *, total_steps: int, stream: TextIO | None = None) -> None:
        """Write TensorBoard files below `folder`; show the rest on `stream` (standard output)."""
        self.stream = stream or sys.stdout
        self._writer = tf.summary.create_file_writer(str(folder / 'tensorboard'))
        self._total_steps = total_steps
        self._time_left = TimeLeft(total_steps)
        self._bar: tqdm | None = None

    def begin(self, steps: int) -> None:
        """Show the bar, which counts from `steps` on and moves once per second."""
        if self.stream.isatty():
            self._bar = tqdm(
                total=self._total_steps,
                initial=steps,
                unit='step',
                unit_scale=True,
                file=self.stream,
                smoothing=0.05,
                bar_format=_BAR,
                mininterval=1.0,
                miniters=1,
            )

    def advance(self, steps: int, *, has_learned: bool) -> None:
        """Move the bar to `steps`, to which an iteration led that learned or did not."""
        self._time_left.note(steps, has_learned=has_learned)
        if self._bar is not None:
            self._bar.update(steps - self._bar.n)

    def say(self, text: str) -> None:
        """Show one line, above the bar."""
        tqdm.write(text, file=self.stream)
        self.stream.flush()

    def show(self, metrics: Mapping[str, float]) -> None:
        """Show steps, return, forward distance (where there is one), steps/s and the time left."""
        steps, measured = int(metrics['steps']), ''
        left = self._time_left.text(steps)
        for name, unit, width in (('episode_return', '', 8), ('distance_m', ' m', 6)):
            value = metrics.get(name, math.nan)
            if math.isfinite(value):
                title = 'return' if name == 'episode_return' else 'distance'
                measured += f'{title} {value:{width}.1f}{unit}  '
        if 'workers' in metrics:
            measured += (
                f'{metrics["workers"]:.0f} workers, weights {metrics["weights_age_updates"]:.0f} '
                f'updates old, {metrics["lost_fragments"]:.0f} lost  '
            )
        if self._bar is not None:
            self._bar.set_postfix_str(f'{left}  {measured}'.strip(), refresh=False)
            return
        rate = metrics['steps_per_second']
        self.say(f'{steps:>10,} steps  {measured}{rate:6.0f} steps/s  {left:>12}'.rstrip())

    def write_scalars(self, prefix: str, metrics: Mapping[str, float]) -> None:
        """Record metrics for TensorBoard; raise StorageError when they can't be written."""
        try:
            with self._writer.as_default(step=int(metrics['steps'])):
                for name, value in metrics.items():
                    if name not in NOT_PLOTTED and math.isfinite(value):
                        tf.summary.scalar(f'{prefix}/{name}', value)
            self._writer.flush()
        except tf.errors.OpError as error:
            raise StorageError(f'TensorBoard files cannot be written: {error.message}') from error

    def close(self) -> None:
        """Leave the screen in order and close the files."""
        if self._bar is not None:
            self._bar.close()
        try:
            self._writer.close()
        except tf.errors.OpError as error:
            raise StorageError(f'TensorBoard files cannot be written: {error.message}') from error
