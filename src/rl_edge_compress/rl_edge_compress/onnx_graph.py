"""Write a float32 actor as an ONNX model, to run the same network in ONNX Runtime."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from rl_edge_compress.numpy_graph import ELEMENTWISE, NumpyGraph
from rl_edge_compress.tflite_file import BOUNDS, Operator
from rl_edge_core.errors import ArtifactError

OPSET = 18
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

    written = _Nodes(graph)
    for step in graph.operators:
        written.step(step)
    result, actions = f't{graph.output_index}', None
    if limits is not None:
        actions = len(limits[0])
        low, high = (written.constant(f'action_{n}', limits[n == 'high']) for n in ('low', 'high'))
        result = written.add('Min', [written.add('Max', [result, low], 'above'), high], 'limited')
    renamed = {f't{graph.input_index}': INPUT, result: OUTPUT}
    nodes = [
        helper.make_node(
            kind,
            [renamed.get(name, name) for name in inputs],
            [renamed.get(name, name) for name in outputs],
            **more,
        )
        for kind, inputs, outputs, more in written.nodes
    ]
    used = {name for node in nodes for name in node.input}
    floats = TensorProto.FLOAT
    model = helper.make_model(
        helper.make_graph(
            nodes,
            'actor',
            [helper.make_tensor_value_info(INPUT, floats, [1, observation_size])],
            [helper.make_tensor_value_info(OUTPUT, floats, [1, actions])],
            [
                numpy_helper.from_array(value, name)
                for name, value in written.arrays.items()
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


class _Nodes:
    """The nodes and constants of a graph on its way to ONNX."""

    def __init__(self, graph: NumpyGraph) -> None:
        self.graph = graph
        self.nodes: list[tuple[str, list[str], list[str], dict[str, Any]]] = []
        self.arrays = {f't{index}': value for index, value in graph.constants.items()}

    def add(self, kind: str, inputs: list[str], *outputs: str, **attributes: Any) -> str:
        """Add a node and return the name of its first output."""
        self.nodes.append((kind, inputs, list(outputs), attributes))
        return outputs[0]

    def constant(self, name: str, values: Any, dtype: Any = np.float32) -> str:
        self.arrays[name] = np.asarray(values, dtype)
        return name

    def step(self, step: Operator) -> None:
        """Add what does the same as an operator, and its fused activation."""
        inputs = [f't{index}' for index in step.inputs if index >= 0]
        outputs = [f't{index}' for index in step.outputs]
        before = [f'{outputs[0]}_linear'] if step.fused else outputs
        self.operator(step.name, step, inputs, before)
        if step.fused:
            self.operator(step.fused, step, before, outputs)

    def operator(self, name: str, step: Operator, inputs: list[str], outputs: list[str]) -> None:
        if name in ELEMENTWISE and ELEMENTWISE[name].onnx:
            self.add(ELEMENTWISE[name].onnx, inputs, *outputs)
        elif name in BOUNDS:
            low, high = BOUNDS[name]
            limits = {f'{outputs[0]}_low': low, f'{outputs[0]}_high': high}
            names = [self.constant(limit, value) for limit, value in limits.items()]
            self.add('Clip', [inputs[0], *names], *outputs)
        elif name in _SPECIAL:
            _SPECIAL[name](self, step, inputs, outputs)
        else:
            raise ArtifactError(f'no ONNX form of operator {name}')


def _attributes_of(kind: str, **attributes: Any) -> Callable[..., None]:
    """Return what adds one node with attributes: values, or functions of the step's options."""

    def write(w: _Nodes, step: Operator, inputs: list[str], outputs: list[str]) -> None:
        found = {
            name: value(step.options) if callable(value) else value
            for name, value in attributes.items()
        }
        w.add(kind, inputs, *outputs, **found)

    return write


def _gelu(w: _Nodes, step: Operator, inputs: list[str], outputs: list[str]) -> None:
    (x,), out = inputs, outputs[0]
    root, one, half = (
        w.constant(f'{out}_{name}', value)
        for name, value in (('root', np.sqrt(0.5)), ('one', 1.0), ('half', 0.5))
    )
    error = w.add('Erf', [w.add('Mul', [x, root], f'{out}_scaled')], f'{out}_erf')
    double = w.add('Mul', [x, w.add('Add', [error, one], f'{out}_sum')], f'{out}_double')
    w.add('Mul', [double, half], out)


def _gather(w: _Nodes, step: Operator, inputs: list[str], outputs: list[str]) -> None:
    indices = w.constant(inputs[1], w.arrays[inputs[1]], np.int64)
    w.add('Gather', [inputs[0], indices], *outputs, axis=int(step.options.axis))


def _mean(w: _Nodes, step: Operator, inputs: list[str], outputs: list[str]) -> None:
    values = w.graph.constants[step.inputs[1]].reshape(-1)
    axes = w.constant(f'{outputs[0]}_axes', values, np.int64)
    w.add('ReduceMean', [inputs[0], axes], *outputs, keepdims=int(step.options.keepDims))


def _strided_slice(w: _Nodes, step: Operator, inputs: list[str], outputs: list[str]) -> None:
    begin, end, strides = (w.graph.constants[i].astype(np.int64) for i in step.inputs[1:4])
    axes = range(1, len(begin))
    last = np.iinfo(np.int64).max
    parts = {
        'starts': [0 if step.options.beginMask >> a & 1 else begin[a] for a in axes],
        'ends': [last if step.options.endMask >> a & 1 else end[a] for a in axes],
        'axes': list(axes),
        'steps': [strides[a] for a in axes],
    }
    names = [w.constant(f'{outputs[0]}_{name}', part, np.int64) for name, part in parts.items()]
    w.add('Slice', [inputs[0], *names], *outputs)


def _split(w: _Nodes, step: Operator, inputs: list[str], outputs: list[str]) -> None:
    axis = int(w.graph.constants[step.inputs[0]])
    w.add('Split', inputs[1:], *outputs, axis=axis, num_outputs=step.options.numSplits)


_SPECIAL: Mapping[str, Callable[[_Nodes, Operator, list[str], list[str]], object]] = {
    'FULLY_CONNECTED': _attributes_of('Gemm', transB=1),
    'SOFTMAX': _attributes_of('Softmax', axis=-1),
    'MEAN': _mean,
    'STRIDED_SLICE': _strided_slice,
    'SPLIT': _split,
    'SQUARED_DIFFERENCE': lambda w, step, inputs, outputs: w.add(
        'Mul', [w.add('Sub', inputs, f'{outputs[0]}_difference')] * 2, *outputs
    ),
    'RSQRT': lambda w, step, inputs, outputs: w.add(
        'Reciprocal', [w.add('Sqrt', inputs, f'{outputs[0]}_root')], *outputs
    ),
    'SQUARE': lambda w, step, inputs, outputs: w.add('Mul', [*inputs, *inputs], *outputs),
    'LEAKY_RELU': _attributes_of('LeakyRelu', alpha=lambda options: float(options.alpha)),
    'GELU': _gelu,
    'GATHER': _gather,
    'CONCATENATION': _attributes_of('Concat', axis=lambda options: int(options.axis)),
    'RESHAPE': lambda w, step, inputs, outputs: w.add('Flatten', inputs[:1], *outputs, axis=1),
}
