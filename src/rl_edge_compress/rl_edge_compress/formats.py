"""The numeric formats an actor is written in: what export and every recipe end with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import keras
import numpy as np

from rl_edge_compress import convert, quantize
from rl_edge_compress.calibration import checked_observations
from rl_edge_compress.equalize import equalize_inputs
from rl_edge_compress.rounding import round_kernels
from rl_edge_core.errors import ConfigurationError


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


def _float32(actor: keras.Model, calibration: np.ndarray | None) -> bytes:
    return convert.float32_tflite(convert.compact(actor))


def _float16(actor: keras.Model, calibration: np.ndarray | None) -> bytes:
    return convert.float16_tflite(convert.compact(actor))


def _dynamic(actor: keras.Model, calibration: np.ndarray | None) -> bytes:
    return quantize.dynamic_tflite(_prepared_float32(actor, calibration, bits=8))


def _int8(actor: keras.Model, calibration: np.ndarray | None) -> bytes:
    seen = checked_observations(calibration, int(actor.inputs[0].shape[-1]))
    return quantize.int8_tflite(_prepared_float32(actor, seen, bits=8), seen)


def _int4(actor: keras.Model, calibration: np.ndarray | None) -> bytes:
    return quantize.int4_tflite(_prepared_float32(actor, calibration, bits=4))


def _prepared_float32(actor: keras.Model, calibration: np.ndarray | None, *, bits: int) -> bytes:
    """Return the actor in float32 with what quantization is about to lose made up for."""
    float32 = _float32(actor, None)
    if calibration is None:
        return float32
    return round_kernels(equalize_inputs(float32, calibration), calibration, bits=bits)


FORMATS: Mapping[str, NumericFormat] = {
    entry.name: entry
    for entry in (
        NumericFormat('float32', _float32, 1e-4, 'float32'),
        NumericFormat('float16', _float16, 5e-3, 'float16'),
        NumericFormat('dynamic', _dynamic, 0.05, 'int8'),
        NumericFormat('int8', _int8, 0.05, 'int8'),
        NumericFormat('int4', _int4, 0.05, 'int4'),
    )
}


def numeric_format(name: str) -> NumericFormat:
    """Return a format by name; raise ConfigurationError that lists those there are."""
    if name not in FORMATS:
        raise ConfigurationError(f'no numeric format {name!r}; there are {", ".join(FORMATS)}')
    return FORMATS[name]
