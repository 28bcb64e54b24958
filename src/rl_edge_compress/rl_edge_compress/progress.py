"""How far a command is: a bar on a terminal, a plain line now and then in a log."""

import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TextIO

from tqdm import tqdm

from rl_edge_core.wording import counted

LINE_PERIOD_SEC = 30.0
"""Between two lines of a log."""


class Progress(AbstractContextManager['Progress']):
    """Counts units of work as they are done; the end of a with block closes it."""

    def __init__(
        self,
        total: int,
        unit: str,
        *,
        what: str = '',
        stream: TextIO | None = None,
        now_sec: Callable[[], float] = time.monotonic,
    ) -> None:
        """Count up to ``total`` of ``unit``, e.g. episode, on ``stream`` (standard error)."""
        self.done, self._total, self._unit = 0, total, unit
        self.what, self.detail = what, ''
        self._stream = stream or sys.stderr
        self._now_sec = now_sec
        self._began_sec = self._said_sec = now_sec()
        self._said = -1
        self._bar: tqdm | None = None
        if self._stream.isatty():
            self._bar = tqdm(
                total=total, unit=unit, desc=what or None, file=self._stream, dynamic_ncols=True
            )

    def update(self, count: int = 1) -> None:
        """Count ``count`` more as done."""
        self.done += count
        if self._bar is not None:
            self._bar.update(count)
        self._show()

    def show(self, *, what: str = '', detail: str = '') -> None:
        """Say what is being done, and of it what is newest."""
        self.what, self.detail = what or self.what, detail
        if self._bar is not None:
            self._bar.set_description(self.what, refresh=False)
            self._bar.set_postfix_str(detail)
        self._show()

    def close(self) -> None:
        """Leave the screen in order, or end the log with how much was done."""
        if self._bar is not None:
            self._bar.close()
        elif self._said != self.done:
            self._say()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _show(self) -> None:
        if self._bar is None and self._now_sec() - self._said_sec >= LINE_PERIOD_SEC:
            self._say()

    def _say(self) -> None:
        self._said_sec, self._said = self._now_sec(), self.done
        seconds = self._said_sec - self._began_sec
        line = f'{self.done} of {counted(self._total, self._unit)} after {seconds:.0f} s'
        parts = [self.what, line, self.detail]
        print(': '.join(part for part in parts if part), file=self._stream, flush=True)
