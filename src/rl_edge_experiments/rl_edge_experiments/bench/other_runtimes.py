"""The same actor in NumPy and in ONNX Runtime, built from its float32 file's operators."""

from collections.abc import Callable
from typing import Any

import numpy as np

from rl_edge_compress.numpy_graph import COMPUTE, NumpyGraph
from rl_edge_compress.onnx_graph import onnx_model

Call = Callable[[np.ndarray], np.ndarray]


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


def onnx_call(graph: NumpyGraph, *, observation_size: int) -> Call:
    """Return observation (n,) -> action (m,) by ONNX Runtime on one thread.

    Raise ArtifactError for an operator that has no ONNX form here.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        onnx_model(graph, observation_size),
        options,
        providers=['CPUExecutionProvider'],
    )
    name = session.get_inputs()[0].name

    def act(observation: np.ndarray) -> np.ndarray:
        action: np.ndarray = session.run(None, {name: observation[None]})[0][0]
        return action

    return act
