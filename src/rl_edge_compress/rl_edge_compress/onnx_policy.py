"""Policies in ONNX: the graph of an actor as a Keras model, and what ONNX Runtime answers.

An exporter writes more than the actor does: shapes that are computed, constants that are cast.
ONNX Runtime's basic optimisations fold what does not depend on the observation; what is left is a
small graph of dense layers, activations and arithmetic, which Keras has as well.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from rl_edge_core.errors import ArtifactError, ConfigurationError

OLDEST_OPSET = 11
LARGEST_FILE_BYTES = 500_000_000
RECURRENT = ('LSTM', 'GRU', 'RNN')
_FOLDED = {
    *('Constant', 'ConstantOfShape', 'Shape', 'Gather', 'Cast', 'Unsqueeze', 'Squeeze', 'Range'),
    *('Identity', 'Dropout', 'Reshape', 'Flatten', 'Expand', 'Transpose', 'Size', 'CastLike'),
    *('Slice', 'Concat', 'Where', 'Equal', 'Tile'),
}
"""Operators that exporters write around the actor: most depend on nothing but shapes."""


@dataclass(frozen=True)
class OnnxPolicy:
    """An actor read from an ONNX file."""

    model: keras.Model
    """Observation (batch, n) -> what the graph answers, (batch, m)."""
    answer: Callable[[np.ndarray], np.ndarray]
    """The same by ONNX Runtime: observations (count, n) -> (count, m)."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What the exporter wrote beside the graph, e.g. ``joint_names``."""

    @property
    def observation_size(self) -> int:
        """Return how many values an observation has."""
        return int(self.model.inputs[0].shape[-1])

    @property
    def action_size(self) -> int:
        """Return how many values an action has."""
        return int(self.model.outputs[0].shape[-1])


def read_onnx(path: Path, *, output: str = '') -> OnnxPolicy:
    """Read the actor in an ONNX file; ``output`` chooses one of several outputs.

    Needs the packages onnx and onnxruntime. Raise ArtifactError for what is no such file, and for
    a graph that is no plain actor, naming the node, its operator and a remedy.
    """
    onnx = _package('onnx')
    proto = _checked(path, onnx)
    source = _only_input(proto)
    _choose_output(proto, output)
    _fix_batch(proto, source)
    _make_names_unique(proto)
    runtime = _package('onnxruntime')
    folded = _folded(proto, path, onnx, runtime)
    session = runtime.InferenceSession(
        proto.SerializeToString(), _options(runtime), providers=['CPUExecutionProvider']
    )

    def answer(observations: np.ndarray) -> np.ndarray:
        rows = np.asarray(observations, np.float32)
        return np.concatenate(
            [np.asarray(session.run(None, {source: row[None]})[0]).reshape(1, -1) for row in rows]
        )

    return OnnxPolicy(
        model=_keras_model(folded, onnx),
        answer=answer,
        metadata={entry.key: entry.value for entry in proto.metadata_props},
    )


def _package(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigurationError(
            f'ONNX files need the package {name} ({error}): tools/env --with onnx, or '
            f'pip install onnx onnxruntime'
        ) from error


def _options(runtime: Any) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    return options


def _checked(path: Path, onnx: Any) -> Any:
    """Return the file's model; its announced sizes are those of the data that is there."""
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE_BYTES:
            raise ArtifactError(f'{path} has {size} bytes: no actor for a small computer')
        proto = onnx.load_model_from_string(path.read_bytes())
    except OSError as error:
        raise ArtifactError(f'{path} cannot be read: {error.strerror}') from error
    except Exception as error:  # protobuf's own types differ between its versions
        if isinstance(error, ArtifactError):
            raise
        raise ArtifactError(
            f'{path} is no ONNX file, or is truncated ({type(error).__name__}): export it again'
        ) from error
    if not proto.graph.node:
        raise ArtifactError(f'{path} is no ONNX file, or holds no graph: export it again')
    _check_operators(proto)
    for tensor in _tensors(proto):
        _check_tensor(tensor, path, onnx)
    opset = max((entry.version for entry in proto.opset_import if not entry.domain), default=0)
    if opset < OLDEST_OPSET:
        raise ArtifactError(
            f'{path} is of opset {opset}, the oldest that is read is {OLDEST_OPSET}: export it '
            f'with opset_version={OLDEST_OPSET} or higher'
        )
    try:
        onnx.checker.check_model(proto)
    except Exception as error:
        first = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise ArtifactError(f'{path} is no valid ONNX model: {first[0]}') from error
    return proto


def _tensors(proto: Any) -> list[Any]:
    tensors = list(proto.graph.initializer)
    for node in proto.graph.node:
        tensors += [attribute.t for attribute in node.attribute if attribute.HasField('t')]
    return tensors


def _check_tensor(tensor: Any, path: Path, onnx: Any) -> None:
    name = tensor.name or 'a constant'
    if tensor.external_data or tensor.data_location == onnx.TensorProto.EXTERNAL:
        files = [entry.value for entry in tensor.external_data if entry.key == 'location']
        raise ArtifactError(
            f'{path} keeps {name} in another file ({", ".join(files) or "unnamed"}): write it '
            f'into one, with onnx.save_model(onnx.load(FILE), OUT, save_as_external_data=False)'
        )
    count = int(np.prod([int(size) for size in tensor.dims], dtype=object))
    try:
        held = onnx.numpy_helper.to_array(tensor) if count <= LARGEST_FILE_BYTES else None
    except Exception:
        held = None
    if held is None or held.size != count:
        raise ArtifactError(
            f'{path} announces {count} numbers for {name}, and does not hold them: the file is '
            f'truncated or was made to mislead'
        )
    if held.dtype.kind == 'f' and not np.isfinite(held).all():
        bad = int(np.count_nonzero(~np.isfinite(held)))
        limits = np.isinf(held).all()
        if not (limits and held.ndim == 0):
            raise ArtifactError(
                f'{path}: {name} has {bad} values that are not finite: the training has diverged, '
                f'export an earlier checkpoint'
            )


def _only_input(proto: Any) -> str:
    given = {tensor.name for tensor in proto.graph.initializer}
    inputs = [value for value in proto.graph.input if value.name not in given]
    names = ', '.join(value.name for value in inputs)
    hidden = [v.name for v in inputs if v.name.startswith(('h_in', 'c_in', 'hidden', 'state'))]
    if hidden:
        raise ArtifactError(
            f'the graph takes {names}: a recurrent actor, whose state an observation would have '
            f'to bring along; policies here are functions of the observation alone, so train one '
            f'with a history of observations instead'
        )
    if len(inputs) != 1:
        raise ArtifactError(f'the graph has {len(inputs)} inputs ({names}), must have one')
    return str(inputs[0].name)


def _choose_output(proto: Any, output: str) -> None:
    names = [value.name for value in proto.graph.output]
    if output and output not in names:
        raise ArtifactError(f'the graph has no output {output!r}; it has {", ".join(names)}')
    if len(names) != 1 and not output:
        raise ArtifactError(
            f'the graph has {len(names)} outputs ({", ".join(names)}): say which is the action, '
            f'by output: NAME in the file of --spec'
        )
    kept = [value for value in proto.graph.output if value.name == (output or names[0])]
    del proto.graph.output[:]
    proto.graph.output.extend(kept)


def _check_operators(proto: Any) -> None:
    for node in proto.graph.node:
        name = f'node {node.name!r}' if node.name else f'the node that gives {node.output[0]!r}'
        if node.domain not in ('', 'ai.onnx'):
            raise ArtifactError(
                f'{name} is of operator {node.op_type} of {node.domain}, no part of ONNX: '
                f'export without it'
            )
        if node.op_type in RECURRENT:
            raise ArtifactError(
                f'{name} is of operator {node.op_type}: recurrent actors are not read, since an '
                f'observation would have to bring their state along; train one with a history of '
                f'observations instead'
            )
        if node.op_type not in _OPERATORS and node.op_type not in _FOLDED:
            raise ArtifactError(
                f'{name} is of operator {node.op_type}, which has no form here; there is one of '
                f'{", ".join(sorted(_OPERATORS))}: export the actor alone, without the parts that '
                f'prepare images or sample actions'
            )


def _make_names_unique(proto: Any) -> None:
    # ONNX Runtime refuses a graph that names two nodes alike, which ONNX allows.
    seen: set[str] = set()
    for number, node in enumerate(proto.graph.node):
        if not node.name or node.name in seen:
            node.name = f'{node.name or node.op_type}_{number}'
        seen.add(node.name)


def _fix_batch(proto: Any, source: str) -> None:
    """Make the batch 1, so that every shape is known."""
    (value,) = (value for value in proto.graph.input if value.name == source)
    sizes = value.type.tensor_type.shape.dim
    shape = [size.dim_param or size.dim_value for size in sizes]
    if len(sizes) != 2 or not sizes[1].dim_value:
        raise ArtifactError(
            f'the input {source} has shape {shape}, must be (batch, n) with n fixed: export with '
            f'one observation vector per row, and name only axis 0 dynamic'
        )
    if value.type.tensor_type.elem_type != 1:
        raise ArtifactError(f'the input {source} is not of type float32: export it in float32')
    if sizes[0].dim_value not in (0, 1):
        raise ArtifactError(
            f'the input {source} has a fixed batch of {sizes[0].dim_value}: export with 1, or '
            f'with axis 0 dynamic'
        )
    sizes[0].ClearField('dim_param')
    sizes[0].dim_value = 1
    # What was inferred with another batch would contradict it.
    del proto.graph.value_info[:]
    for result in proto.graph.output:
        result.type.tensor_type.ClearField('shape')


def _folded(proto: Any, path: Path, onnx: Any, runtime: Any) -> Any:
    """Return the graph after ONNX Runtime's basic optimisations: standard operators alone."""
    options = _options(runtime)
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory(prefix='rl_edge-') as folder:
        target = Path(folder) / 'folded.onnx'
        options.optimized_model_filepath = str(target)
        try:
            runtime.InferenceSession(
                proto.SerializeToString(), options, providers=['CPUExecutionProvider']
            )
        except Exception as error:  # ONNX Runtime's own types
            first = str(error).strip().splitlines()[:1] or [type(error).__name__]
            raise ArtifactError(f'{path} cannot be run by ONNX Runtime: {first[0]}') from error
        return onnx.load(str(target))


def _keras_model(proto: Any, onnx: Any) -> keras.Model:
    graph = proto.graph
    values: dict[str, Any] = {
        tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer
    }
    (given,) = (value for value in graph.input if value.name not in values)
    size = given.type.tensor_type.shape.dim[1].dim_value
    source = keras.Input((int(size),), name='observation')
    values[given.name] = source
    fused: set[int] = set()
    nodes = list(graph.node)
    for place, node in enumerate(nodes):
        if place in fused:
            continue
        bias_place = _bias_after(nodes, place, values)
        if bias_place is not None:
            following = nodes[bias_place]
            (bias,) = (values[n] for n in following.input if n != node.output[0])
            kernel = values[node.input[1]]
            values[following.output[0]] = _dense(values[node.input[0]], kernel, bias.reshape(-1))
            fused.add(bias_place)
            continue
        attributes = {
            attribute.name: onnx.helper.get_attribute_value(attribute)
            for attribute in node.attribute
        }
        inputs = [values[name] if name else None for name in node.input]
        results = _converted(node, inputs, attributes, onnx)
        results = results if isinstance(results, list) else [results]
        values.update(zip(node.output, results, strict=False))
    result = values[graph.output[0].name]
    if not hasattr(result, 'shape') or len(result.shape) != 2 or isinstance(result, np.ndarray):
        raise ArtifactError(
            f'the output {graph.output[0].name} is no vector that depends on the observation'
        )
    return keras.Model(source, result)


def _bias_after(nodes: Sequence[Any], place: int, values: Mapping[str, Any]) -> int | None:
    """Return the place of the Add that gives a MatMul by a constant its bias, if there is one."""
    node = nodes[place]
    if node.op_type != 'MatMul' or not isinstance(values.get(node.input[1]), np.ndarray):
        return None
    users = [number for number, other in enumerate(nodes) if node.output[0] in other.input]
    if len(users) != 1 or nodes[users[0]].op_type != 'Add':
        return None
    (other,) = (name for name in nodes[users[0]].input if name != node.output[0])
    bias = values.get(other)
    units = values[node.input[1]].shape[-1]
    is_bias = isinstance(bias, np.ndarray) and bias.size == units and bias.shape[-1] == units
    return users[0] if is_bias else None


def _converted(node: Any, inputs: list[Any], attributes: dict[str, Any], onnx: Any) -> Any:
    where = f'node {node.name!r} of operator {node.op_type}'
    if all(isinstance(value, np.ndarray) or value is None for value in inputs):
        folded = onnx.reference.ReferenceEvaluator(
            onnx.helper.make_graph(
                [node],
                'constant',
                [],
                [onnx.helper.make_value_info(node.output[0], onnx.TypeProto())],
                [
                    onnx.numpy_helper.from_array(value, name)
                    for name, value in zip(node.input, inputs, strict=True)
                    if name
                ],
            )
        )
        return list(folded.run(None, {}))
    convert = _OPERATORS.get(node.op_type)
    if convert is None:
        raise ArtifactError(f'{where} depends on the observation, and has no form here')
    try:
        if node.op_type == 'Split':
            attributes['outputs'] = len(node.output)
        return convert(inputs, attributes)
    except ArtifactError as error:
        raise ArtifactError(f'{where}: {error}') from error
    except Exception as error:  # whatever Keras raises for shapes that do not fit
        first = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise ArtifactError(f'{where} cannot be converted: {first[0]}') from error


def _dense(value: Any, kernel: np.ndarray, bias: np.ndarray | None) -> Any:
    layer = keras.layers.Dense(kernel.shape[1], use_bias=bias is not None)
    result = layer(value)
    layer.set_weights([kernel] if bias is None else [kernel, bias])
    return result


def _gemm(inputs: list[Any], attributes: dict[str, Any]) -> Any:
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
    return _dense(value, np.ascontiguousarray(kernel), bias)


def _matmul(inputs: list[Any], attributes: dict[str, Any]) -> Any:
    value, kernel = inputs
    if not isinstance(kernel, np.ndarray) or kernel.ndim != 2:
        raise ArtifactError('only a product of values with a constant matrix has a form here')
    return _dense(value, kernel, None)


def _row(constant: np.ndarray, size: int) -> list[float] | float:
    """Return a constant as what `Rescaling` takes: one number, or one per value."""
    flat = np.asarray(constant, np.float32).reshape(-1)
    if flat.size == 1:
        return float(flat[0])
    if flat.size != size:
        raise ArtifactError(f'a constant of shape {constant.shape} does not fit {size} values')
    return [float(value) for value in flat]


def _arithmetic(
    both: Callable[[Any, Any], Any],
    with_constant: Callable[[Any, np.ndarray, bool], Any],
) -> Callable[[list[Any], dict[str, Any]], Any]:
    def convert(inputs: list[Any], attributes: dict[str, Any]) -> Any:
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


def _divided(value: Any, constant: np.ndarray, is_left: bool) -> Any:
    if is_left:
        return _rescaled(keras.ops.reciprocal(value), constant, 0.0)
    return _rescaled(value, 1.0 / constant.astype(np.float64), 0.0)


def _power(inputs: list[Any], attributes: dict[str, Any]) -> Any:
    value, exponent = inputs
    if isinstance(exponent, np.ndarray) and exponent.size == 1:
        number = float(exponent.reshape(-1)[0])
        if number == 2.0:
            return keras.ops.square(value)
        if number == 0.5:
            return keras.ops.sqrt(value)
    raise ArtifactError('only the powers 2 and 0.5 have a form here')


def _clip(inputs: list[Any], attributes: dict[str, Any]) -> Any:
    value, *limits = inputs
    low = limits[0] if limits and limits[0] is not None else attributes.get('min')
    high = limits[1] if len(limits) > 1 and limits[1] is not None else attributes.get('max')
    if low is not None and np.isfinite(low):
        value = keras.ops.maximum(value, float(np.asarray(low).reshape(-1)[0]))
    if high is not None and np.isfinite(high):
        value = keras.ops.minimum(value, float(np.asarray(high).reshape(-1)[0]))
    return value


def _extreme(function: Callable[[Any, Any], Any]) -> Callable[[list[Any], dict[str, Any]], Any]:
    def convert(inputs: list[Any], attributes: dict[str, Any]) -> Any:
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


def _layer_normalization(inputs: list[Any], attributes: dict[str, Any]) -> Any:
    value, scale, *rest = inputs
    if attributes.get('axis', -1) not in (-1, 1):
        raise ArtifactError('only the last axis can be normalised')
    layer = keras.layers.LayerNormalization(epsilon=float(attributes.get('epsilon', 1e-5)))
    result = layer(value)
    bias = rest[0] if rest and rest[0] is not None else np.zeros_like(scale)
    layer.set_weights([scale.reshape(-1), bias.reshape(-1)])
    return result


def _batch_normalization(inputs: list[Any], attributes: dict[str, Any]) -> Any:
    value, scale, offset, mean, variance = inputs[:5]
    if attributes.get('training_mode', 0):
        raise ArtifactError('it is in training mode: export the model after model.eval()')
    epsilon = float(attributes.get('epsilon', 1e-5))
    factor = scale / np.sqrt(variance.astype(np.float64) + epsilon)
    return _rescaled(value, factor, offset - mean * factor)


def _mean(inputs: list[Any], attributes: dict[str, Any]) -> Any:
    value = inputs[0]
    axes = attributes.get('axes')
    if axes is None and len(inputs) > 1 and inputs[1] is not None:
        axes = [int(axis) for axis in inputs[1].reshape(-1)]
    if list(axes or []) not in ([-1], [1]) or not attributes.get('keepdims', 1):
        raise ArtifactError('only a mean over the last axis, kept as one, has a form here')
    return keras.ops.mean(value, axis=-1, keepdims=True)


def _slice(inputs: list[Any], attributes: dict[str, Any]) -> Any:
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


def _split(inputs: list[Any], attributes: dict[str, Any]) -> list[Any]:
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


def _erf(inputs: list[Any], attributes: dict[str, Any]) -> Any:
    """Abramowitz & Stegun 7.1.26, 1.5e-7 exact: TensorFlow Lite has no error function."""
    value = inputs[0]
    size = keras.ops.absolute(value)
    t = keras.ops.reciprocal(_rescaled(size, 0.3275911, 1.0))
    polynomial = _rescaled(t, 1.061405429, -1.453152027)
    for coefficient in (1.421413741, -0.284496736, 0.254829592):
        polynomial = _rescaled(polynomial * t, 1.0, coefficient)
    tail = polynomial * t * keras.ops.exp(keras.ops.negative(keras.ops.square(value)))
    return value / _rescaled(size, 1.0, 1e-30) * _rescaled(tail, -1.0, 1.0)


def _gather(inputs: list[Any], attributes: dict[str, Any]) -> Any:
    value, indices = inputs
    if attributes.get('axis', 0) not in (-1, 1) or not isinstance(indices, np.ndarray):
        raise ArtifactError('only constant indices of the observation values have a form here')
    size = int(value.shape[-1])
    chosen = [int(index) % size for index in indices.reshape(-1)]
    return keras.ops.take(value, chosen, axis=-1)


def _concat(inputs: list[Any], attributes: dict[str, Any]) -> Any:
    if any(isinstance(value, np.ndarray) for value in inputs):
        raise ArtifactError('constants cannot be joined to observation values')
    return keras.ops.concatenate(inputs, axis=-1)


def _same_vector(inputs: list[Any], attributes: dict[str, Any]) -> Any:
    return inputs[0]


def _activation(name: str) -> Callable[[list[Any], dict[str, Any]], Any]:
    return lambda inputs, attributes: keras.layers.Activation(name)(inputs[0])


def _elu(inputs: list[Any], attributes: dict[str, Any]) -> Any:
    alpha = float(attributes.get('alpha', 1.0))
    if alpha != 1.0:
        return keras.layers.ELU(alpha=alpha)(inputs[0])
    return keras.layers.Activation('elu')(inputs[0])


def _leaky_relu(inputs: list[Any], attributes: dict[str, Any]) -> Any:
    return keras.layers.LeakyReLU(negative_slope=float(attributes.get('alpha', 0.01)))(inputs[0])


def _hard_sigmoid(inputs: list[Any], attributes: dict[str, Any]) -> Any:
    line = _rescaled(
        inputs[0], float(attributes.get('alpha', 0.2)), float(attributes.get('beta', 0.5))
    )
    return keras.ops.minimum(keras.ops.maximum(line, 0.0), 1.0)


def _gelu(inputs: list[Any], attributes: dict[str, Any]) -> Any:
    approximate = attributes.get('approximate', b'none') in (b'tanh', 'tanh')
    return keras.ops.gelu(inputs[0], approximate=approximate)


def _operation(function: Callable[[Any], Any]) -> Callable[[list[Any], dict[str, Any]], Any]:
    return lambda inputs, attributes: function(inputs[0])


_OPERATORS: Mapping[str, Callable[[list[Any], dict[str, Any]], Any]] = {
    'Gemm': _gemm,
    'MatMul': _matmul,
    'Add': _arithmetic(lambda a, b: a + b, lambda value, c, left: _rescaled(value, 1.0, c)),
    'Sub': _arithmetic(
        lambda a, b: a - b,
        lambda value, c, left: _rescaled(value, -1.0, c) if left else _rescaled(value, 1.0, -c),
    ),
    'Mul': _arithmetic(lambda a, b: a * b, lambda value, c, left: _rescaled(value, c, 0.0)),
    'Div': _arithmetic(lambda a, b: a / b, _divided),
    'Pow': _power,
    'Sqrt': _operation(lambda value: keras.ops.sqrt(value)),
    'Neg': _operation(lambda value: keras.ops.negative(value)),
    'Abs': _operation(lambda value: keras.ops.absolute(value)),
    'Exp': _operation(lambda value: keras.ops.exp(value)),
    'Reciprocal': _operation(lambda value: keras.ops.reciprocal(value)),
    'Sin': _operation(lambda value: keras.ops.sin(value)),
    'Cos': _operation(lambda value: keras.ops.cos(value)),
    'Clip': _clip,
    'Min': _extreme(keras.ops.minimum),
    'Max': _extreme(keras.ops.maximum),
    'Relu': _activation('relu'),
    'Tanh': _activation('tanh'),
    'Sigmoid': _activation('sigmoid'),
    'Softplus': _activation('softplus'),
    'Softsign': _activation('softsign'),
    'Mish': _activation('mish'),
    'Selu': _activation('selu'),
    'HardSwish': _activation('hard_swish'),
    'Gelu': _gelu,
    'HardSigmoid': _hard_sigmoid,
    'Erf': _erf,
    'Split': _split,
    'Elu': _elu,
    'LeakyRelu': _leaky_relu,
    'LayerNormalization': _layer_normalization,
    'BatchNormalization': _batch_normalization,
    'ReduceMean': _mean,
    'Slice': _slice,
    'Gather': _gather,
    'Concat': _concat,
    'Flatten': _same_vector,
    'Reshape': _same_vector,
    'Squeeze': _same_vector,
    'Unsqueeze': _same_vector,
    'Identity': _same_vector,
    'Dropout': _same_vector,
    'Cast': _same_vector,
}
