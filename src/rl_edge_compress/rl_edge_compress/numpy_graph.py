"""Run a float32 actor's graph in NumPy: to calibrate on all its tensors, and as a baseline."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from rl_edge_compress.tflite_file import Operator, constants, operators, read_model
from rl_edge_core.errors import ArtifactError


@dataclass(frozen=True)
class NumpyGraph:
    """The operators and constants of a float32 graph."""

    operators: tuple[Operator, ...]
    constants: Mapping[int, np.ndarray]
    input_index: int
    output_index: int

    def tensors(self, observations: np.ndarray) -> dict[int, np.ndarray]:
        """Return every computed tensor by index for observations (batch, n)."""
        values: dict[int, np.ndarray] = {self.input_index: np.asarray(observations, np.float32)}
        for operator in self.operators:
            inputs = [values.get(index, self.constants.get(index)) for index in operator.inputs]
            result = _compute(operator.name, operator.options, *inputs)
            if operator.fused:
                result = _compute(operator.fused, None, result)
            results = result if isinstance(result, list) else [result]
            values.update(zip(operator.outputs, results, strict=True))
        return values

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        """Return actions (batch, m) for observations (batch, n)."""
        return self.tensors(observations)[self.output_index]


def numpy_graph(content: bytes) -> NumpyGraph:
    """Read a float32 `.tflite` file; raise ArtifactError for an operator that NumPy can't do."""
    model = read_model(content)
    graph = model.subgraphs[0]
    steps = tuple(operators(model))
    known = {*ELEMENTWISE, *COMPUTE}
    unknown = sorted({step.name for step in steps} - known)
    if unknown:
        raise ArtifactError(
            f'no NumPy form of {", ".join(unknown)}; there is one of {", ".join(sorted(known))}'
        )
    return NumpyGraph(
        operators=steps,
        constants=constants(model),
        input_index=int(graph.inputs[0]),
        output_index=int(graph.outputs[0]),
    )


def _compute(name: str, options: Any, *inputs: Any) -> Any:
    if name in ELEMENTWISE:
        return ELEMENTWISE[name].compute(*inputs)
    return COMPUTE[name](options, *inputs)


def _dense(options: Any, x: np.ndarray, kernel: np.ndarray, bias: Any = None) -> np.ndarray:
    result = x @ kernel.T
    return result if bias is None else result + bias


def _over_axes(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    return lambda options, x, axes: function(
        x, axis=tuple(axes.reshape(-1).tolist()), keepdims=options.keepDims
    )


def _strided_slice(
    options: Any, x: np.ndarray, begin: np.ndarray, end: np.ndarray, strides: np.ndarray
) -> np.ndarray:
    slices = [slice(None)]  # the batch, which is 1 in the file, stays whole
    for axis in range(1, len(begin)):
        first = None if options.beginMask >> axis & 1 else int(begin[axis])
        last = None if options.endMask >> axis & 1 else int(end[axis])
        slices.append(slice(first, last, int(strides[axis])))
    return x[tuple(slices)]


def _softmax(options: Any, x: np.ndarray) -> np.ndarray:
    raised = np.exp(options.beta * (x - x.max(axis=-1, keepdims=True)))
    return raised / raised.sum(axis=-1, keepdims=True)


def _gelu(options: Any, x: np.ndarray) -> np.ndarray:
    if options.approximate:
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + _erf(x / np.sqrt(2)).astype(np.float32))


_erf = np.vectorize(math.erf, otypes=[np.float64])


def _reshape(options: Any, x: np.ndarray, *shape: np.ndarray) -> np.ndarray:
    sizes = [int(size) for size in np.asarray(shape[0] if shape else options.newShape)]
    # The converter sometimes drops the batch, which is 1 in the file.
    return x.reshape(len(x), *(sizes[1:] if len(sizes) > 1 else sizes))


class Elementwise(NamedTuple):
    """An operator whose result depends, value by value, on its inputs alone."""

    compute: Callable[..., np.ndarray]
    """In NumPy."""
    c: str = ''
    """In C, of the inputs' elements {0}, {1}, ...; empty where C has another or no form."""
    onnx: str = ''
    """Name of the same operator in ONNX; empty where ONNX has another or no form."""


ELEMENTWISE: Mapping[str, Elementwise] = {
    'ADD': Elementwise(np.add, '{0} + {1}', 'Add'),
    'SUB': Elementwise(np.subtract, '{0} - {1}', 'Sub'),
    'MUL': Elementwise(np.multiply, '{0} * {1}', 'Mul'),
    'DIV': Elementwise(np.divide, '{0} / {1}', 'Div'),
    'MINIMUM': Elementwise(np.minimum, '{0} < {1} ? {0} : {1}', 'Min'),
    'MAXIMUM': Elementwise(np.maximum, '{0} > {1} ? {0} : {1}', 'Max'),
    'SQUARED_DIFFERENCE': Elementwise(
        lambda left, right: np.square(left - right), '({0} - {1}) * ({0} - {1})'
    ),
    'NEG': Elementwise(np.negative, '-{0}', 'Neg'),
    'ABS': Elementwise(np.abs, '{0} < 0.0f ? -{0} : {0}', 'Abs'),
    'SQUARE': Elementwise(np.square, '{0} * {0}'),
    'SQRT': Elementwise(np.sqrt, 'policy_sqrt({0})', 'Sqrt'),
    'RSQRT': Elementwise(lambda x: 1.0 / np.sqrt(x), '1.0f / policy_sqrt({0})'),
    'EXP': Elementwise(np.exp, 'policy_exp({0})', 'Exp'),
    'LOG': Elementwise(np.log, 'policy_log({0})', 'Log'),
    'SIN': Elementwise(np.sin, onnx='Sin'),
    'COS': Elementwise(np.cos, onnx='Cos'),
    'POW': Elementwise(np.power, onnx='Pow'),
    'TANH': Elementwise(np.tanh, 'policy_tanh({0})', 'Tanh'),
    'LOGISTIC': Elementwise(lambda x: 1.0 / (1.0 + np.exp(-x)), 'policy_logistic({0})', 'Sigmoid'),
    'ELU': Elementwise(
        lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
        '{0} > 0.0f ? {0} : policy_expm1({0})',
        'Elu',
    ),
    'RELU': Elementwise(lambda x: np.maximum(x, 0), '{0} > 0.0f ? {0} : 0.0f', 'Relu'),
    'RELU6': Elementwise(
        lambda x: np.clip(x, 0, 6), '{0} < 0.0f ? 0.0f : {0} > 6.0f ? 6.0f : {0}'
    ),
    'RELU_N1_TO_1': Elementwise(
        lambda x: np.clip(x, -1, 1), '{0} < -1.0f ? -1.0f : {0} > 1.0f ? 1.0f : {0}'
    ),
    'HARD_SWISH': Elementwise(
        lambda x: x * np.clip(x + 3, 0, 6) / 6,
        '{0} * ({0} < -3.0f ? 0.0f : {0} > 3.0f ? 6.0f : {0} + 3.0f) / 6.0f',
        'HardSwish',
    ),
    'PRELU': Elementwise(
        lambda x, slope: np.where(x > 0, x, x * slope), '{0} > 0.0f ? {0} : {0} * {1}', 'PRelu'
    ),
    'GREATER': Elementwise(np.greater, '{0} > {1}', 'Greater'),
    'GREATER_EQUAL': Elementwise(np.greater_equal),
    'SELECT': Elementwise(np.where, '{0} ? {1} : {2}', 'Where'),
    'SELECT_V2': Elementwise(np.where, '{0} ? {1} : {2}', 'Where'),
}
COMPUTE: Mapping[str, Callable[..., Any]] = {
    'FULLY_CONNECTED': _dense,
    'LEAKY_RELU': lambda options, x: np.where(x > 0, x, x * np.float32(options.alpha)),
    'GELU': _gelu,
    'SOFTMAX': _softmax,
    'CONCATENATION': lambda options, *parts: np.concatenate(parts, axis=options.axis),
    'SUM': _over_axes(np.sum),
    'MEAN': _over_axes(np.mean),
    'STRIDED_SLICE': _strided_slice,
    'GATHER': lambda options, x, indices: np.take(x, indices, axis=options.axis),
    'SPLIT': lambda options, axis, x: np.split(x, options.numSplits, axis=int(axis)),
    'RESHAPE': _reshape,
}
"""Other operators: options and inputs -> the result, or a list of several."""
