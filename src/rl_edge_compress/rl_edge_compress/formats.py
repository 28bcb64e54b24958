"""The numeric formats an actor is written in: what export and every recipe end with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import keras
import numpy as np

from rl_edge_core.errors import ConfigurationError
from rl_edge_compress import convert, quantize


@dataclass(frozen=True)
class NumericFormat:
    """A way to write an actor as a `.tflite` file."""

    name: str
    write: Callable[[keras.Model, np.ndarray | None], bytes]
    """(actor, calibration observations or None) -> the file's bytes."""
    tolerance: float
    """Between runtimes and processors, as a share of half the action range."""
    weights: str
    """What dense weights are stored in."""


FORMATS: Mapping[str, NumericFormat] = {
    entry.name: entry
    for entry in (
        NumericFormat(
            'float32', lambda actor, _: convert.float32_tflite(actor), 1e-4, 'float32'
        ),
        NumericFormat(
            'float16', lambda actor, _: convert.float16_tflite(actor), 5e-3, 'float16'
        ),
        NumericFormat(
            'dynamic',
            lambda actor, _: quantize.dynamic_tflite(convert.float32_tflite(actor)),
            0.05,
            'int8',
        ),
        NumericFormat(
            'int8',
            lambda actor, seen: quantize.int8_tflite(convert.float32_tflite(actor), seen),
            0.05,
            'int8',
        ),
        NumericFormat(
            'int4',
            lambda actor, _: quantize.int4_tflite(convert.float32_tflite(actor)),
            0.05,
            'int4',
        ),
    )
}


def numeric_format(name: str) -> NumericFormat:
    """Return a format by name; raise ConfigurationError that lists those there are."""
    if name not in FORMATS:
        raise ConfigurationError(f'no numeric format {name!r}; there are {", ".join(FORMATS)}')
    return FORMATS[name]
