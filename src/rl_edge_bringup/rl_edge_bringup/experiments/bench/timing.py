"""Time calls that take microseconds, several kinds of them in turn."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_BATCH = 10
"""Calls between two looks at the clock, so that looking costs nothing that counts."""


@dataclass(frozen=True)
class Contender:
    """Something to be timed."""

    name: str
    call: Callable[[np.ndarray], Any]
    """Takes one observation, shape (observation_size,) float32."""
    batches: int = 100
    """Of ten calls, a round."""


def time_in_turn(
    contenders: Sequence[Contender], observations: np.ndarray, *, rounds: int
) -> dict[str, np.ndarray]:
    """Return us a call by name, shape (rounds,): the median over the batches of each round.

    ``observations`` has shape (count, observation_size). All contenders have their turn in every
    round, each round in another order, so that what disturbs the machine disturbs all of them.
    """
    for contender in contenders:
        _time(contender, observations, batches=2)
    times: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    generator = np.random.default_rng(0)
    for _ in range(rounds):
        for index in generator.permutation(len(contenders)):
            contender = contenders[index]
            times[contender.name].append(_time(contender, observations, contender.batches))
    return {name: np.array(values) for name, values in times.items()}


def _time(contender: Contender, observations: np.ndarray, batches: int) -> float:
    call = contender.call
    rows = [observations[i % len(observations)] for i in range(_BATCH)]
    durations = []
    for _ in range(batches):
        started = time.perf_counter_ns()
        for row in rows:
            call(row)
        durations.append(time.perf_counter_ns() - started)
    return float(np.median(durations)) / _BATCH / 1e3


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
