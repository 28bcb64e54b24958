"""Run a float32 actor's graph in NumPy: to calibrate on all its tensors, and as a baseline."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

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
            results = _compute(operator, inputs)
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
    unknown = sorted({step.name for step in steps} - set(COMPUTE))
    if unknown:
        raise ArtifactError(
            f'no NumPy form of {", ".join(unknown)}; there is one of {", ".join(sorted(COMPUTE))}'
        )
    return NumpyGraph(
        operators=steps,
        constants=constants(model),
        input_index=int(graph.inputs[0]),
        output_index=int(graph.outputs[0]),
    )


def _compute(operator: Operator, inputs: list[Any]) -> list[np.ndarray]:
    result = COMPUTE[operator.name](operator.options, *inputs)
    if operator.fused:
        result = COMPUTE[operator.fused](None, result)
    return result if isinstance(result, list) else [result]


def _dense(options: Any, x: np.ndarray, kernel: np.ndarray, bias: Any = None) -> np.ndarray:
    result = x @ kernel.T
    return result if bias is None else result + bias


def _plain(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """Return a function without options as one that is handed some."""
    return lambda options, *inputs: function(*inputs)


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


COMPUTE: Mapping[str, Callable[..., Any]] = {
    'FULLY_CONNECTED': _dense,
    'ADD': _plain(np.add),
    'SUB': _plain(np.subtract),
    'MUL': _plain(np.multiply),
    'DIV': _plain(np.divide),
    'MINIMUM': _plain(np.minimum),
    'MAXIMUM': _plain(np.maximum),
    'SQUARED_DIFFERENCE': _plain(lambda left, right: np.square(left - right)),
    'NEG': _plain(np.negative),
    'RSQRT': _plain(lambda x: 1.0 / np.sqrt(x)),
    'SQRT': _plain(np.sqrt),
    'EXP': _plain(np.exp),
    'TANH': _plain(np.tanh),
    'LOGISTIC': _plain(lambda x: 1.0 / (1.0 + np.exp(-x))),
    'ELU': _plain(lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0)))),
    'RELU': _plain(lambda x: np.maximum(x, 0)),
    'RELU_N1_TO_1': _plain(lambda x: np.clip(x, -1, 1)),
    'ABS': _plain(np.abs),
    'LOG': _plain(np.log),
    'SIN': _plain(np.sin),
    'COS': _plain(np.cos),
    'SQUARE': _plain(np.square),
    'RELU6': _plain(lambda x: np.clip(x, 0, 6)),
    'HARD_SWISH': _plain(lambda x: x * np.clip(x + 3, 0, 6) / 6),
    'LEAKY_RELU': lambda options, x: np.where(x > 0, x, x * np.float32(options.alpha)),
    'PRELU': _plain(lambda x, slope: np.where(x > 0, x, x * slope)),
    'GELU': _gelu,
    'SOFTMAX': _softmax,
    'POW': _plain(np.power),
    'GREATER': _plain(np.greater),
    'GREATER_EQUAL': _plain(np.greater_equal),
    'SELECT': _plain(np.where),
    'SELECT_V2': _plain(np.where),
    'CONCATENATION': lambda options, *parts: np.concatenate(parts, axis=options.axis),
    'SUM': _over_axes(np.sum),
    'MEAN': _over_axes(np.mean),
    'STRIDED_SLICE': _strided_slice,
    'GATHER': lambda options, x, indices: np.take(x, indices, axis=options.axis),
    'SPLIT': lambda options, axis, x: np.split(x, options.numSplits, axis=int(axis)),
    'RESHAPE': _reshape,
}
