"""A process that times single actions of one runtime, on request, a block at a time.

Started by `benchmark` as ``python -m rl_edge_compress.timing_worker FOLDER RUNTIME``: a runtime
has a process of its own, since two of them in one process crash each other. Requests and answers
are lines of JSON.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from rl_edge_core.artifact import checked_file, load_manifest
from rl_edge_core.resources import sample_resources

Act = Callable[[np.ndarray], np.ndarray]


def load_act(folder: Path, runtime: str, recipe: str) -> Act:
    """Return observation (n,) -> action (m,) of a recipe's file in a runtime."""
    if runtime in ('numpy', 'onnxruntime'):
        manifest = load_manifest(folder)
        content = checked_file(folder, manifest.entry(recipe)).read_bytes()
        size = manifest.environment.observation_size
        return numpy_act(content) if runtime == 'numpy' else onnx_act(content, size)
    from rl_edge_policy.load import load_policy

    return load_policy(folder, recipe=recipe, runtime=runtime).act


def numpy_act(content: bytes) -> Act:
    """Return a float32 file's network in NumPy."""
    from rl_edge_compress.numpy_graph import numpy_graph

    graph = numpy_graph(content)
    return lambda observation: graph(observation[None])[0]


def onnx_act(content: bytes, size: int) -> Act:
    """Return a float32 file's network, of ``size`` observations, in ONNX Runtime, one thread."""
    import onnxruntime

    from rl_edge_compress.numpy_graph import numpy_graph
    from rl_edge_compress.onnx_graph import onnx_model

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        onnx_model(numpy_graph(content), size), options, providers=['CPUExecutionProvider']
    )
    source = session.get_inputs()[0].name
    return lambda observation: session.run(None, {source: observation[None]})[0][0]


def time_calls(act: Act, observations: np.ndarray, calls: int) -> list[int]:
    """Return how long each call took, in ns, after a few that warm the caches."""
    for observation in observations[:5]:
        act(observation)
    durations = []
    for number in range(calls):
        observation = observations[number % len(observations)]
        start = time.perf_counter_ns()
        act(observation)
        durations.append(time.perf_counter_ns() - start)
    return durations


def _answer(request: dict[str, Any], folder: Path, runtime: str, loaded: dict[str, Act]) -> Any:
    recipe = request['recipe']
    if recipe not in loaded:
        loaded[recipe] = load_act(folder, runtime, recipe)
    observations = np.asarray(request['observations'], np.float32)
    durations = time_calls(loaded[recipe], observations, request['calls'])
    sample = sample_resources(psutil.Process())
    return {
        'ns': durations,
        'resident_memory_mb': sample.resident_memory_mb,
        'unique_memory_mb': sample.unique_memory_mb,
    }


def main() -> None:
    """Answer requests from standard input until it closes."""
    folder, runtime = Path(sys.argv[1]), sys.argv[2]
    loaded: dict[str, Act] = {}
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line), folder, runtime, loaded)), flush=True)


if __name__ == '__main__':
    main()
