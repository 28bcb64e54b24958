"""How regular control is, and what it adds to the response of a step."""

from collections import deque
from typing import NamedTuple

import numpy as np


class TimingSummary(NamedTuple):
    """Of the latest steps, in us."""

    period_p50_us: float
    """From one step to the next."""
    period_p99_us: float
    period_max_us: float
    added_p50_us: float
    """What we add to the response of a step, which is from the observation to the action: from
    the last sensor to the observation, and from the action to the command."""
    added_p99_us: float


class StepTimes:
    """Keep the times of the latest steps, those of 10 s or 100 at least. Times in are in ns."""

    def __init__(self, period_sec: float) -> None:
        """Keep times of steps that are to come each ``period_sec``."""
        size = max(100, round(10.0 / period_sec))
        self._intervals_us: deque[float] = deque(maxlen=size)
        self._added_us: deque[float] = deque(maxlen=size)
        self._last_ns: int | None = None
        self._to_observation_ns = 0

    def restart(self) -> None:
        """Leave out what comes before the next step: an episode begins."""
        self._last_ns = None

    def begin(self, now_ns: int) -> None:
        """Take note of the begin of a step."""
        if self._last_ns is not None:
            self._intervals_us.append((now_ns - self._last_ns) / 1000)
        self._last_ns = now_ns

    def observed(self, taken_ns: int) -> None:
        """Take note of how long it took from the begin of the step to its observation."""
        self._to_observation_ns = taken_ns

    def commanded(self, taken_ns: int) -> None:
        """Take note of how long it took from the action to its command."""
        self._added_us.append((self._to_observation_ns + taken_ns) / 1000)

    def summary(self) -> TimingSummary | None:
        """Return the summary; None before the second step."""
        if not self._intervals_us or not self._added_us:
            return None
        periods = np.percentile(self._intervals_us, [50, 99, 100])
        added = np.percentile(self._added_us, [50, 99])
        return TimingSummary(*(float(value) for value in (*periods, *added)))
