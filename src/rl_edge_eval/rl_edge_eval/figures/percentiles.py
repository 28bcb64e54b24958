"""Order statistics of a latency."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Percentiles:
    """Median, 99th percentile and maximum; NaN where nothing was measured."""

    p50: float
    p99: float
    max: float
    count: int
    """How many finite values they rest on."""

    def __str__(self) -> str:
        """Write the three figures for a table."""
        if not self.count:
            return '-'
        return f'{self.p50:.0f} / {self.p99:.0f} / {self.max:.0f}'


def percentiles(values: ArrayLike) -> Percentiles:
    """Return the order statistics of the finite ones of ``values``, shape (n,).

    Percentiles are interpolated linearly between the neighbouring values (NumPy's default).
    """
    array = np.asarray(values)
    finite = array[np.isfinite(array)]
    if not finite.size:
        return Percentiles(float('nan'), float('nan'), float('nan'), 0)
    p50, p99 = np.percentile(finite, [50, 99])
    return Percentiles(float(p50), float(p99), float(finite.max()), int(finite.size))
