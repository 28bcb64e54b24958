from dataclasses import dataclass

import keras
import numpy as np
import pytest
from numpy.typing import ArrayLike

from rl_edge_compress.compensate import (
    channel_scales,
    compensated,
    equalize_inputs,
    kernel_scales,
    round_kernels,
    rounded,
)
from rl_edge_compress.formats import FORMATS, dense_ranges, int8_tflite
from rl_edge_compress.numpy_graph import numpy_graph
from rl_edge_compress.tflite_file import constant, operators, read_model, type_name
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


def activation_mapping(minimum: float, maximum: float) -> AffineMapping:
    """Return the mapping of a range of activations onto -128..127.

    The range is widened to hold 0, which must have an exact integer. Raise ConfigurationError
    for a range that is empty or not finite.
    """
    low, high = min(minimum, 0.0), max(maximum, 0.0)
    if not np.isfinite([low, high]).all() or minimum > maximum:
        raise ConfigurationError(
            f'[{minimum}, {maximum}] is not a range; needs finite, ordered bounds'
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


def test_zero_to_ten_has_the_scale_of_255_steps():
    mapping = activation_mapping(0.0, 10.0)
    assert mapping.scale == pytest.approx(10 / 255)
    assert round(mapping.scale, 4) == 0.0392
    assert mapping.zero_point == -128
    # 5 / (10 / 255) = 127.5, half a step, goes away from zero: 128 - 128.
    assert mapping.quantize([0.0, 5.0, 10.0]).tolist() == [-128, 0, 127]
    assert mapping.dequantize([-128, 127]) == pytest.approx([0.0, 10.0])


def test_values_outside_the_range_are_clamped():
    assert activation_mapping(0.0, 10.0).quantize([-3.0, 11.0]).tolist() == [-128, 127]


def test_a_range_on_both_sides_of_zero():
    mapping = activation_mapping(-1.0, 3.0)
    assert mapping.scale == pytest.approx(4 / 255)
    assert mapping.zero_point == -64  # -128 + 1 / (4 / 255) = -64.25
    assert mapping.dequantize(mapping.quantize([0.0]))[0] == 0.0


def test_a_range_is_widened_to_hold_zero():
    assert activation_mapping(2.0, 10.0) == activation_mapping(0.0, 10.0)
    assert activation_mapping(-10.0, -2.0) == activation_mapping(-10.0, 0.0)


def test_a_range_of_zeros_alone_has_a_scale_all_the_same():
    assert activation_mapping(0.0, 0.0).quantize([0.0]).tolist() == [0]


@pytest.mark.parametrize('bounds', [(np.nan, 1.0), (0.0, np.inf), (2.0, 1.0)])
def test_what_is_no_range_is_refused(bounds):
    with pytest.raises(ConfigurationError, match='is not a range'):
        activation_mapping(*bounds)


def test_halves_are_rounded_away_from_zero():
    assert rounded(np.array([0.5, 1.5, 2.5, -0.5, -2.5])).tolist() == [1, 2, 3, -1, -3]


def test_weights_are_symmetric():
    mapping = weight_mapping(np.array([-0.5, 0.25]))
    assert mapping.scale == pytest.approx(0.5 / 127)
    assert mapping.quantize([-0.5, 0.0, 0.25]).tolist() == [-127, 0, 64]  # 63.5 up


def test_error_is_at_most_half_a_step(visited):
    mapping = activation_mapping(float(visited.min()), float(visited.max()))
    error = np.abs(mapping.dequantize(mapping.quantize(visited)) - visited)
    assert error.max() <= mapping.scale / 2 * 1.001


def test_the_file_holds_the_numbers_of_this_arithmetic(float32, visited):
    balanced = equalize_inputs(float32, visited)
    graph = numpy_graph(balanced)
    ranges = dense_ranges(graph, visited)
    model = read_model(int8_tflite(balanced, visited))
    tensors = model.subgraphs[0].tensors
    float_dense = [step for step in graph.operators if step.name == 'FULLY_CONNECTED']
    dense = [step for step in operators(model) if step.name == 'FULLY_CONNECTED']
    assert len(dense) == len(float_dense) == 3
    for step, before in zip(dense, float_dense, strict=True):
        for index, old in (
            (step.inputs[0], before.inputs[0]),
            (step.outputs[0], before.outputs[0]),
        ):
            expected = activation_mapping(*ranges[old])
            assert tensors[index].quantization.scale[0] == pytest.approx(expected.scale, rel=1e-5)
            assert tensors[index].quantization.zeroPoint[0] == expected.zero_point
        kernel = graph.constants[before.inputs[1]]
        expected = weight_mapping(kernel)
        stored = tensors[step.inputs[1]].quantization
        assert stored.scale[0] == pytest.approx(expected.scale, rel=1e-5)
        assert list(stored.zeroPoint) == [0]
        # A weight may lie so near to half a step that float32 and float64 disagree.
        difference = constant(model, step.inputs[1]).astype(int) - expected.quantize(kernel)
        assert np.abs(difference).max() <= 1
        assert np.count_nonzero(difference) <= 0.02 * kernel.size


def test_channel_scales_balance_inputs_and_weights():
    inputs = np.array([[8.0, -1.0, 0.0], [-2.0, 0.5, 0.0]])
    kernel = np.array([[0.5, -0.1], [0.2, 4.0], [1.0, 1.0]])
    scales = channel_scales(inputs, kernel)
    assert scales.tolist() == pytest.approx([4.0, 0.5, 1.0])  # sqrt(8 / 0.5), sqrt(1 / 4), dead
    assert np.abs(inputs / scales).max(axis=0)[:2] == pytest.approx([2.0, 2.0])
    assert np.abs(kernel * scales[:, None]).max(axis=1)[:2] == pytest.approx([2.0, 2.0])


def test_scales_are_those_of_the_bits():
    kernel = np.array([[-1.27, 0.5], [0.7, 0.2]])
    assert kernel_scales(kernel, bits=8, per_channel=False) == pytest.approx(0.01)
    assert kernel_scales(kernel, bits=4, per_channel=True)[:, 0] == pytest.approx([1.27 / 7, 0.1])


def test_the_ends_of_a_4_bit_actor_keep_8_bits():
    """A network of two layers has no other weights, and gets 4 bits in both."""
    for hidden, types in (((16, 16), ['int8', 'int4', 'int8']), ((16,), ['int4', 'int4'])):
        source = value = keras.Input((4,), name='observation')
        for units in hidden:
            value = keras.layers.Dense(units, 'relu')(value)
        actor = keras.Model(source, keras.layers.Dense(2)(value))
        seen = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
        model = read_model(FORMATS['int4'].write(actor, seen))
        tensors = model.subgraphs[0].tensors
        assert types == [
            type_name(tensors[step.inputs[1]])
            for step in operators(model)
            if step.name == 'FULLY_CONNECTED'
        ]


def test_the_next_weight_takes_over_what_rounding_left():
    """Inputs 2 and 3 are always equal: 0.4 + 0.4 is 0 + 1 on them, where nearest gives 0 + 0."""
    kernel, bias = np.array([[127.0, 0.4, 0.4]]), np.zeros(1)
    common = np.random.default_rng(0).normal(size=1000)
    inputs = np.column_stack([np.random.default_rng(1).normal(size=1000), common, common])
    integers, _ = compensated(
        kernel, bias, inputs, kernel_scales(kernel, bits=8, per_channel=False)
    )
    assert integers.tolist() == [[127, 0, 1]]


def test_the_bias_takes_over_what_a_constant_input_loses():
    kernel, bias = np.array([[127.0, 0.4]]), np.array([3.0])
    inputs = np.column_stack([np.random.default_rng(0).normal(size=1000), np.full(1000, 5.0)])
    integers, moved = compensated(
        kernel, bias, inputs, kernel_scales(kernel, bits=8, per_channel=False)
    )
    assert integers.tolist() == [[127, 0]]
    assert moved is not None
    assert moved[0] == pytest.approx(3.0 + 0.4 * 5, abs=0.2)  # but for the damping


@pytest.mark.parametrize(('bits', 'steps'), [(8, 127), (4, 7)])
def test_compensated_weights_are_integers_zeros_stay_and_the_error_falls(bits, steps):
    generator = np.random.default_rng(2)
    inputs = generator.normal(size=(500, 20)) @ generator.normal(size=(20, 128))  # correlated
    kernel, bias = generator.normal(size=(8, 128)), generator.normal(size=8)
    kernel[:, ::3] = 0
    scales = kernel_scales(kernel, bits=bits, per_channel=True)
    weights, moved = compensated(kernel, bias, inputs, scales)
    integers = weights / scales
    assert integers == pytest.approx(np.round(integers), abs=1e-4)
    assert np.abs(integers).max(axis=1) == pytest.approx(steps)  # so the scale stays as it is
    assert not weights[:, ::3].any()
    exact = inputs @ kernel.T + bias
    nearest = inputs @ (rounded(kernel / scales) * scales).T + bias
    error = np.abs(inputs @ weights.T + moved - exact).mean()
    assert error < 0.7 * np.abs(nearest - exact).mean()


def test_the_file_holds_the_compensated_integers(float32, visited):
    prepared = round_kernels(float32, visited, bits=8)
    kernels = [
        constant(read_model(prepared), step.inputs[1])
        for step in operators(read_model(prepared))
        if step.name == 'FULLY_CONNECTED'
    ]
    model = read_model(int8_tflite(prepared, visited))
    dense = [step for step in operators(model) if step.name == 'FULLY_CONNECTED']
    for step, kernel in zip(dense, kernels, strict=True):
        expected = kernel / kernel_scales(kernel, bits=8, per_channel=False)
        assert constant(model, step.inputs[1]) == pytest.approx(expected, abs=1e-3)
