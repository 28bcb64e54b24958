"""What can be read off a `.tflite` file without running it."""

import gzip
from dataclasses import dataclass

import numpy as np

from rl_edge_compress.tflite_file import constant, operators, read_model


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
