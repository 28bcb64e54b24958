"""How smoothly pictures came: what a viewer sees of a computer that is too busy."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rl_edge_core.errors import ConfigurationError
from rl_edge_core.statistics import Interval, share_interval
from rl_edge_eval.figures.percentiles import Percentiles, percentiles

LATE_PERIODS = 1.5
"""A picture that comes more than so many periods after the one before it is late."""


@dataclass(frozen=True)
class Smoothness:
    """Of the pictures of one run."""

    pictures: int
    period_ms: float
    """How often a picture was due."""
    rate_hz: float
    """Pictures that came, a second."""
    interval_ms: Percentiles
    """From one picture to the next."""
    late_share: Interval
    """Of the pictures after the first, with the Wilson interval."""


def smoothness(times_ns: ArrayLike, *, period_sec: float) -> Smoothness | None:
    """Return how smoothly pictures came at ``times_ns``, shape (n,), due each ``period_sec``.

    None for less than two pictures: there is nothing to judge. Raise ConfigurationError for a
    period that is not above 0.
    """
    if not period_sec > 0:
        raise ConfigurationError(f'period_sec is {period_sec}, must be above 0')
    times = np.sort(np.asarray(times_ns, np.int64))
    if times.size < 2:
        return None
    gaps_sec = np.diff(times) * 1e-9
    late = int((gaps_sec > LATE_PERIODS * period_sec).sum())
    return Smoothness(
        pictures=int(times.size),
        period_ms=1e3 * period_sec,
        rate_hz=gaps_sec.size / float(gaps_sec.sum()) if gaps_sec.sum() else float('nan'),
        interval_ms=percentiles(1e3 * gaps_sec),
        late_share=share_interval(late, gaps_sec.size),
    )
