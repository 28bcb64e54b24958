"""What a person sees of a run: a progress bar on a terminal, lines in a log, TensorBoard files."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

import tensorflow as tf
from tqdm import tqdm

from rl_edge_core.errors import StorageError

NOT_PLOTTED = ('steps', 'seconds')


class RunDisplay:
    """A tqdm bar where there is a terminal, else a line a log row; scalars go to TensorBoard."""

    def __init__(self, folder: Path, *, total_steps: int, stream: TextIO | None = None) -> None:
        """Write TensorBoard files below `folder`; show the rest on `stream` (standard output)."""
        self.stream = stream or sys.stdout
        self._writer = tf.summary.create_file_writer(str(folder / 'tensorboard'))
        self._bar = tqdm(
            total=total_steps,
            unit='step',
            unit_scale=True,
            file=self.stream,
            disable=not self.stream.isatty(),
            smoothing=0.05,
        )
        self._total_steps = total_steps

    def say(self, text: str) -> None:
        """Show one line, above the bar."""
        self._bar.write(text, file=self.stream)
        self.stream.flush()

    def show(self, figures: Mapping[str, float]) -> None:
        """Show steps, return, forward distance, steps a second and the time left."""
        steps, rate = int(figures['steps']), figures['steps_per_second']
        measured = (
            f'return {figures["episode_return"]:8.1f}  distance {figures["distance_m"]:6.1f} m'
        )
        if not self._bar.disable:
            self._bar.set_postfix_str(measured, refresh=False)
            self._bar.n = steps
            self._bar.refresh()
            return
        minutes = (self._total_steps - steps) / max(rate, 1e-9) / 60
        self.say(f'{steps:>10,} steps  {measured}  {rate:6.0f} steps/s  {minutes:5.0f} min left')

    def write_scalars(self, prefix: str, figures: Mapping[str, float]) -> None:
        """Record figures for TensorBoard; raise StorageError when they can't be written."""
        try:
            with self._writer.as_default(step=int(figures['steps'])):
                for name, value in figures.items():
                    if name not in NOT_PLOTTED:
                        tf.summary.scalar(f'{prefix}/{name}', value)
            self._writer.flush()
        except tf.errors.OpError as error:
            raise StorageError(f'TensorBoard files cannot be written: {error.message}') from error

    def close(self) -> None:
        """Leave the screen in order and close the files."""
        self._bar.close()
        self._writer.close()
