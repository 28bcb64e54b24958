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
    'ABS': 'Abs',
    'LOG': 'Log',
    'SIN': 'Sin',
    'COS': 'Cos',
    'POW': 'Pow',
    'GREATER': 'Greater',
    'SELECT': 'Where',
    'SELECT_V2': 'Where',
    'HARD_SWISH': 'HardSwish',
    'PRELU': 'PRelu',
}
FUSED = {1: 'Relu', 2: 'RELU_N1_TO_1', 3: 'RELU6', 4: 'Tanh'}
BOUNDS = {'RELU_N1_TO_1': (-1.0, 1.0), 'RELU6': (0.0, 6.0)}
INPUT, OUTPUT = 'observation', 'action'


def onnx_model(
    graph: NumpyGraph,
    observation_size: int,
    *,
    limits: tuple[np.ndarray, np.ndarray] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """Return the ONNX file of a graph, observation (1, n) -> action (1, m), weights inside.

    ``limits`` (low, high), each (m,), bound the action as `Policy.act` does; ``metadata`` goes
    into the file. Needs the package onnx. Raise ArtifactError for operators that it has no form
    for here.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Node] = []
    arrays: Arrays = {f't{i}': value for i, value in graph.constants.items()}
    for step in graph.operators:
        nodes += _nodes(step, graph, arrays)
    result = f't{graph.output_index}'
    if limits is not None:
        arrays['action_low'], arrays['action_high'] = limits
        nodes.append(('Max', [result, 'action_low'], ['above_low'], {}))
        nodes.append(('Min', ['above_low', 'action_high'], ['limited'], {}))
        result = 'limited'
    renamed = {f't{graph.input_index}': INPUT, result: OUTPUT}
    used = {name for _, inputs, _, _ in nodes for name in inputs}
    actions = len(limits[0]) if limits is not None else None
    model = helper.make_model(
        helper.make_graph(
            [
                helper.make_node(
                    kind,
                    [renamed.get(name, name) for name in ins],
                    [renamed.get(name, name) for name in outs],
                    **more,
                )
                for kind, ins, outs, more in nodes
            ],
            'actor',
            [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [1, observation_size])],
            [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [1, actions])],
            [
                numpy_helper.from_array(value, name)
                for name, value in arrays.items()
                if name in used
            ],
        ),
        opset_imports=[helper.make_opsetid('', OPSET)],
        ir_version=9,
        producer_name='rl_edge',
    )
    helper.set_model_props(model, dict(metadata or {}))
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
    return _with_activation(nodes, activation, arrays) if activation else nodes


def _with_activation(nodes: list[Node], activation: str, arrays: Arrays) -> list[Node]:
    kind, inputs, outputs, more = nodes[-1]
    before = f'{outputs[0]}_linear'
    last: list[Node] = [(activation, [before], outputs, {})]
    if activation in BOUNDS:
        last = _bounded(activation, before, outputs, arrays)
    return [*nodes[:-1], (kind, inputs, [before], more), *last]


def _bounded(activation: str, source: str, outputs: list[str], arrays: Arrays) -> list[Node]:
    names = [f'{outputs[0]}_low', f'{outputs[0]}_high']
    for name, bound in zip(names, BOUNDS[activation], strict=True):
        arrays[name] = np.array(bound, np.float32)
    return [('Clip', [source, *names], outputs, {})]


def _bounded_step(
    step: Operator, graph: NumpyGraph, arrays: Arrays, inputs: list[str], outputs: list[str]
) -> list[Node]:
    return _bounded(step.name, inputs[0], outputs, arrays)


def _square(
    step: Operator, graph: NumpyGraph, arrays: Arrays, inputs: list[str], outputs: list[str]
) -> list[Node]:
    return [('Mul', [inputs[0], inputs[0]], outputs, {})]


def _leaky(
    step: Operator, graph: NumpyGraph, arrays: Arrays, inputs: list[str], outputs: list[str]
) -> list[Node]:
    return [('LeakyRelu', inputs, outputs, {'alpha': float(step.options.alpha)})]


def _gelu(
    step: Operator, graph: NumpyGraph, arrays: Arrays, inputs: list[str], outputs: list[str]
) -> list[Node]:
    name = outputs[0]
    arrays |= {
        f'{name}_root': np.array(np.sqrt(0.5), np.float32),
        f'{name}_one': np.array(1.0, np.float32),
        f'{name}_half': np.array(0.5, np.float32),
    }
    return [
        ('Mul', [inputs[0], f'{name}_root'], [f'{name}_scaled'], {}),
        ('Erf', [f'{name}_scaled'], [f'{name}_erf'], {}),
        ('Add', [f'{name}_erf', f'{name}_one'], [f'{name}_sum'], {}),
        ('Mul', [inputs[0], f'{name}_sum'], [f'{name}_double'], {}),
        ('Mul', [f'{name}_double', f'{name}_half'], outputs, {}),
    ]


def _gather(
    step: Operator, graph: NumpyGraph, arrays: Arrays, inputs: list[str], outputs: list[str]
) -> list[Node]:
    arrays[inputs[1]] = arrays[inputs[1]].astype(np.int64)
    return [('Gather', inputs, outputs, {'axis': int(step.options.axis)})]


def _concatenation(
    step: Operator, graph: NumpyGraph, arrays: Arrays, inputs: list[str], outputs: list[str]
) -> list[Node]:
    return [('Concat', inputs, outputs, {'axis': int(step.options.axis)})]


def _reshape(
    step: Operator, graph: NumpyGraph, arrays: Arrays, inputs: list[str], outputs: list[str]
) -> list[Node]:
    return [('Flatten', inputs[:1], outputs, {'axis': 1})]


def _softmax(
    step: Operator, graph: NumpyGraph, arrays: Arrays, inputs: list[str], outputs: list[str]
) -> list[Node]:
    return [('Softmax', inputs, outputs, {'axis': -1})]


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
    'RELU_N1_TO_1': _bounded_step,
    'RELU6': _bounded_step,
    'SQUARE': _square,
    'LEAKY_RELU': _leaky,
    'GELU': _gelu,
    'GATHER': _gather,
    'CONCATENATION': _concatenation,
    'RESHAPE': _reshape,
    'SOFTMAX': _softmax,
}
