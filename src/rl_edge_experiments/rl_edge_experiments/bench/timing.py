"""Time calls that take microseconds, several kinds of them in turn."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_TURN_SEC = 0.02
"""How long a contender has its turn, quick or slow: the processor is as warm for all. Short, since
a shared machine changes its pace within a second, and contenders are compared turn by turn."""
_WARM_UP_SEC = 0.1


@dataclass(frozen=True)
class Contender:
    """Something to be timed."""

    name: str
    call: Callable[[np.ndarray], Any]
    """Takes one observation, shape (observation_size,) float32."""
    batch: int = 10
    """Calls between two looks at the clock, so that looking costs nothing that counts."""


def time_round(
    contenders: Sequence[Contender], observations: np.ndarray, order: np.random.Generator
) -> dict[str, float]:
    """Return us a call by name, the median over batches; each has its turn, in any order.

    ``observations`` has shape (count, observation_size).
    """
    times = {}
    for index in order.permutation(len(contenders)):
        contender = contenders[index]
        times[contender.name] = _time(contender, observations, turn_sec=_TURN_SEC)
    return times


def warm_up(contenders: Sequence[Contender], observations: np.ndarray) -> None:
    """Call each of them, so that nothing is done for the first time later."""
    for contender in contenders:
        _time(contender, observations, turn_sec=_WARM_UP_SEC)


def _time(contender: Contender, observations: np.ndarray, *, turn_sec: float) -> float:
    call = contender.call
    rows = [observations[i % len(observations)] for i in range(contender.batch)]
    durations: list[int] = []
    while sum(durations) < turn_sec * 1e9:
        started = time.perf_counter_ns()
        for row in rows:
            call(row)
        durations.append(time.perf_counter_ns() - started)
    return float(np.median(durations)) / contender.batch / 1e3


@dataclass(frozen=True)
class Spread:
    """A figure over the rounds of a run: its median, and the quartiles as its noise."""

    median: float
    quartile_low: float
    quartile_high: float

    def __str__(self) -> str:
        """Write the median and the quartiles."""
        low, high = self.quartile_low, self.quartile_high
        return f'{self.median:.4g} [{low:.4g}, {high:.4g}]'


def spread(values: np.ndarray | Sequence[float]) -> Spread:
    """Return the spread of ``values``, shape (rounds,)."""
    low, middle, high = np.quantile(np.asarray(values, np.float64), [0.25, 0.5, 0.75])
    return Spread(float(middle), float(low), float(high))


def section(figures: Mapping[str, Spread], **details: Any) -> dict[str, Any]:
    """Return a section of bench.json: medians by name, and their quartiles beside them."""
    return {
        **{name: figure.median for name, figure in figures.items()},
        'quartiles': {
            name: [figure.quartile_low, figure.quartile_high] for name, figure in figures.items()
        },
        **details,
    }
