"""Benchmarks: every value beside its limit or its alternative, measured in the same run."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def section(values: Mapping[str, np.ndarray], **details: Any) -> dict[str, Any]:
    """Return a section of bench.json from values by name, each of shape (rounds,).

    Medians by name, and their quartiles beside them: the noise.
    """
    quartiles = {
        name: np.quantile(np.asarray(rounds, np.float64), [0.25, 0.5, 0.75]).tolist()
        for name, rounds in values.items()
    }
    return {
        **{name: median for name, (_, median, _) in quartiles.items()},
        'quartiles': {name: [low, high] for name, (low, _, high) in quartiles.items()},
        **details,
    }
