"""Write a float32 actor as an ONNX model, to run the same network in ONNX Runtime."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rl_edge_compress.numpy_graph import NumpyGraph
from rl_edge_compress.tflite_file import Operator
from rl_edge_core.errors import ArtifactError

OPSET = 18
Node = tuple[str, list[str], list[str], dict[str, Any]]
"""(ONNX operator, inputs, outputs, attributes)."""
Arrays = dict[str, np.ndarray]

SAME_NAME = {
    'ADD': 'Add',
    'SUB': 'Sub',
    'MUL': 'Mul',
    'DIV': 'Div',
    'MINIMUM': 'Min',
    'MAXIMUM': 'Max',
    'NEG': 'Neg',
    'SQRT': 'Sqrt',
    'EXP': 'Exp',
    'TANH': 'Tanh',
    'LOGISTIC': 'Sigmoid',
    'ELU': 'Elu',
    'RELU': 'Relu',
}
FUSED = {1: 'Relu', 4: 'Tanh'}


def onnx_model(graph: NumpyGraph, observation_size: int) -> bytes:
    """Return the ONNX file of a graph, observation (1, n) -> action.

    Needs the package onnx. Raise ArtifactError for operators that it has no form for here.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Node] = []
    arrays: Arrays = {f't{i}': value for i, value in graph.constants.items()}
    for step in graph.operators:
        nodes += _nodes(step, graph, arrays)
    used = {name for _, inputs, _, _ in nodes for name in inputs}
    source, result = f't{graph.input_index}', f't{graph.output_index}'
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node(kind, ins, outs, **more) for kind, ins, outs, more in nodes],
            'actor',
            [helper.make_tensor_value_info(source, TensorProto.FLOAT, [1, observation_size])],
            [helper.make_tensor_value_info(result, TensorProto.FLOAT, [1, None])],
            [
                numpy_helper.from_array(value, name)
                for name, value in arrays.items()
                if name in used
            ],
        ),
        opset_imports=[helper.make_opsetid('', OPSET)],
        ir_version=9,
    )
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _nodes(step: Operator, graph: NumpyGraph, arrays: Arrays) -> list[Node]:
    inputs = [f't{index}' for index in step.inputs if index >= 0]
    outputs = [f't{index}' for index in step.outputs]
    if step.name in SAME_NAME:
        nodes: list[Node] = [(SAME_NAME[step.name], inputs, outputs, {})]
    elif step.name in SPECIAL:
        nodes = SPECIAL[step.name](step, graph, arrays, inputs, outputs)
    else:
        raise ArtifactError(f'no ONNX form of operator {step.name}')
    activation = FUSED.get(getattr(step.options, 'fusedActivationFunction', 0) or 0)
    return _with_activation(nodes, activation) if activation else nodes


def _with_activation(nodes: list[Node], activation: str) -> list[Node]:
    kind, inputs, outputs, more = nodes[-1]
    before = f'{outputs[0]}_linear'
    return [*nodes[:-1], (kind, inputs, [before], more), (activation, [before], outputs, {})]


def _dense(
    step: Operator, graph: NumpyGraph, arrays: Arrays, inputs: list[str], outputs: list[str]
) -> list[Node]:
    return [('Gemm', inputs, outputs, {'transB': 1})]


def _squared_difference(
    step: Operator, graph: NumpyGraph, arrays: Arrays, inputs: list[str], outputs: list[str]
) -> list[Node]:
    part = f'{outputs[0]}_difference'
    return [('Sub', inputs, [part], {}), ('Mul', [part, part], outputs, {})]


def _rsqrt(
    step: Operator, graph: NumpyGraph, arrays: Arrays, inputs: list[str], outputs: list[str]
) -> list[Node]:
    root = f'{outputs[0]}_root'
    return [('Sqrt', inputs, [root], {}), ('Reciprocal', [root], outputs, {})]


def _mean(
    step: Operator, graph: NumpyGraph, arrays: Arrays, inputs: list[str], outputs: list[str]
) -> list[Node]:
    axes = f'{outputs[0]}_axes'
    arrays[axes] = graph.constants[step.inputs[1]].astype(np.int64).reshape(-1)
    return [('ReduceMean', [inputs[0], axes], outputs, {'keepdims': int(step.options.keepDims)})]


def _strided_slice(
    step: Operator, graph: NumpyGraph, arrays: Arrays, inputs: list[str], outputs: list[str]
) -> list[Node]:
    begin, end, strides = (graph.constants[i].astype(np.int64) for i in step.inputs[1:4])
    axes = range(1, len(begin))
    last = np.iinfo(np.int64).max
    parts = {
        'starts': [0 if step.options.beginMask >> a & 1 else begin[a] for a in axes],
        'ends': [last if step.options.endMask >> a & 1 else end[a] for a in axes],
        'axes': list(axes),
        'steps': [strides[a] for a in axes],
    }
    names = [inputs[0]]
    for name, values in parts.items():
        arrays[f'{outputs[0]}_{name}'] = np.asarray(values, np.int64)
        names.append(f'{outputs[0]}_{name}')
    return [('Slice', names, outputs, {})]


def _split(
    step: Operator, graph: NumpyGraph, arrays: Arrays, inputs: list[str], outputs: list[str]
) -> list[Node]:
    more = {'axis': int(graph.constants[step.inputs[0]]), 'num_outputs': step.options.numSplits}
    return [('Split', inputs[1:], outputs, more)]


SPECIAL: Mapping[str, Callable[..., list[Node]]] = {
    'FULLY_CONNECTED': _dense,
    'SQUARED_DIFFERENCE': _squared_difference,
    'RSQRT': _rsqrt,
    'MEAN': _mean,
    'STRIDED_SLICE': _strided_slice,
    'SPLIT': _split,
}
