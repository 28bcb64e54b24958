"""Policies in ONNX: the graph of an actor as a Keras model, and what ONNX Runtime answers.

An exporter writes more than the actor does: shapes that are computed, constants that are cast.
ONNX Runtime's basic optimisations fold what does not depend on the observation; what is left is a
small graph of dense layers, activations and arithmetic, which Keras has as well. Imports onnx and
onnxruntime, an extra.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime
from onnx.reference import ReferenceEvaluator

from rl_edge_compress import onnx_file
from rl_edge_compress.onnx_operators import OPERATORS, Attributes, Values, dense
from rl_edge_core.errors import ArtifactError, first_line


@dataclass(frozen=True)
class OnnxPolicy:
    """An actor read from an ONNX file."""

    model: keras.Model
    """Observation (batch, n) -> what the graph answers, (batch, m)."""
    answer: Callable[[np.ndarray], np.ndarray]
    """The same by ONNX Runtime: observations (count, n) -> (count, m)."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """What the exporter wrote beside the graph, e.g. ``joint_names``."""


def read_onnx(path: Path, *, output: str = '') -> OnnxPolicy:
    """Read the actor in an ONNX file; ``output`` chooses one of several outputs.

    Raise ArtifactError for what is no such file, and for a graph that is no plain actor, naming
    the node, its operator and a remedy.
    """
    proto = onnx_file.checked_model(path, known=OPERATORS)
    source = onnx_file.only_input(proto)
    onnx_file.choose_output(proto, output)
    onnx_file.fix_batch(proto, source)
    onnx_file.make_names_unique(proto)
    folded = _folded(proto, path)
    session = onnx_file.onnx_session(proto.SerializeToString())

    def answer(observations: np.ndarray) -> np.ndarray:
        rows = np.asarray(observations, np.float32)
        return np.concatenate(
            [np.asarray(session.run(None, {source: row[None]})[0]).reshape(1, -1) for row in rows]
        )

    return OnnxPolicy(
        model=_keras_model(folded),
        answer=answer,
        metadata={entry.key: entry.value for entry in proto.metadata_props},
    )


def _folded(proto: Any, path: Path) -> Any:
    """Return the graph after ONNX Runtime's basic optimisations: standard operators alone."""
    with tempfile.TemporaryDirectory(prefix='rl_edge-') as folder:
        target = Path(folder) / 'folded.onnx'
        try:
            onnx_file.onnx_session(
                proto.SerializeToString(),
                graph_optimization_level=onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
                optimized_model_filepath=str(target),
            )
        except Exception as error:  # ONNX Runtime's own types
            reason = first_line(error)
            raise ArtifactError(f'{path} cannot be run by ONNX Runtime: {reason}') from error
        return onnx.load(str(target))


def _keras_model(proto: Any) -> keras.Model:
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
            values[following.output[0]] = dense(values[node.input[0]], kernel, bias.reshape(-1))
            fused.add(bias_place)
            continue
        attributes = {
            attribute.name: onnx.helper.get_attribute_value(attribute)
            for attribute in node.attribute
        }
        inputs = [values[name] if name else None for name in node.input]
        results = _converted(node, inputs, attributes)
        results = results if isinstance(results, list) else [results]
        values.update(zip(node.output, results, strict=False))
    result = values[graph.output[0].name]
    if not hasattr(result, 'shape') or len(result.shape) != 2 or isinstance(result, np.ndarray):
        raise ArtifactError(
            f'the output {graph.output[0].name} is not a vector that depends on the observation'
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


def _converted(node: Any, inputs: Values, attributes: Attributes) -> Any:
    where = f'node {node.name!r} of operator {node.op_type}'
    if all(isinstance(value, np.ndarray) or value is None for value in inputs):
        given = zip(node.input, inputs, strict=True)
        arrays = [onnx.numpy_helper.from_array(value, name) for name, value in given if name]
        result = onnx.helper.make_value_info(node.output[0], onnx.TypeProto())
        graph = onnx.helper.make_graph([node], 'constant', [], [result], arrays)
        return list(ReferenceEvaluator(graph).run(None, {}))
    convert = OPERATORS.get(node.op_type)
    if convert is None:
        raise ArtifactError(f'{where} depends on the observation, and has no form here')
    try:
        if node.op_type == 'Split':
            attributes['outputs'] = len(node.output)
        return convert(inputs, attributes)
    except ArtifactError as error:
        raise ArtifactError(f'{where}: {error}') from error
    except Exception as error:  # whatever Keras raises for shapes that do not fit
        raise ArtifactError(f'{where} cannot be converted: {first_line(error)}') from error
