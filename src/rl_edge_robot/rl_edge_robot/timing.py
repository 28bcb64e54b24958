"""How regular control is: the time between steps."""

from collections import deque
from typing import NamedTuple

import numpy as np


class TimingSummary(NamedTuple):
    """Of the time from one step to the next, in us."""

    p50_us: float
    p99_us: float
    max_us: float


class TickTimes:
    """Keep the time between the latest steps, those of 10 s or 100 at least."""

    def __init__(self, period_sec: float) -> None:
        """Keep times of steps that are to come each ``period_sec``."""
        self._intervals_us: deque[float] = deque(maxlen=max(100, round(10.0 / period_sec)))
        self._last_ns: int | None = None

    def restart(self) -> None:
        """Leave out what comes before the next step: an episode begins."""
        self._last_ns = None

    def tick(self, now_ns: int) -> None:
        """Take note of a step."""
        if self._last_ns is not None:
            self._intervals_us.append((now_ns - self._last_ns) / 1000)
        self._last_ns = now_ns

    def summary(self) -> TimingSummary | None:
        """Return the summary; None before the second step."""
        if not self._intervals_us:
            return None
        p50, p99, most = np.percentile(self._intervals_us, [50, 99, 100])
        return TimingSummary(float(p50), float(p99), float(most))
