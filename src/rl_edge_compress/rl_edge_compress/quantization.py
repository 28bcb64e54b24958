"""TensorFlow Lite's affine mapping between real numbers and 8-bit integers."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rl_edge_core.errors import ConfigurationError

LOWEST, HIGHEST = -128, 127


@dataclass(frozen=True)
class AffineMapping:
    """real = scale * (quantized - zero_point), with q = round(real / scale) + zero_point.

    As TensorFlow Lite's quantization specification and Jacob et al. 2018 (eq. 1) have it.
    """

    scale: float
    zero_point: int

    def quantize(self, values: ArrayLike) -> np.ndarray:
        """Return the int8 nearest to real values; those outside the range are clamped."""
        steps = rounded(np.asarray(values, np.float64) / self.scale)
        return np.clip(steps + self.zero_point, LOWEST, HIGHEST).astype(np.int8)

    def dequantize(self, quantized: ArrayLike) -> np.ndarray:
        """Return the real values (float32) that int8 ones stand for."""
        shifted = np.asarray(quantized, np.int32) - self.zero_point
        return (self.scale * shifted).astype(np.float32)


def rounded(values: ArrayLike) -> np.ndarray:
    """Round as TFLite does (std::round): halves away from zero, where NumPy takes the even."""
    return np.copysign(np.floor(np.abs(values) + 0.5), values)


def activation_mapping(minimum: float, maximum: float) -> AffineMapping:
    """Return the mapping of a range of activations onto -128..127.

    The range is widened to hold 0, which must have an exact integer. Raise ConfigurationError
    for a range that is empty or not finite.
    """
    low, high = min(minimum, 0.0), max(maximum, 0.0)
    if not np.isfinite([low, high]).all() or minimum > maximum:
        raise ConfigurationError(
            f'[{minimum}, {maximum}] is no range; needs finite, ordered bounds'
        )
    if low == high:
        return AffineMapping(scale=1.0, zero_point=0)
    scale = (high - low) / (HIGHEST - LOWEST)
    zero_point = rounded(np.float64(LOWEST - low / scale))
    return AffineMapping(scale, int(np.clip(zero_point, LOWEST, HIGHEST)))


def weight_mapping(weights: np.ndarray) -> AffineMapping:
    """Return the symmetric mapping of weights onto -127..127, with zero point 0."""
    largest = float(np.max(np.abs(weights), initial=0.0))
    return AffineMapping(scale=largest / HIGHEST if largest else 1.0, zero_point=0)
