"""Balance the input channels of an actor before it is quantized; its float result stays the same.

One 8-bit scale serves all inputs of a dense layer, and one all its weights. Where a policy does
not normalise its observations, joint angles of +-1 rad share a scale with velocities of
+-10 rad/s and keep a handful of steps. Dividing channel j by s_j and multiplying the weights
that take it by s_j changes nothing in float; s_j = sqrt(max|x_j| / max|w_j|) gives both the same
range in every channel (Nagel et al. 2019, eq. 9-11; SmoothQuant, Xiao et al. 2023, alpha = 0.5).
"""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from rl_edge_compress.numpy_graph import numpy_graph
from rl_edge_compress.tflite_file import add_buffer, constant, operators, read_model, write_model


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
