"""Values over the rounds of a benchmark: medians and quartiles."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Spread:
    """A value over the rounds of a benchmark: its median, and the quartiles as its noise."""

    median: float
    quartile_low: float
    quartile_high: float


def spread(values: np.ndarray | Sequence[float]) -> Spread:
    """Return the spread of ``values``, shape (rounds,)."""
    low, middle, high = np.quantile(np.asarray(values, np.float64), [0.25, 0.5, 0.75])
    return Spread(float(middle), float(low), float(high))


def section(values: Mapping[str, Spread], **details: Any) -> dict[str, Any]:
    """Return a section of bench.json: medians by name, and their quartiles beside them."""
    return {
        **{name: value.median for name, value in values.items()},
        'quartiles': {
            name: [value.quartile_low, value.quartile_high] for name, value in values.items()
        },
        **details,
    }
