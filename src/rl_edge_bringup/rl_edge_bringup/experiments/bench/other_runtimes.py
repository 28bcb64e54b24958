"""The same actor in NumPy and in ONNX Runtime, built from its float32 file's operators."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rl_edge_compress.numpy_graph import COMPUTE, NumpyGraph
from rl_edge_core.errors import ConfigurationError

Call = Callable[[np.ndarray], np.ndarray]
_OPSET = 13
_ONE_TO_ONE = {
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
_FUSED = {0: None, 1: 'Relu', 4: 'Tanh'}


def numpy_call(graph: NumpyGraph) -> Call:
    """Return observation (n,) -> action (m,) in NumPy, without look-ups between operators."""
    values: list[Any] = [None] * (1 + max(_indices(graph)))
    for index, constant in graph.constants.items():
        values[index] = constant
    steps = [
        (COMPUTE[step.name], step.options, step.inputs, step.outputs) for step in graph.operators
    ]

    def act(observation: np.ndarray) -> np.ndarray:
        values[graph.input_index] = observation[None]
        for compute, options, inputs, outputs in steps:
            result = compute(options, *[values[i] if i >= 0 else None for i in inputs])
            if isinstance(result, list):
                for index, part in zip(outputs, result, strict=True):
                    values[index] = part
            else:
                values[outputs[0]] = result
        action: np.ndarray = values[graph.output_index][0]
        return action

    return act


def _indices(graph: NumpyGraph) -> set[int]:
    used = {index for step in graph.operators for index in (*step.inputs, *step.outputs)}
    return used | set(graph.constants) | {graph.input_index, graph.output_index}


def onnx_call(graph: NumpyGraph, *, observation_size: int, action_size: int) -> Call:
    """Return observation (n,) -> action (m,) by ONNX Runtime on one thread.

    Raise ConfigurationError for an operator that has no ONNX form here.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        onnx_model(graph, observation_size=observation_size, action_size=action_size),
        options,
        providers=['CPUExecutionProvider'],
    )
    name = session.get_inputs()[0].name

    def act(observation: np.ndarray) -> np.ndarray:
        action: np.ndarray = session.run(None, {name: observation[None]})[0][0]
        return action

    return act


def onnx_model(graph: NumpyGraph, *, observation_size: int, action_size: int) -> bytes:
    """Return the graph as a serialized ONNX model."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Any] = []
    for step in graph.operators:
        nodes += _onnx_nodes(step, graph)
    inputs = helper.make_tensor_value_info(
        _name(graph.input_index), TensorProto.FLOAT, [1, observation_size]
    )
    outputs = helper.make_tensor_value_info(
        _name(graph.output_index), TensorProto.FLOAT, [1, action_size]
    )
    constants = [
        numpy_helper.from_array(np.asarray(value), _name(index))
        for index, value in graph.constants.items()
        if any(_name(index) in node.input for node in nodes)
    ]
    body = helper.make_graph(nodes, 'actor', [inputs], [outputs], constants)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid('', _OPSET)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def _name(index: int) -> str:
    return f't{index}' if index >= 0 else ''


def _onnx_nodes(step: Any, graph: NumpyGraph) -> list[Any]:
    from onnx import helper

    names = [_name(index) for index in step.inputs]
    out = _name(step.outputs[0])
    fused = _FUSED.get(int(getattr(step.options, 'fusedActivationFunction', 0)), '?')
    if fused == '?':
        raise ConfigurationError(f'{step.name} has a fused activation that has no ONNX form here')
    target = f'{out}_linear' if fused else out
    if step.name == 'FULLY_CONNECTED':
        nodes = [helper.make_node('Gemm', names, [target], transB=1)]
    elif step.name in _ONE_TO_ONE:
        nodes = [helper.make_node(_ONE_TO_ONE[step.name], names, [target])]
    elif step.name == 'SQUARED_DIFFERENCE':
        nodes = [
            helper.make_node('Sub', names, [f'{out}_difference']),
            helper.make_node('Mul', [f'{out}_difference'] * 2, [target]),
        ]
    elif step.name == 'RSQRT':
        nodes = [
            helper.make_node('Sqrt', names, [f'{out}_root']),
            helper.make_node('Reciprocal', [f'{out}_root'], [target]),
        ]
    elif step.name == 'MEAN':
        axes = graph.constants[step.inputs[1]].reshape(-1).tolist()
        keep = int(step.options.keepDims)
        nodes = [helper.make_node('ReduceMean', names[:1], [target], axes=axes, keepdims=keep)]
    elif step.name == 'STRIDED_SLICE':
        nodes = _slice_nodes(step, graph, names[0], target)
    elif step.name == 'SPLIT':
        axis = int(graph.constants[step.inputs[0]].reshape(-1)[0])
        parts = [_name(index) for index in step.outputs]
        return [helper.make_node('Split', names[1:], parts, axis=axis)]
    else:
        raise ConfigurationError(f'{step.name} has no ONNX form here')
    return [*nodes, helper.make_node(fused, [target], [out])] if fused else nodes


def _slice_nodes(step: Any, graph: NumpyGraph, source: str, target: str) -> list[Any]:
    """Return a slice of columns; rows are kept, there is one."""
    from onnx import helper

    begin, end = (graph.constants[index].reshape(-1) for index in step.inputs[1:3])
    last = len(begin) - 1
    has_no_end = bool(int(step.options.endMask) >> last & 1)
    bounds: Sequence[tuple[str, int]] = (
        ('starts', int(begin[last])),
        ('ends', np.iinfo(np.int32).max if has_no_end else int(end[last])),
        ('axes', last),
    )
    constants = [
        helper.make_node('Constant', [], [f'{target}_{name}'], value_ints=[value])
        for name, value in bounds
    ]
    inputs = [source, *(f'{target}_{name}' for name, _ in bounds)]
    return [*constants, helper.make_node('Slice', inputs, [target])]
