"""The numeric formats an actor is written in: what export and every recipe end with.

Only dense layers are quantized. Input, normalisation, clipping, selection and LayerNorm stay in
float32: put through one 8-bit scale, raw velocities and contact forces would leave each other no
resolution. Weights have one scale per layer (TENSORWISE): with one per channel, tflite-runtime
2.14 can't load the file.
"""

import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from litert_quantizer import qtyping, quantizer

from rl_edge_compress.compensate import dense_weight_bits, equalize_inputs, round_kernels
from rl_edge_compress.keras_models import layer_chain
from rl_edge_compress.numpy_graph import NumpyGraph, numpy_graph
from rl_edge_compress.tflite_file import read_model, tidy, without_names
from rl_edge_core.errors import ArtifactError, ConfigurationError
from rl_edge_core.tensorflow_setup import without_noise

SIGNATURE = 'serving_default'
DENSE = qtyping.TFLOperationName.FULLY_CONNECTED
PER_LAYER = qtyping.QuantGranularity.TENSORWISE
PER_CHANNEL = qtyping.QuantGranularity.CHANNELWISE
SATURATION = 4.0
"""Where tanh is 1 to within 0.0007: inputs beyond it can share one integer."""


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


def numeric_format(name: str) -> NumericFormat:
    """Return a format by name; raise ConfigurationError that lists those there are."""
    if name not in FORMATS:
        raise ConfigurationError(f'no numeric format {name!r}; there are {", ".join(FORMATS)}')
    return FORMATS[name]


def float32_tflite(actor: keras.Model, *, weights: tf.DType | None = None) -> bytes:
    """Return ``actor``, observation (1, n) -> action (1, m), as a float32 `.tflite` file.

    ``weights`` are stored in another type where one is given; runtimes compute in float32.
    """
    # As constants: the variables of a Keras 3 model would be resources, which the edge runtimes
    # don't have. Keras' own archive writes the same file, in half as much time again.
    values = [(variable, variable.numpy()) for variable in actor.variables]
    inputs = tf.TensorSpec((1, actor.inputs[0].shape[-1]), tf.float32, name='observation')

    @tf.function(autograph=False, input_signature=[inputs])
    def act(observation: tf.Tensor) -> dict[str, tf.Tensor]:
        constants = [(variable, tf.constant(value)) for variable, value in values]
        with keras.StatelessScope(state_mapping=constants):
            return {'action': actor(observation, training=False)}

    module = tf.Module()
    module.act = act
    with tempfile.TemporaryDirectory(prefix='rl_edge-') as folder:
        tf.saved_model.save(module, folder, signatures={SIGNATURE: act})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if weights is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [weights]
        with without_noise():
            return tidy(bytes(converter.convert()))


def compact(actor: keras.Model) -> keras.Model:
    """Return the actor without head units that its action does not use.

    An actor that branches is returned as it is: it can be converted, though not pruned.
    """
    try:
        return layer_chain(actor).model()
    except ArtifactError:
        return actor


def int8_tflite(float32: bytes, observations: np.ndarray) -> bytes:
    """Return a float32 file with dense layers in 8-bit integers, weights and activations.

    Activation ranges come from ``observations``, shape (count, n): ones that the policy visits.
    """
    tool = quantizer.Quantizer(bytearray(float32))
    tool.add_static_config('.*', DENSE, 8, 8, PER_LAYER)
    graph = numpy_graph(float32)
    tensors = read_model(float32).subgraphs[0].tensors
    ranges = {
        tensors[index].name.decode(): {
            'min': np.array([[low]], np.float32),
            'max': np.array([[high]], np.float32),
        }
        for index, (low, high) in dense_ranges(graph, observations).items()
    }
    return _quantized(tool, ranges)


def _dynamic(actor: keras.Model, calibration: np.ndarray | None) -> bytes:
    """Write 8-bit weights; runtimes quantize activations as they come."""
    tool = quantizer.Quantizer(bytearray(_prepared_float32(actor, calibration, bits=8)))
    tool.add_dynamic_config('.*', DENSE, 8, PER_LAYER)
    return _quantized(tool)


def _int8(actor: keras.Model, calibration: np.ndarray | None) -> bytes:
    seen = checked_observations(calibration, int(actor.inputs[0].shape[-1]))
    return int8_tflite(_prepared_float32(actor, seen, bits=8), seen)


def _int4(actor: keras.Model, calibration: np.ndarray | None) -> bytes:
    """Write 4-bit weights, one scale per channel: 15 steps per layer are too few.

    The first and the last layer have 8 bits where there are others: they hold few of the weights,
    and the action depends most on theirs.
    """
    float32 = _prepared_float32(actor, calibration, bits=4)
    tool = quantizer.Quantizer(bytearray(float32))
    model = read_model(float32)
    for index, bits in dense_weight_bits(model, 4).items():
        name = model.subgraphs[0].tensors[index].name.decode()
        tool.add_dynamic_config(f'^{name};?$', DENSE, bits, PER_CHANNEL if bits < 8 else PER_LAYER)
    return _quantized(tool)


def _prepared_float32(actor: keras.Model, calibration: np.ndarray | None, *, bits: int) -> bytes:
    """Return the actor in float32 with what quantization is about to lose made up for."""
    float32 = float32_tflite(compact(actor))
    if calibration is None:
        return float32
    return round_kernels(equalize_inputs(float32, calibration), calibration, bits=bits)


def _quantized(tool: quantizer.Quantizer, ranges: dict[str, Any] | None = None) -> bytes:
    """Return what a quantizer makes; ``ranges`` by tensor name, in litert-quantizer's form."""
    with warnings.catch_warnings(), without_noise():
        # It opens an interpreter that keeps all tensors, which warns of the memory it takes.
        warnings.filterwarnings('ignore', message='.*experimental_preserve_all_tensors.*')
        result = tool.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    return without_names(tidy(bytes(result.quantized_model)))


FORMATS: Mapping[str, NumericFormat] = {
    entry.name: entry
    for entry in (
        NumericFormat('float32', lambda actor, _: float32_tflite(compact(actor)), 1e-4, 'float32'),
        NumericFormat(
            'float16',
            lambda actor, _: float32_tflite(compact(actor), weights=tf.float16),
            5e-3,
            'float16',
        ),
        NumericFormat('dynamic', _dynamic, 0.05, 'int8'),
        NumericFormat('int8', _int8, 0.05, 'int8'),
        NumericFormat('int4', _int4, 0.05, 'int4'),
    )
}


def checked_observations(observations: np.ndarray | None, size: int) -> np.ndarray:
    """Return calibration observations as float32, shape (count, size).

    Raise ConfigurationError when there are none, when they are not finite or of another width,
    and when all are the same: then no range can be learned from them.
    """
    remedy = 'give some hundred observations that the policy visits, e.g. from a rollout or a bag'
    values = np.asarray([] if observations is None else observations, np.float32)
    if not values.size:
        raise ConfigurationError(
            f'8-bit activations need calibration, got no observations: {remedy}'
        )
    if values.ndim != 2 or values.shape[1] != size:
        raise ConfigurationError(
            f'calibration observations have shape {values.shape}, must have (count, {size})'
        )
    faulty = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if faulty.size:
        raise ConfigurationError(
            f'{faulty.size} calibration observations are not finite, the first is number '
            f'{faulty[0]}: leave them out'
        )
    if np.array_equal(values.min(axis=0), values.max(axis=0)):
        raise ConfigurationError(
            f'all {len(values)} calibration observations are the same: {remedy}'
        )
    return values


def dense_ranges(graph: NumpyGraph, observations: np.ndarray) -> Mapping[int, tuple[float, float]]:
    """Return (smallest, largest) of each tensor at a dense layer, by tensor index.

    What feeds a tanh is cut to where tanh saturates: beyond it the integers would be wasted, and
    a step of the rest would grow with them.
    """
    tensors = graph.tensors(observations)
    into_tanh = {step.inputs[0] for step in graph.operators if step.name == 'TANH'}
    # A split or a slice hands the head's values on to tanh unchanged.
    for step in reversed(graph.operators):
        if step.name in ('SPLIT', 'STRIDED_SLICE') and into_tanh & set(step.outputs):
            into_tanh.add(step.inputs[1 if step.name == 'SPLIT' else 0])
    ranges = {}
    for operator in graph.operators:
        if operator.name == 'FULLY_CONNECTED':
            for index in (operator.inputs[0], operator.outputs[0]):
                low, high = float(tensors[index].min()), float(tensors[index].max())
                if index in into_tanh:
                    low, high = max(low, -SATURATION), min(high, SATURATION)
                ranges[index] = (low, high)
    return ranges
