"""Read and tidy `.tflite` files through their flatbuffer: operators, versions, tensors."""

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

TYPE_NAMES = {
    code: name.lower() for name, code in vars(schema.TensorType).items() if name.isupper()
}
OPERATOR_NAMES = {
    code: name for name, code in vars(schema.BuiltinOperator).items() if name.isupper()
}
FUSED_NAMES = {0: '', 1: 'RELU', 2: 'RELU_N1_TO_1', 3: 'RELU6', 4: 'TANH'}
"""TFLite's ActivationFunctionType, as the operators of the same function."""
BOUNDS = {'RELU_N1_TO_1': (-1.0, 1.0), 'RELU6': (0.0, 6.0)}
"""What these operators cut values to."""


@dataclass(frozen=True)
class Operator:
    """One operator of a graph, with its tensors by index; -1 stands for one left out."""

    name: str
    """As in TFLite's schema, e.g. FULLY_CONNECTED."""
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any
    """The schema's option object, or None."""

    @property
    def fused(self) -> str:
        """Return the operator that the result goes through as well, e.g. RELU; empty for none."""
        return FUSED_NAMES[getattr(self.options, 'fusedActivationFunction', 0) or 0]


def read_model(content: bytes) -> Any:
    """Return the flatbuffer of a file as the schema's object tree."""
    return flatbuffer_utils.read_model_from_bytearray(bytearray(content))


def write_model(model: Any) -> bytes:
    """Return an object tree as the bytes of a `.tflite` file."""
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def operators(model: Any) -> Iterator[Operator]:
    """Yield the operators in the order in which they run."""
    for operator in model.subgraphs[0].operators:
        code = model.operatorCodes[operator.opcodeIndex]
        builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
        yield Operator(
            name=OPERATOR_NAMES[builtin],
            version=code.version,
            inputs=tuple(int(index) for index in operator.inputs),
            outputs=tuple(int(index) for index in operator.outputs),
            options=operator.builtinOptions,
        )


def type_name(tensor: Any) -> str:
    """Return the name of a tensor's type, e.g. float32 or int8."""
    return TYPE_NAMES[tensor.type]


def tidy(content: bytes) -> bytes:
    """Give a file short tensor names, true operator versions and no converter metadata.

    Names of converted Keras graphs take hundreds of bytes, and litert-quantizer leaves version 1
    on the operators it changes: tflite-runtime 2.14 then loads a per-channel layer that it does
    not know and computes nonsense, where the true version makes it refuse.
    """
    model = read_model(content)
    model.metadata = None
    _shorten_names(model)
    _set_versions(model)
    tensors = model.subgraphs[0].tensors
    order = [0, *sorted({tensor.buffer for tensor in tensors} - {0})]
    place = {old: new for new, old in enumerate(order)}
    model.buffers = [model.buffers[index] for index in order]
    model.description = None
    for tensor in tensors:
        tensor.buffer, tensor.hasRank = place[tensor.buffer], False
        if tensor.quantization is not None and tensor.quantization.scale is None:
            tensor.quantization = None
    return write_model(model)


def without_names(content: bytes) -> bytes:
    """Drop the names of tensors that are neither input nor output: some hundred bytes."""
    model = read_model(content)
    graph = model.subgraphs[0]
    kept = {*graph.inputs, *graph.outputs}
    for index, tensor in enumerate(graph.tensors):
        if index not in kept:
            tensor.name = None
    return write_model(model)


def _shorten_names(model: Any) -> None:
    graph = model.subgraphs[0]
    for index, tensor in enumerate(graph.tensors):
        tensor.name = f't{index}'
    for names, indices in (('observation', graph.inputs), ('action', graph.outputs)):
        for index in indices:
            graph.tensors[index].name = names
    dense = [operator for operator in operators(model) if operator.name == 'FULLY_CONNECTED']
    for number, operator in enumerate(dense):
        graph.tensors[operator.inputs[1]].name = f'kernel_{number}'
        if len(operator.inputs) > 2 and operator.inputs[2] >= 0:
            graph.tensors[operator.inputs[2]].name = f'bias_{number}'
        if operator.outputs[0] not in graph.outputs:
            graph.tensors[operator.outputs[0]].name = f'dense_{number}'


def _set_versions(model: Any) -> None:
    graph = model.subgraphs[0]
    codes: dict[tuple[int, int], int] = {}
    table: list[Any] = []
    for raw, operator in zip(graph.operators, operators(model), strict=True):
        code = model.operatorCodes[raw.opcodeIndex]
        builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
        version = max(code.version, _version(operator, graph.tensors))
        if (builtin, version) not in codes:
            codes[builtin, version] = len(table)
            fresh = schema.OperatorCodeT()
            fresh.builtinCode, fresh.deprecatedBuiltinCode = builtin, min(builtin, 127)
            fresh.version = version
            table.append(fresh)
        raw.opcodeIndex = codes[builtin, version]
    model.operatorCodes = table


def _version(operator: Operator, tensors: Any) -> int:
    """Return the operator version that TFLite's own converter would write (op_version.cc)."""
    types = [type_name(tensors[index]) for index in operator.inputs if index >= 0]
    if operator.name == 'DEQUANTIZE':
        return {'float16': 3, 'int8': 2, 'int4': 6}.get(types[0], 1)
    if operator.name != 'FULLY_CONNECTED':
        return 1
    activation, weights = types[:2]
    if weights == 'int8' and activation == 'float32':
        if len(tensors[operator.inputs[1]].quantization.scale) > 1:
            return 12
        return 9 if operator.options.asymmetricQuantizeInputs else 3
    if weights == 'int4':
        # op_version.cc knows no float32 x int4; 12 is the first version whose runtimes do.
        return {'int8': 10}.get(activation, 12)
    return 4 if activation == 'int8' else 1


def constant(model: Any, index: int) -> np.ndarray | None:
    """Return a tensor's stored values (4-bit ones as int8), or None for one that is computed."""
    tensor = model.subgraphs[0].tensors[index]
    data = model.buffers[tensor.buffer].data
    if data is None or not len(data):
        return None
    raw = np.asarray(data, np.uint8)
    shape = () if tensor.shape is None else tuple(int(size) for size in tensor.shape)
    name = type_name(tensor)
    if name == 'int4':
        nibbles = np.stack([raw << 4, raw & 0xF0], axis=1).reshape(-1).view(np.int8) >> 4
        return nibbles.astype(np.int8)[: int(np.prod(shape))].reshape(shape)
    return raw.view(np.dtype(name)).reshape(shape)


def constants(model: Any) -> dict[int, np.ndarray]:
    """Return the stored values of a graph by the index of their tensor; see `constant`."""
    stored = ((index, constant(model, index)) for index in range(len(model.subgraphs[0].tensors)))
    return {index: value for index, value in stored if value is not None}


def add_buffer(model: Any, values: np.ndarray) -> int:
    """Add float32 values to a model and return the number of their buffer, for a tensor."""
    buffer = schema.BufferT()
    buffer.data = np.ascontiguousarray(values, np.float32).view(np.uint8).reshape(-1)
    model.buffers.append(buffer)
    return len(model.buffers) - 1


@dataclass(frozen=True)
class FileFacts:
    """Sizes and counts of one file."""

    bytes: int
    gzip_bytes: int
    """After gzip -9, since zeros show only there."""
    dense_weights: int
    sparsity: float
    """Share of zeros among the weights of the dense layers, counted in the file."""


def file_facts(content: bytes) -> FileFacts:
    """Count what is in a file."""
    kernels = dense_kernels(content)
    count = sum(kernel.size for kernel in kernels)
    zeros = sum(int(np.count_nonzero(kernel == 0)) for kernel in kernels)
    return FileFacts(
        bytes=len(content),
        gzip_bytes=len(gzip.compress(content, 9, mtime=0)),
        dense_weights=count,
        sparsity=zeros / count if count else 0.0,
    )


def dense_kernels(content: bytes) -> list[np.ndarray]:
    """Return the stored weights (units, inputs) of each dense layer, in the file's own type."""
    model = read_model(content)
    stored_of = {
        # float16 weights pass a DEQUANTIZE on their way to the layer.
        step.outputs[0]: step.inputs[0]
        for step in operators(model)
        if step.name == 'DEQUANTIZE'
    }
    kernels = []
    for step in operators(model):
        if step.name == 'FULLY_CONNECTED':
            index = step.inputs[1]
            values = constant(model, stored_of.get(index, index))
            if values is not None:
                kernels.append(values)
    return kernels
