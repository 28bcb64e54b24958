"""Read the ONNX file of an actor: what is damaged, misleading or no plain actor is named.

Imports onnx and, for a session, onnxruntime: an extra.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from rl_edge_core.errors import ArtifactError, first_line

OLDEST_OPSET = 11
LARGEST_FILE_BYTES = 500_000_000
RECURRENT = ('LSTM', 'GRU', 'RNN')
_FOLDED = {
    *('Constant', 'ConstantOfShape', 'Shape', 'Gather', 'Cast', 'Unsqueeze', 'Squeeze', 'Range'),
    *('Identity', 'Dropout', 'Reshape', 'Flatten', 'Expand', 'Transpose', 'Size', 'CastLike'),
    *('Slice', 'Concat', 'Where', 'Equal', 'Tile'),
}
"""Operators that exporters write around the actor: most depend on nothing but shapes."""


def onnx_session(content: bytes, **settings: Any) -> Any:
    """Return an ONNX file in ONNX Runtime, on one thread; `settings` are of its SessionOptions."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    for name, value in settings.items():
        setattr(options, name, value)
    return onnxruntime.InferenceSession(content, options, providers=['CPUExecutionProvider'])


def checked_model(path: Path, *, known: Collection[str]) -> Any:
    """Return the model in an ONNX file, of the operators ``known`` to the caller alone.

    Sizes that it announces are those of the data that is there, and every number is finite. Raise
    ArtifactError that names what is wrong, and the remedy.
    """
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= LARGEST_FILE_BYTES else b''
    except OSError as error:
        raise ArtifactError(f'{path} cannot be read: {error.strerror}') from error
    if size > LARGEST_FILE_BYTES:
        raise ArtifactError(f'{path} has {size} bytes: no actor for a small computer')
    try:
        proto = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's own types differ between its versions
        raise ArtifactError(
            f'{path} is not an ONNX file, or is truncated ({type(error).__name__}): export it '
            f'again'
        ) from error
    if not proto.graph.node:
        raise ArtifactError(f'{path} is not an ONNX file, or holds no graph: export it again')
    _check_operators(proto, known)
    constants = (one for node in proto.graph.node for one in node.attribute if one.HasField('t'))
    for tensor in (*proto.graph.initializer, *(one.t for one in constants)):
        _check_tensor(tensor, path)
    opset = max((entry.version for entry in proto.opset_import if not entry.domain), default=0)
    if opset < OLDEST_OPSET:
        raise ArtifactError(
            f'{path} is of opset {opset}, the oldest that is read is {OLDEST_OPSET}: export it '
            f'with opset_version={OLDEST_OPSET} or higher'
        )
    try:
        onnx.checker.check_model(proto)
    except Exception as error:
        raise ArtifactError(f'{path} is not a valid ONNX model: {first_line(error)}') from error
    return proto


def _check_tensor(tensor: Any, path: Path) -> None:
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


def only_input(proto: Any) -> str:
    """Return the name of the only input; raise ArtifactError for several and for hidden states."""
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


def choose_output(proto: Any, output: str) -> None:
    """Keep the output of a name, or the only one; raise ArtifactError that lists what there is."""
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


def _check_operators(proto: Any, known: Collection[str]) -> None:
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
        if node.op_type not in known and node.op_type not in _FOLDED:
            raise ArtifactError(
                f'{name} is of operator {node.op_type}, which has no form here; there is one of '
                f'{", ".join(sorted(known))}: export the actor alone, without the parts that '
                f'prepare images or sample actions'
            )


def make_names_unique(proto: Any) -> None:
    """Name each node otherwise: ONNX Runtime refuses names that occur twice, which ONNX allows."""
    seen: set[str] = set()
    for number, node in enumerate(proto.graph.node):
        if not node.name or node.name in seen:
            node.name = f'{node.name or node.op_type}_{number}'
        seen.add(node.name)


def fix_batch(proto: Any, source: str) -> None:
    """Make the batch 1, so that every shape is known; raise ArtifactError for other inputs."""
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
