"""Means and their 95 % intervals, computed one way everywhere."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rl_edge_core.errors import ConfigurationError

CONFIDENCE = 0.95
RESAMPLES = 4000


@dataclass(frozen=True)
class Interval:
    """An estimate with the bounds of its 95 % confidence interval; NaN where there are none."""

    estimate: float
    low: float
    high: float
    count: int
    """How many values it rests on."""

    def __str__(self) -> str:
        """Write the estimate and its bounds, as precise as suits their size; ``-`` for NaN."""
        if math.isnan(self.estimate):
            return '-'
        digits = 0 if abs(self.estimate) >= 1000 else 1 if abs(self.estimate) >= 10 else 3
        estimate = f'{self.estimate:.{digits}f}'
        if math.isnan(self.low):
            return estimate
        return f'{estimate} [{self.low:.{digits}f}, {self.high:.{digits}f}]'


def mean_interval(values: ArrayLike) -> Interval:
    """Return the mean of ``values``, shape (n,), with its bootstrap interval.

    Percentile bootstrap (Efron & Tibshirani 1993, ch. 13): it needs no normal distribution,
    which returns of robots that sometimes fall do not have.
    """
    return _bootstrap(_checked(values), np.mean)


def median_interval(values: ArrayLike) -> Interval:
    """Return the median of ``values``, shape (n,), with its bootstrap interval."""
    return _bootstrap(_checked(values), np.median)


def share_interval(hits: int, count: int) -> Interval:
    """Return the share ``hits / count`` with its Wilson score interval (Wilson 1927)."""
    if not 0 <= hits <= count or count == 0:
        raise ConfigurationError(
            f'{hits} of {count} is not a share; needs 0 <= hits <= count, count > 0'
        )
    z = 1.959963984540054
    share = hits / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    spread = share * (1 - share) / count + z * z / (4 * count * count)
    half = z * float(np.sqrt(spread)) / (1 + z * z / count)
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half), count)


def share_kept(value: ArrayLike, reference: ArrayLike) -> Any:
    """Return how much of ``reference`` is left: 1 for all, less for less, whatever its sign.

    ``1 - (reference - value) / |reference|``, which is their ratio where the reference is
    positive; NaN where it is 0, or either is missing.
    """
    value, reference = np.asarray(value, np.float64), np.asarray(reference, np.float64)
    size = np.where(reference == 0.0, np.nan, np.abs(reference))
    return value / size + (1.0 - np.sign(reference))


def kept_interval(values: ArrayLike, reference: ArrayLike) -> Interval:
    """Return the share of the reference's mean that is kept over the same seeds (`share_kept`).

    Both of shape (n,), paired by index: pairs are resampled, so that an easy seed counts on both
    sides. NaN where the 95 % interval of the reference's mean holds 0, of which there is no
    share: `difference_interval` is what can be said then. Raise ConfigurationError when the sizes
    differ.
    """

    def share_of_means(pairs: np.ndarray, axis: int) -> np.ndarray:
        return share_kept(*np.moveaxis(pairs.mean(axis=axis), -1, 0))

    pairs = _paired(values, reference)
    mean = mean_interval(pairs[:, 1])
    if mean.low <= 0.0 <= mean.high:
        return Interval(math.nan, math.nan, math.nan, len(pairs))
    return _bootstrap(pairs, share_of_means)


def difference_interval(first: ArrayLike, second: ArrayLike) -> Interval:
    """Return the mean of ``first - second``, both of shape (n,), paired by index."""
    pairs = _paired(first, second)
    return mean_interval(pairs[:, 0] - pairs[:, 1])


def unpaired_difference(baseline: ArrayLike, other: ArrayLike) -> Interval:
    """Return the mean of ``other`` minus that of ``baseline``, shapes (n,) and (m,).

    Percentile bootstrap of both samples (Efron & Tibshirani 1993, ch. 16).
    """
    samples = _checked(other), _checked(baseline)
    estimate, count = float(samples[0].mean() - samples[1].mean()), sum(map(len, samples))
    if min(map(len, samples)) == 1:
        return Interval(estimate, math.nan, math.nan, count)
    generator = np.random.default_rng(0)
    means = [
        sample[generator.integers(len(sample), size=(RESAMPLES, len(sample)))].mean(axis=1)
        for sample in samples
    ]
    low, high = np.quantile(means[0] - means[1], [0.025, 0.975])
    return Interval(estimate, float(low), float(high), count)


def _bootstrap(values: np.ndarray, statistic: Callable[..., Any]) -> Interval:
    estimate = float(statistic(values, axis=0))
    # One value does not tell how far the next may be from it.
    if math.isnan(estimate) or len(values) == 1:
        return Interval(estimate, math.nan, math.nan, len(values))
    generator = np.random.default_rng(0)
    count = len(values)
    # In blocks, so that 1,000 episodes do not need RESAMPLES x 1,000 values at once.
    resampled = np.concatenate(
        [
            statistic(values[generator.integers(count, size=(RESAMPLES // 8, count))], axis=1)
            for _ in range(8)
        ]
    )
    tail = (1 - CONFIDENCE) / 2
    # A share has no value in the resamples whose reference happens to be 0.
    low, high = np.quantile(resampled[~np.isnan(resampled)], [tail, 1 - tail])
    return Interval(estimate, float(low), float(high), count)


def _checked(values: ArrayLike) -> np.ndarray:
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or not array.size:
        raise ConfigurationError(
            f'needs one or more values in one dimension, got shape {array.shape}'
        )
    return array


def _paired(first: ArrayLike, second: ArrayLike) -> np.ndarray:
    left, right = _checked(first), _checked(second)
    if left.shape != right.shape:
        raise ConfigurationError(
            f'pairs need equal sizes, got {left.size} and {right.size} values'
        )
    return np.stack([left, right], axis=1)
