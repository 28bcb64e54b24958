"""Quantize the dense layers of a float32 `.tflite` actor; everything else stays in float.

Input, normalisation, clipping, selection and LayerNorm stay in float32: put through one 8-bit
scale, raw velocities and contact forces would leave each other no resolution. Weights have one
scale per layer (TENSORWISE): with one per channel, tflite-runtime 2.14 can't load the file.
"""

import warnings
from typing import Any

import numpy as np
from litert_quantizer import qtyping, quantizer

from rl_edge_compress.calibration import checked_observations, dense_ranges
from rl_edge_compress.numpy_graph import numpy_graph
from rl_edge_compress.rounding import dense_weight_bits
from rl_edge_compress.tflite_file import read_model, tidy, without_names
from rl_edge_core.tensorflow_setup import without_noise

DENSE = qtyping.TFLOperationName.FULLY_CONNECTED
PER_LAYER = qtyping.QuantGranularity.TENSORWISE
PER_CHANNEL = qtyping.QuantGranularity.CHANNELWISE


def int8_tflite(float32: bytes, observations: np.ndarray) -> bytes:
    """Return the actor with dense layers in 8-bit integers, weights and activations.

    Activation ranges come from ``observations``, shape (count, n): ones that the policy visits.
    Raise ConfigurationError when they are of no use.
    """
    tool = _tool(float32)
    tool.add_static_config('.*', DENSE, 8, 8, PER_LAYER)
    return _quantized(tool, _calibration(float32, observations))


def dynamic_tflite(float32: bytes) -> bytes:
    """Return the actor with 8-bit weights; runtimes quantize activations as they come."""
    tool = _tool(float32)
    tool.add_dynamic_config('.*', DENSE, 8, PER_LAYER)
    return _quantized(tool)


def int4_tflite(float32: bytes) -> bytes:
    """Return the actor with 4-bit weights, one scale per channel: 15 steps per layer are too few.

    The first and the last layer have 8 bits where there are others: they hold few of the weights,
    and the action depends most on theirs.
    """
    tool = _tool(float32)
    model = read_model(float32)
    for index, bits in dense_weight_bits(model, 4).items():
        name = model.subgraphs[0].tensors[index].name.decode()
        tool.add_dynamic_config(f'^{name};?$', DENSE, bits, PER_CHANNEL if bits < 8 else PER_LAYER)
    return _quantized(tool)


def _tool(float32: bytes) -> quantizer.Quantizer:
    return quantizer.Quantizer(bytearray(float32))


def _quantized(tool: quantizer.Quantizer, calibration: dict[str, Any] | None = None) -> bytes:
    with warnings.catch_warnings(), without_noise():
        # It opens an interpreter that keeps all tensors, which warns of the memory it takes.
        warnings.filterwarnings('ignore', message='.*experimental_preserve_all_tensors.*')
        result = tool.quantize(
            calibration, enable_progress_bar=False, enable_progress_report=False
        )
    return without_names(tidy(bytes(result.quantized_model)))


def _calibration(float32: bytes, observations: np.ndarray) -> dict[str, Any]:
    """Return ranges in litert-quantizer's form: tensor name -> {'min', 'max'}."""
    graph = numpy_graph(float32)
    tensors = read_model(float32).subgraphs[0].tensors
    width = int(tensors[graph.input_index].shape[-1])
    ranges = dense_ranges(graph, checked_observations(observations, width))
    return {
        tensors[index].name.decode(): {
            'min': np.array([[low]], np.float32),
            'max': np.array([[high]], np.float32),
        }
        for index, (low, high) in ranges.items()
    }
