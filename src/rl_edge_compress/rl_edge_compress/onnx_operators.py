"""What operators of ONNX are in Keras, for values (batch, n) that depend on the observation."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from rl_edge_core.errors import ArtifactError

Values = list[Any]
Attributes = dict[str, Any]
Convert = Callable[[Values, Attributes], Any]
"""(inputs, attributes) of a node -> its output as a Keras tensor; None stands for no input."""


def dense(value: Any, kernel: np.ndarray, bias: np.ndarray | None) -> Any:
    """Return a dense layer of value (batch, inputs), kernel (inputs, units) and bias (units,)."""
    layer = keras.layers.Dense(kernel.shape[1], use_bias=bias is not None)
    result = layer(value)
    layer.set_weights([kernel] if bias is None else [kernel, bias])
    return result


def _gemm(inputs: Values, attributes: Attributes) -> Any:
    value, kernel, *rest = inputs
    if attributes.get('transA', 0) or not isinstance(kernel, np.ndarray):
        raise ArtifactError('only a product of values with constant weights has a form here')
    if attributes.get('transB', 0):
        kernel = kernel.T
    kernel = kernel * np.float32(attributes.get('alpha', 1.0))
    bias = None
    if rest and rest[0] is not None:
        constant = rest[0] * np.float32(attributes.get('beta', 1.0))
        bias = np.broadcast_to(constant.reshape(-1), (kernel.shape[1],))
    return dense(value, np.ascontiguousarray(kernel), bias)


def _matmul(inputs: Values, attributes: Attributes) -> Any:
    value, kernel = inputs
    if not isinstance(kernel, np.ndarray) or kernel.ndim != 2:
        raise ArtifactError('only a product of values with a constant matrix has a form here')
    return dense(value, kernel, None)


def _row(constant: np.ndarray, size: int) -> list[float] | float:
    """Return a constant as what `Rescaling` takes: one number, or one per value."""
    flat = np.asarray(constant, np.float32).reshape(-1)
    if flat.size == 1:
        return float(flat[0])
    if flat.size != size:
        raise ArtifactError(f'a constant of shape {constant.shape} does not fit {size} values')
    return [float(value) for value in flat]


def _arithmetic(
    both: Callable[[Any, Any], Any], with_constant: Callable[[Any, np.ndarray, bool], Any]
) -> Convert:
    def convert(inputs: Values, attributes: Attributes) -> Any:
        left, right = inputs
        if isinstance(right, np.ndarray):
            return with_constant(left, right, False)
        if isinstance(left, np.ndarray):
            return with_constant(right, left, True)
        return both(left, right)

    return convert


def _rescaled(value: Any, scale: np.ndarray | float, offset: np.ndarray | float) -> Any:
    size = int(value.shape[-1])
    scale, offset = np.asarray(scale, np.float32), np.asarray(offset, np.float32)
    if size == 1 and max(scale.size, offset.size) > 1:
        # One value becomes many; `Rescaling` keeps the size.
        return keras.ops.add(
            keras.ops.multiply(value, scale.reshape(1, -1)), offset.reshape(1, -1)
        )
    return keras.layers.Rescaling(_row(np.asarray(scale), size), _row(np.asarray(offset), size))(
        value
    )


def _power(inputs: Values, attributes: Attributes) -> Any:
    value, exponent = inputs
    if isinstance(exponent, np.ndarray) and exponent.size == 1:
        number = float(exponent.reshape(-1)[0])
        if number == 2.0:
            return keras.ops.square(value)
        if number == 0.5:
            return keras.ops.sqrt(value)
    raise ArtifactError('only the powers 2 and 0.5 have a form here')


def _clip(inputs: Values, attributes: Attributes) -> Any:
    value, *limits = inputs
    low = limits[0] if limits and limits[0] is not None else attributes.get('min')
    high = limits[1] if len(limits) > 1 and limits[1] is not None else attributes.get('max')
    if low is not None and np.isfinite(low):
        value = keras.ops.maximum(value, float(np.asarray(low).reshape(-1)[0]))
    if high is not None and np.isfinite(high):
        value = keras.ops.minimum(value, float(np.asarray(high).reshape(-1)[0]))
    return value


def _extreme(function: Callable[[Any, Any], Any]) -> Convert:
    def convert(inputs: Values, attributes: Attributes) -> Any:
        left, right = inputs
        if isinstance(left, np.ndarray):
            left, right = right, left
        if not isinstance(right, np.ndarray):
            return function(left, right)
        row = _row(right, int(left.shape[-1]))
        if isinstance(row, float):
            return function(left, row)
        # A bound per value: shifted so that the bound is 0, and back.
        shifted = _rescaled(left, 1.0, -right)
        return _rescaled(function(shifted, 0.0), 1.0, right)

    return convert


def _layer_normalization(inputs: Values, attributes: Attributes) -> Any:
    value, scale, *rest = inputs
    if attributes.get('axis', -1) not in (-1, 1):
        raise ArtifactError('only the last axis can be normalised')
    layer = keras.layers.LayerNormalization(epsilon=float(attributes.get('epsilon', 1e-5)))
    result = layer(value)
    bias = rest[0] if rest and rest[0] is not None else np.zeros_like(scale)
    layer.set_weights([scale.reshape(-1), bias.reshape(-1)])
    return result


def _batch_normalization(inputs: Values, attributes: Attributes) -> Any:
    value, scale, offset, mean, variance = inputs[:5]
    if attributes.get('training_mode', 0):
        raise ArtifactError('it is in training mode: export the model after model.eval()')
    epsilon = float(attributes.get('epsilon', 1e-5))
    factor = scale / np.sqrt(variance.astype(np.float64) + epsilon)
    return _rescaled(value, factor, offset - mean * factor)


def _mean(inputs: Values, attributes: Attributes) -> Any:
    value = inputs[0]
    axes = attributes.get('axes')
    if axes is None and len(inputs) > 1 and inputs[1] is not None:
        axes = [int(axis) for axis in inputs[1].reshape(-1)]
    if list(axes or []) not in ([-1], [1]) or not attributes.get('keepdims', 1):
        raise ArtifactError('only a mean over the last axis, kept as one, has a form here')
    return keras.ops.mean(value, axis=-1, keepdims=True)


def _slice(inputs: Values, attributes: Attributes) -> Any:
    value = inputs[0]
    parts = [None if part is None else [int(i) for i in part.reshape(-1)] for part in inputs[1:]]
    starts, ends = parts[0] or [], parts[1] or []
    axes = parts[2] if len(parts) > 2 and parts[2] else list(range(len(starts)))
    steps = parts[3] if len(parts) > 3 and parts[3] else [1] * len(starts)
    size = int(value.shape[-1])
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if axis in (0, -2):
            continue  # the batch, which is 1
        chosen = range(size)[slice(start, None if end >= size else end, step)]
        if step == 1 and chosen:
            value = value[:, chosen[0] : chosen[-1] + 1]
        else:
            value = keras.ops.take(value, list(chosen), axis=-1)
    return value


def _split(inputs: Values, attributes: Attributes) -> list[Any]:
    value = inputs[0]
    size, count = int(value.shape[-1]), int(attributes['outputs'])
    lengths = attributes.get('split')
    if lengths is None and len(inputs) > 1 and inputs[1] is not None:
        lengths = inputs[1].reshape(-1)
    lengths = [-(-size // count)] * count if lengths is None else [int(n) for n in lengths]
    if attributes.get('axis', 0) not in (-1, 1):
        raise ArtifactError('only the observation values can be split')
    ends = np.cumsum(lengths)
    return [value[:, end - length : end] for end, length in zip(ends, lengths, strict=True)]


def _erf(value: Any) -> Any:
    """Abramowitz & Stegun 7.1.26, 1.5e-7 exact: TensorFlow Lite has no error function."""
    size = keras.ops.absolute(value)
    t = keras.ops.reciprocal(_rescaled(size, 0.3275911, 1.0))
    polynomial = _rescaled(t, 1.061405429, -1.453152027)
    for coefficient in (1.421413741, -0.284496736, 0.254829592):
        polynomial = _rescaled(polynomial * t, 1.0, coefficient)
    tail = polynomial * t * keras.ops.exp(keras.ops.negative(keras.ops.square(value)))
    return value / _rescaled(size, 1.0, 1e-30) * _rescaled(tail, -1.0, 1.0)


def _gather(inputs: Values, attributes: Attributes) -> Any:
    value, indices = inputs
    if attributes.get('axis', 0) not in (-1, 1) or not isinstance(indices, np.ndarray):
        raise ArtifactError('only constant indices of the observation values have a form here')
    size = int(value.shape[-1])
    chosen = [int(index) % size for index in indices.reshape(-1)]
    return keras.ops.take(value, chosen, axis=-1)


def _concat(inputs: Values, attributes: Attributes) -> Any:
    if any(isinstance(value, np.ndarray) for value in inputs):
        raise ArtifactError('constants cannot be joined to observation values')
    return keras.ops.concatenate(inputs, axis=-1)


def _applied(function: Callable[[Any], Any]) -> Convert:
    return lambda inputs, attributes: function(inputs[0])


def _activation(name: str) -> Convert:
    return lambda inputs, attributes: keras.layers.Activation(name)(inputs[0])


def _elu(inputs: Values, attributes: Attributes) -> Any:
    alpha = float(attributes.get('alpha', 1.0))
    if alpha != 1.0:
        return keras.layers.ELU(alpha=alpha)(inputs[0])
    return keras.layers.Activation('elu')(inputs[0])


def _hard_sigmoid(inputs: Values, attributes: Attributes) -> Any:
    line = _rescaled(
        inputs[0], float(attributes.get('alpha', 0.2)), float(attributes.get('beta', 0.5))
    )
    return keras.ops.minimum(keras.ops.maximum(line, 0.0), 1.0)


_SAME_VECTOR = ('Flatten', 'Reshape', 'Squeeze', 'Unsqueeze', 'Identity', 'Dropout', 'Cast')
_FUNCTIONS: Mapping[str, Callable[[Any], Any]] = {
    'Sqrt': keras.ops.sqrt,
    'Neg': keras.ops.negative,
    'Abs': keras.ops.absolute,
    'Exp': keras.ops.exp,
    'Reciprocal': keras.ops.reciprocal,
    'Sin': keras.ops.sin,
    'Cos': keras.ops.cos,
    'Erf': _erf,
}
_ACTIVATIONS = {
    'Relu': 'relu',
    'Tanh': 'tanh',
    'Sigmoid': 'sigmoid',
    'Softplus': 'softplus',
    'Softsign': 'softsign',
    'Mish': 'mish',
    'Selu': 'selu',
    'HardSwish': 'hard_swish',
}
OPERATORS: Mapping[str, Convert] = {
    'Gemm': _gemm,
    'MatMul': _matmul,
    'Add': _arithmetic(lambda a, b: a + b, lambda value, c, left: _rescaled(value, 1.0, c)),
    'Sub': _arithmetic(
        lambda a, b: a - b,
        lambda value, c, left: _rescaled(value, -1.0, c) if left else _rescaled(value, 1.0, -c),
    ),
    'Mul': _arithmetic(lambda a, b: a * b, lambda value, c, left: _rescaled(value, c, 0.0)),
    'Div': _arithmetic(
        lambda a, b: a / b,
        lambda value, c, left: (
            _rescaled(keras.ops.reciprocal(value), c, 0.0)
            if left
            else _rescaled(value, 1.0 / c.astype(np.float64), 0.0)
        ),
    ),
    'Pow': _power,
    'Clip': _clip,
    'Min': _extreme(keras.ops.minimum),
    'Max': _extreme(keras.ops.maximum),
    'Gelu': lambda inputs, attributes: keras.ops.gelu(
        inputs[0], approximate=attributes.get('approximate') in (b'tanh', 'tanh')
    ),
    'HardSigmoid': _hard_sigmoid,
    'Split': _split,
    'Elu': _elu,
    'LeakyRelu': lambda inputs, attributes: keras.layers.LeakyReLU(
        negative_slope=float(attributes.get('alpha', 0.01))
    )(inputs[0]),
    'LayerNormalization': _layer_normalization,
    'BatchNormalization': _batch_normalization,
    'ReduceMean': _mean,
    'Slice': _slice,
    'Gather': _gather,
    'Concat': _concat,
    **{name: lambda inputs, _: inputs[0] for name in _SAME_VECTOR},
    **{name: _applied(function) for name, function in _FUNCTIONS.items()},
    **{name: _activation(key) for name, key in _ACTIVATIONS.items()},
}
