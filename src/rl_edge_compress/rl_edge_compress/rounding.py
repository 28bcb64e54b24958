"""Round weights to integers so that the errors of a layer cancel on the inputs that it sees.

Each weight rounded to its nearest integer leaves errors that add up. GPTQ (Frantar et al. 2023,
Alg. 1, after Optimal Brain Surgeon) rounds input by input, and lets the weights that are still to
be rounded, and at last the bias, take over the error, as the inputs' correlations tell.
"""

from typing import Any

import numpy as np

from rl_edge_compress.numpy_graph import numpy_graph
from rl_edge_compress.tflite_file import add_buffer, constant, operators, read_model, write_model

DAMPING = 0.01
"""Share of the mean of the correlations' diagonal added to it, as in the paper."""


def round_kernels(float32: bytes, observations: np.ndarray, *, bits: int) -> bytes:
    """Return a float32 actor whose dense weights are multiples of their scale already.

    A quantizer of so many ``bits`` then rounds nothing: at 8 bits with one scale per layer, at 4
    with one a channel (unit). ``observations`` (count, n) are ones that the policy visits.
    Layers have the bits of `dense_weight_bits`.
    """
    graph = numpy_graph(float32)
    tensors = graph.tensors(observations)
    model = read_model(float32)
    bits_of = dense_weight_bits(model, bits)
    for step in operators(model):
        kernel = constant(model, step.inputs[1]) if step.name == 'FULLY_CONNECTED' else None
        if kernel is None:
            continue
        # The converter leaves out a bias of zeros.
        has_bias = len(step.inputs) > 2 and step.inputs[2] >= 0
        bias = constant(model, step.inputs[2]) if has_bias else None
        given = bits_of[step.outputs[0]]
        scales = kernel_scales(kernel, bits=given, per_channel=given < 8)
        kernel, bias = compensated(kernel, bias, tensors[step.inputs[0]], scales)
        for index, values in ((step.inputs[1], kernel), (step.inputs[2], bias)):
            if values is not None:
                # A buffer of its own: equal constants may share one.
                model.subgraphs[0].tensors[index].buffer = add_buffer(model, values)
    return write_model(model)


def dense_weight_bits(model: Any, bits: int) -> dict[int, int]:
    """Return the bits of each dense layer's weights, by the index of its output.

    Below 8, the first and the last layer keep 8 where there are others.
    """
    outputs = [step.outputs[0] for step in operators(model) if step.name == 'FULLY_CONNECTED']
    ends = {outputs[0], outputs[-1]} if len(outputs) > 2 else set()
    return {index: max(bits, 8) if index in ends else bits for index in outputs}


def rounded(values: np.ndarray) -> np.ndarray:
    """Round as TFLite does (std::round): halves away from zero, where NumPy takes the even."""
    return np.copysign(np.floor(np.abs(values) + 0.5), values)


def kernel_scales(kernel: np.ndarray, *, bits: int, per_channel: bool) -> np.ndarray:
    """Return the step of each unit (units, 1) of a kernel (units, inputs), symmetric about 0."""
    highest = 2 ** (bits - 1) - 1
    largest = np.abs(kernel).max(axis=1, keepdims=True)
    if not per_channel:
        largest = np.full_like(largest, largest.max())
    return np.where(largest > 0, largest, 1.0) / highest


def compensated(
    kernel: np.ndarray, bias: np.ndarray | None, inputs: np.ndarray, scales: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return kernel (units, inputs) in multiples of ``scales`` (units, 1), and its bias (units,).

    ``inputs`` (count, inputs) are what the layer sees. Zeros stay zero, for the sake of pruned
    layers, and a unit's largest weight keeps its integer, so that the scale stays the same.
    """
    seen, weights = inputs.astype(np.float64), kernel.astype(np.float64)
    if bias is not None:
        seen = np.column_stack([seen, np.ones(len(seen))])
        weights = np.column_stack([weights, bias])
    factor = _inverse_factor(seen)
    highest = np.abs(kernel).max(axis=1, keepdims=True) / scales
    nearest = rounded(kernel / scales)
    fixed = (kernel == 0) | (np.abs(nearest) >= rounded(highest))
    for place in range(kernel.shape[1]):
        free = rounded(np.clip(weights[:, place] / scales[:, 0], -highest[:, 0], highest[:, 0]))
        integers = np.where(fixed[:, place], nearest[:, place], free)
        error = (weights[:, place] - integers * scales[:, 0]) / factor[place, place]
        weights[:, place] = integers * scales[:, 0]
        weights[:, place + 1 :] -= error[:, None] * factor[place, place + 1 :]
    weights = weights.astype(np.float32)
    return (weights, None) if bias is None else (weights[:, :-1], weights[:, -1])


def _inverse_factor(seen: np.ndarray) -> np.ndarray:
    """Return upper U, U^T U = H^-1, H the damped correlations of what is seen (count, n)."""
    correlations = seen.T @ seen / len(seen)
    size = len(correlations)
    correlations += DAMPING * np.trace(correlations) / size * np.eye(size)
    factor: np.ndarray = np.linalg.cholesky(np.linalg.inv(correlations)).T
    return factor
