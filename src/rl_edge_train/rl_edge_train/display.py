"""What a person sees of a run: a progress bar on a terminal, lines in a log, TensorBoard files."""

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

import tensorflow as tf
from tqdm import tqdm

from rl_edge_core.errors import StorageError

NOT_PLOTTED = ('steps', 'seconds')


class RunDisplay:
    """A tqdm bar where there is a terminal, else a line per log row; scalars go to TensorBoard."""

    def __init__(self, folder: Path, *, total_steps: int, stream: TextIO | None = None) -> None:
        """Write TensorBoard files below `folder`; show the rest on `stream` (standard output)."""
        self.stream = stream or sys.stdout
        self._writer = tf.summary.create_file_writer(str(folder / 'tensorboard'))
        self._total_steps = total_steps
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
                mininterval=1.0,
                miniters=1,
            )

    def advance(self, steps: int) -> None:
        """Move the bar to `steps`."""
        if self._bar is not None:
            self._bar.update(steps - self._bar.n)

    def say(self, text: str) -> None:
        """Show one line, above the bar."""
        tqdm.write(text, file=self.stream)
        self.stream.flush()

    def show(self, metrics: Mapping[str, float]) -> None:
        """Show steps, return, forward distance (where there is one), steps/s and the time left."""
        measured = ''
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
            self._bar.set_postfix_str(measured.strip(), refresh=False)
            return
        steps, rate = int(metrics['steps']), metrics['steps_per_second']
        minutes = (self._total_steps - steps) / max(rate, 1e-9) / 60
        self.say(f'{steps:>10,} steps  {measured}{rate:6.0f} steps/s  {minutes:5.0f} min left')

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
