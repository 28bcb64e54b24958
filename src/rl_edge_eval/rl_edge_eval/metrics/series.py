"""What was recorded over time, and its order statistics and rates.

Times are those of recording, on the system clock, int64 ns, ascending. Where that clock jumped,
`rl_edge_eval.metrics.time_axis` has taken the jump out: ``breaks_ns`` are the times at which it
did so, and an interval that holds one of them is counted nowhere.
"""

from dataclasses import dataclass, fields
from typing import Self

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
        """Write the three values for a table."""
        if not self.count:
            return '-'
        return f'{self.p50:.0f} / {self.p99:.0f} / {self.max:.0f}'


@dataclass(frozen=True, eq=False)
class Series:
    """Arrays of one length, one value per recording."""

    time_ns: np.ndarray
    """When each was recorded, int64, shape (n,)."""

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.time_ns)

    def between(self, begin_ns: int, end_ns: int) -> Self:
        """Return what was recorded from ``begin_ns`` to ``end_ns``, both included."""
        return self.where((self.time_ns >= begin_ns) & (self.time_ns <= end_ns))

    def where(self, kept: np.ndarray) -> Self:
        """Return those for which ``kept``, bool of shape (n,), is true."""
        return type(self)(**{f.name: getattr(self, f.name)[kept] for f in fields(self)})


@dataclass(frozen=True, eq=False)
class StepSeries(Series):
    """The steps of one episode, or of several."""

    step: np.ndarray
    """int64."""
    response_us: np.ndarray
    """Observation published to action received, steady clock, float32; NaN without an answer."""
    inference_us: np.ndarray
    """As the policy reported it, float32; NaN without an answer."""
    forward_position_m: np.ndarray
    """After the step, float64; NaN where there is none."""

    @classmethod
    def joined(cls, parts: list['StepSeries']) -> 'StepSeries':
        """Return all steps of ``parts`` in the order in which they were recorded."""
        if not parts:
            empty = np.empty(0)
            return cls(empty.astype(np.int64), empty.astype(np.int64), empty, empty, empty)
        columns = {
            f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)
        }
        order = np.argsort(columns['time_ns'], kind='stable')
        return cls(**{name: column[order] for name, column in columns.items()})


@dataclass(frozen=True, eq=False)
class ReportSeries(Series):
    """What one node reported of its resources, once per second; see ResourceUsage.msg."""

    pid: np.ndarray
    cpu_percent: np.ndarray
    cpu_seconds: np.ndarray
    resident_memory_mb: np.ndarray
    peak_memory_mb: np.ndarray
    unique_memory_mb: np.ndarray
    threads: np.ndarray
    open_files: np.ndarray


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
        total_sec = float(gaps_sec.sum())
        return cls(
            images=int(np.asarray(times_ns).size),
            period_ms=1e3 * period_sec,
            rate_hz=gaps_sec.size / total_sec if total_sec else float('nan'),
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
