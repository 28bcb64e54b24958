"""Change a float32 actor so that quantizing its weights and activations loses less.

One 8-bit scale serves all inputs of a dense layer, and one all its weights. Where a policy does
not normalise its observations, joint angles of +-1 rad share a scale with velocities of
+-10 rad/s and keep a handful of steps. Dividing channel j by s_j and multiplying the weights
that take it by s_j changes nothing in float; s_j = sqrt(max|x_j| / max|w_j|) gives both the same
range in every channel (Nagel et al. 2019, eq. 9-11; SmoothQuant, Xiao et al. 2023, alpha = 0.5).

Each weight rounded to its nearest integer leaves errors that add up. GPTQ (Frantar et al. 2023,
Alg. 1, after Optimal Brain Surgeon) rounds input by input, and lets the weights that are still to
be rounded, and at last the bias, take over the error, as the inputs' correlations tell.
"""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from rl_edge_compress.numpy_graph import numpy_graph
from rl_edge_compress.tflite_file import add_buffer, constant, operators, read_model, write_model

DAMPING = 0.01
"""Share of the mean of the correlations' diagonal added to it, as in the paper."""


def round_kernels(float32: bytes, observations: np.ndarray, *, bits: int) -> bytes:
    """Return a float32 actor whose dense weights are multiples of their scale already.

    A quantizer of so many ``bits`` then rounds nothing: at 8 bits with one scale per layer, at 4
    with one a channel (unit). ``observations`` (count, n) are ones that the policy visits.
    Layers have the bits of `dense_weight_bits`.
    """
    graph = numpy_graph(float32)
    tensors = graph.tensors(observations)
    model = read_model(float32)
    bits_of = dense_weight_bits(model, bits)
    for step in operators(model):
        kernel = constant(model, step.inputs[1]) if step.name == 'FULLY_CONNECTED' else None
        if kernel is None:
            continue
        # The converter leaves out a bias of zeros.
        has_bias = len(step.inputs) > 2 and step.inputs[2] >= 0
        bias = constant(model, step.inputs[2]) if has_bias else None
        given = bits_of[step.outputs[0]]
        scales = kernel_scales(kernel, bits=given, per_channel=given < 8)
        kernel, bias = compensated(kernel, bias, tensors[step.inputs[0]], scales)
        for index, values in ((step.inputs[1], kernel), (step.inputs[2], bias)):
            if values is not None:
                # A buffer of its own: equal constants may share one.
                model.subgraphs[0].tensors[index].buffer = add_buffer(model, values)
    return write_model(model)


def dense_weight_bits(model: Any, bits: int) -> dict[int, int]:
    """Return the bits of each dense layer's weights, by the index of its output.

    Below 8, the first and the last layer keep 8 where there are others.
    """
    outputs = [step.outputs[0] for step in operators(model) if step.name == 'FULLY_CONNECTED']
    ends = {outputs[0], outputs[-1]} if len(outputs) > 2 else set()
    return {index: max(bits, 8) if index in ends else bits for index in outputs}


def rounded(values: np.ndarray) -> np.ndarray:
    """Round as TFLite does (std::round): halves away from zero, where NumPy takes the even."""
    return np.copysign(np.floor(np.abs(values) + 0.5), values)


def kernel_scales(kernel: np.ndarray, *, bits: int, per_channel: bool) -> np.ndarray:
    """Return the step of each unit (units, 1) of a kernel (units, inputs), symmetric about 0."""
    highest = 2 ** (bits - 1) - 1
    largest = np.abs(kernel).max(axis=1, keepdims=True)
    if not per_channel:
        largest = np.full_like(largest, largest.max())
    return np.where(largest > 0, largest, 1.0) / highest


def compensated(
    kernel: np.ndarray, bias: np.ndarray | None, inputs: np.ndarray, scales: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return kernel (units, inputs) in multiples of ``scales`` (units, 1), and its bias (units,).

    ``inputs`` (count, inputs) are what the layer sees. Zeros stay zero, for the sake of pruned
    layers, and a unit's largest weight keeps its integer, so that the scale stays the same.
    """
    seen, weights = inputs.astype(np.float64), kernel.astype(np.float64)
    if bias is not None:
        seen = np.column_stack([seen, np.ones(len(seen))])
        weights = np.column_stack([weights, bias])
    # Upper U, U^T U = H^-1, H the damped correlations of what is seen.
    correlations = seen.T @ seen / len(seen)
    correlations += (
        DAMPING * np.trace(correlations) / len(correlations) * np.eye(len(correlations))
    )
    factor = np.linalg.cholesky(np.linalg.inv(correlations)).T
    highest = np.abs(kernel).max(axis=1, keepdims=True) / scales
    nearest = rounded(kernel / scales)
    fixed = (kernel == 0) | (np.abs(nearest) >= rounded(highest))
    for place in range(kernel.shape[1]):
        free = rounded(np.clip(weights[:, place] / scales[:, 0], -highest[:, 0], highest[:, 0]))
        integers = np.where(fixed[:, place], nearest[:, place], free)
        error = (weights[:, place] - integers * scales[:, 0]) / factor[place, place]
        weights[:, place] = integers * scales[:, 0]
        weights[:, place + 1 :] -= error[:, None] * factor[place, place + 1 :]
    weights = weights.astype(np.float32)
    return (weights, None) if bias is None else (weights[:, :-1], weights[:, -1])


def channel_scales(inputs: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Return s (n,) for inputs (count, n) and kernel (n, units); 1 for a dead channel."""
    largest_input = np.abs(inputs).max(axis=0)
    largest_weight = np.abs(kernel).max(axis=1)
    alive = (largest_input > 0) & (largest_weight > 0)
    ratio = np.divide(largest_input, largest_weight, out=np.ones_like(largest_input), where=alive)
    return np.sqrt(ratio).astype(np.float32)


def equalize_inputs(float32: bytes, observations: np.ndarray) -> bytes:
    """Return a float32 `.tflite` actor with its first dense layer's inputs divided by s.

    It works on the file, since the converter would fold a scaling layer back into the weights.
    """
    graph = numpy_graph(float32)
    model = read_model(float32)
    place, dense = next(
        (i, step) for i, step in enumerate(operators(model)) if step.name == 'FULLY_CONNECTED'
    )
    kernel = constant(model, dense.inputs[1])
    assert kernel is not None  # of a dense layer, read from a graph that NumPy runs
    scales = channel_scales(graph.tensors(observations)[dense.inputs[0]], kernel.T)
    subgraph = model.subgraphs[0]
    subgraph.tensors[dense.inputs[1]].buffer = add_buffer(model, kernel * scales)
    divisor = _add_tensor(model, 'equalization', (1, len(scales)))
    subgraph.tensors[divisor].buffer = add_buffer(model, 1.0 / scales)
    balanced = _add_tensor(model, 'equalized', (1, len(scales)))
    subgraph.operators.insert(place, _multiplication(model, (dense.inputs[0], divisor), balanced))
    inputs = subgraph.operators[place + 1].inputs
    subgraph.operators[place + 1].inputs = [balanced, *(int(index) for index in inputs[1:])]
    return write_model(model)


def _add_tensor(model: Any, name: str, shape: tuple[int, ...]) -> int:
    tensor = schema.TensorT()
    tensor.name, tensor.shape = name, list(shape)
    tensor.type, tensor.buffer = schema.TensorType.FLOAT32, 0
    model.subgraphs[0].tensors.append(tensor)
    return len(model.subgraphs[0].tensors) - 1


def _multiplication(model: Any, inputs: tuple[int, int], output: int) -> Any:
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.MUL
    code.version = 1
    model.operatorCodes.append(code)
    operator = schema.OperatorT()
    operator.opcodeIndex = len(model.operatorCodes) - 1
    operator.inputs, operator.outputs = list(inputs), [output]
    operator.builtinOptionsType = schema.BuiltinOptions.MulOptions
    operator.builtinOptions = schema.MulOptionsT()
    return operator
