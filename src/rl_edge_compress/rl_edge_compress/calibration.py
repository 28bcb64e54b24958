"""Observations that calibrate 8-bit activations, and the ranges they give."""

from collections.abc import Mapping

import numpy as np

from rl_edge_compress.numpy_graph import NumpyGraph
from rl_edge_core.errors import ConfigurationError

SATURATION = 4.0
"""Where tanh is 1 to within 0.0007: inputs beyond it can share one integer."""


def checked_observations(observations: np.ndarray | None, size: int) -> np.ndarray:
    """Return calibration observations as float32, shape (count, size).

    Raise ConfigurationError when there are none, when they are not finite or of another width,
    and when all are the same: then no range can be learned from them.
    """
    remedy = 'give some hundred observations that the policy visits, e.g. from a rollout or a bag'
    values = np.asarray([] if observations is None else observations, np.float32)
    if not values.size:
        raise ConfigurationError(
            f'8-bit activations need calibration, got no observations: {remedy}'
        )
    if values.ndim != 2 or values.shape[1] != size:
        raise ConfigurationError(
            f'calibration observations have shape {values.shape}, must have (count, {size})'
        )
    faulty = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if faulty.size:
        raise ConfigurationError(
            f'{faulty.size} calibration observations are not finite, the first is number '
            f'{faulty[0]}: leave them out'
        )
    if np.array_equal(values.min(axis=0), values.max(axis=0)):
        raise ConfigurationError(
            f'all {len(values)} calibration observations are the same: {remedy}'
        )
    return values


def dense_ranges(graph: NumpyGraph, observations: np.ndarray) -> Mapping[int, tuple[float, float]]:
    """Return (smallest, largest) of each tensor at a dense layer, by tensor index.

    What feeds a tanh is cut to where tanh saturates: beyond it the integers would be wasted, and
    a step of the rest would grow with them.
    """
    tensors = graph.tensors(observations)
    into_tanh = _indices_into_tanh(graph)
    ranges = {}
    for operator in graph.operators:
        if operator.name == 'FULLY_CONNECTED':
            for index in (operator.inputs[0], operator.outputs[0]):
                low, high = float(tensors[index].min()), float(tensors[index].max())
                if index in into_tanh:
                    low, high = max(low, -SATURATION), min(high, SATURATION)
                ranges[index] = (low, high)
    return ranges


def _indices_into_tanh(graph: NumpyGraph) -> set[int]:
    found = {step.inputs[0] for step in graph.operators if step.name == 'TANH'}
    # A split or a slice hands the head's values on to tanh unchanged.
    for step in reversed(graph.operators):
        if step.name in ('SPLIT', 'STRIDED_SLICE') and found & set(step.outputs):
            found.add(step.inputs[1 if step.name == 'SPLIT' else 0])
    return found
