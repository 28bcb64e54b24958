"""What was recorded over time, and its order statistics and rates.

Times are those of recording, on the system clock, int64 ns, ascending. Where that clock jumped,
`metrics_of_bag` has taken the jump out: ``breaks_ns`` are the times at which it
did so, and an interval that holds one of them is counted nowhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rl_edge_core.errors import ConfigurationError
from rl_edge_core.statistics import Interval, share_interval

LATE_PERIODS = 1.5
"""An image that comes more than so many periods after the one before it is late."""


@dataclass(frozen=True)
class Percentiles:
    """Median, 99th percentile and maximum; NaN where nothing was measured."""

    p50: float
    p99: float
    max: float
    count: int
    """How many finite values they rest on."""

    @classmethod
    def of(cls, values: ArrayLike) -> 'Percentiles':
        """Return the order statistics of the finite ones of ``values``, shape (n,).

        Percentiles are interpolated linearly between the neighbouring values (NumPy's default).
        """
        array = np.asarray(values)
        finite = array[np.isfinite(array)]
        if not finite.size:
            return cls(float('nan'), float('nan'), float('nan'), 0)
        p50, p99 = np.percentile(finite, [50, 99])
        return cls(float(p50), float(p99), float(finite.max()), int(finite.size))

    def __str__(self) -> str:
        if not self.count:
            return '-'
        return f'{self.p50:.0f} / {self.p99:.0f} / {self.max:.0f}'


STEP = np.dtype(
    [
        ('time_ns', np.int64),
        ('step', np.int64),
        ('response_us', np.float32),  # observation published to action received, steady clock
        ('inference_us', np.float32),  # as the policy reported it
        ('forward_position_m', np.float64),  # after the step
    ]
)
"""A recorded step; its latencies are NaN without an answer, its position where there is none."""
REPORT = np.dtype(
    [
        ('time_ns', np.int64),
        ('pid', np.int64),
        ('cpu_percent', np.float64),
        ('cpu_seconds', np.float64),
        ('resident_memory_mb', np.float64),
        ('peak_memory_mb', np.float64),
        ('unique_memory_mb', np.float64),
        ('threads', np.float64),
        ('open_files', np.float64),
    ]
)
"""What a node reports of its resources once per second; see ResourceUsage.msg."""
Series = np.recarray
"""Steps or reports: an array for each name, all of shape (n,)."""


def between(series: Series, begin_ns: int, end_ns: int) -> Series:
    """Return what was recorded from ``begin_ns`` to ``end_ns``, both included."""
    return series[(series.time_ns >= begin_ns) & (series.time_ns <= end_ns)]


def joined(parts: Sequence[Series]) -> Series:
    """Return the steps of all ``parts`` in the order in which they were recorded."""
    steps = np.concatenate([np.empty(0, STEP), *parts]).view(np.recarray)
    return steps[np.argsort(steps.time_ns, kind='stable')]


@dataclass(frozen=True)
class ImageSmoothness:
    """How smoothly images came: what a viewer sees of a computer that is too busy."""

    images: int
    period_ms: float
    """How often an image was due."""
    rate_hz: float
    """Images that came per second."""
    interval_ms: Percentiles
    """From one image to the next."""
    late_share: Interval
    """Of the images after the first, with the Wilson interval."""

    @classmethod
    def of(
        cls, times_ns: ArrayLike, *, period_sec: float, breaks_ns: ArrayLike = ()
    ) -> 'ImageSmoothness | None':
        """Return how smoothly images came at ``times_ns``, shape (n,), due each ``period_sec``.

        None for less than two images: there is nothing to say. Raise ConfigurationError for a
        period that is not above 0.
        """
        if not period_sec > 0:
            raise ConfigurationError(f'period_sec is {period_sec}, must be above 0')
        gaps_sec = intervals_sec(times_ns, breaks_ns)
        if not gaps_sec.size:
            return None
        late = int((gaps_sec > LATE_PERIODS * period_sec).sum())
        return cls(
            images=int(np.asarray(times_ns).size),
            period_ms=1e3 * period_sec,
            rate_hz=ratio(gaps_sec.size, float(gaps_sec.sum())),
            interval_ms=Percentiles.of(1e3 * gaps_sec),
            late_share=share_interval(late, gaps_sec.size),
        )


def intervals_sec(times_ns: ArrayLike, breaks_ns: ArrayLike = ()) -> np.ndarray:
    """Return the times from one recording to the next, in s, without those over a break."""
    times = np.sort(np.asarray(times_ns, np.int64))
    return np.diff(times)[~breaks_between(times, breaks_ns)] * 1e-9


def breaks_between(times_ns: np.ndarray, breaks_ns: ArrayLike) -> np.ndarray:
    """Return whether a break lies between each time and the next, shape (n - 1,)."""
    stretch = np.searchsorted(np.asarray(breaks_ns, np.int64), times_ns, side='right')
    changed: np.ndarray = stretch[1:] != stretch[:-1]
    return changed


def rate_hz(times_ns: ArrayLike, breaks_ns: ArrayLike = ()) -> float:
    """Return how many came per second: intervals over their sum; NaN for less than two."""
    gaps = intervals_sec(times_ns, breaks_ns)
    return ratio(gaps.size, float(gaps.sum()))


def ratio(numerator: float, denominator: float) -> float:
    """Return the quotient; NaN where the denominator is not above 0."""
    return numerator / denominator if denominator > 0 else float('nan')
