"""A process that times single actions of one runtime, on request.

Started by `benchmark` as ``python -m rl_edge_compress.timing_worker FOLDER RUNTIME``: a runtime
has a process of its own, since two of them in one process crash each other, and a compressed
policy is to run without TensorFlow beside it. Requests and answers are lines of JSON.
"""

import functools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from rl_edge_core.artifact import checked_file, load_manifest
from rl_edge_core.errors import ArtifactError
from rl_edge_core.resources import sample_resources

Call = Callable[[np.ndarray], Any]

POLICY = 'policy'
"""The whole policy: validation, interpreter and limits of the action."""
BARE_INTERPRETER = 'bare interpreter'
"""Set the input, invoke, get the output."""
KERAS_GRAPH, KERAS_CALL, KERAS_PREDICT = 'graph', 'model(x)', 'predict'
NUMPY, ONNXRUNTIME = 'numpy', 'onnxruntime'
_WARM_UP_CALLS = 5


@functools.cache
def load_call(folder: Path, runtime: str, recipe: str, form: str = POLICY) -> Call:
    """Return observation (n,) -> action for a recipe's file in a runtime, in one of its forms.

    Actions have the shape (m,), but for the forms of Keras, whose outputs stay tensors: nothing
    but the call is timed. Raise ArtifactError for a network that the runtime can't run, and
    ImportError where the runtime is missing.
    """
    manifest = load_manifest(folder)
    size = manifest.environment.observation_size
    path = checked_file(folder, manifest.entry(recipe))
    if runtime == NUMPY:
        from rl_edge_compress.numpy_graph import numpy_graph

        graph = numpy_graph(path.read_bytes())
        return lambda observation: graph(observation[None])[0]
    if runtime == ONNXRUNTIME:
        return onnx_call(path.read_bytes(), size)
    if form == POLICY:
        from rl_edge_policy.load import load_policy

        return load_policy(folder, recipe=recipe, runtime=runtime).act
    if form == BARE_INTERPRETER:
        from rl_edge_compress.runtimes import interpreter_call, open_interpreter

        return interpreter_call(open_interpreter(runtime, path.read_bytes()))
    import keras
    import tensorflow as tf

    model = keras.saving.load_model(path, compile=False, safe_mode=True)
    if form == KERAS_PREDICT:
        return lambda observation: model.predict(observation[None], verbose=0)
    if form == KERAS_CALL:
        return lambda observation: model(observation[None], training=False)
    signature = [tf.TensorSpec((1, size), tf.float32)]
    traced = tf.function(lambda x: model(x, training=False), input_signature=signature)
    function = traced.get_concrete_function()
    return lambda observation: function(tf.constant(observation[None]))


def onnx_call(content: bytes, size: int) -> Call:
    """Return a float32 file's network, of ``size`` observations, in ONNX Runtime, one thread."""
    from rl_edge_compress.numpy_graph import numpy_graph
    from rl_edge_compress.onnx_file import onnx_session
    from rl_edge_compress.onnx_graph import onnx_model

    session = onnx_session(onnx_model(numpy_graph(content), size))
    source = session.get_inputs()[0].name
    return lambda observation: session.run(None, {source: observation[None]})[0][0]


def time_calls(
    call: Call, observations: np.ndarray, *, batch: int = 1, calls: int = 0, turn_sec: float = 0.0
) -> list[int]:
    """Return how long batches of ``batch`` calls took, in ns, after a few that warm the caches.

    As many as hold ``calls`` calls and last ``turn_sec``. ``observations`` has shape (count, n).
    """
    for observation in observations[:_WARM_UP_CALLS]:
        call(observation)
    durations: list[int] = []
    number = 0
    while number < calls or sum(durations) < turn_sec * 1e9:
        rows = [observations[(number + i) % len(observations)] for i in range(batch)]
        number += batch
        start = time.perf_counter_ns()
        for row in rows:
            call(row)
        durations.append(time.perf_counter_ns() - start)
    return durations


def answer(folder: Path, runtime: str, request: dict[str, Any]) -> dict[str, Any]:
    """Return what a request asks for, or why the runtime can't do it; files are loaded once."""
    observations = np.asarray(request['observations'], np.float32)
    try:
        call = load_call(folder, runtime, request['recipe'], request['form'])
    except (ArtifactError, ImportError) as error:
        return {'error': str(error)}
    if request['what'] == 'actions':
        return {'actions': [np.asarray(call(each)).tolist() for each in observations]}
    if request['what'] == 'memory':
        for observation in observations:
            call(observation)
        sample = sample_resources(psutil.Process())
        return {
            'resident_memory_mb': sample.resident_memory_mb,
            'unique_memory_mb': sample.unique_memory_mb,
        }
    return {'ns': time_calls(call, observations, **request['how'])}


def main() -> None:
    """Answer requests from standard input until it closes."""
    folder, runtime = Path(sys.argv[1]), sys.argv[2]
    for line in sys.stdin:
        print(json.dumps(answer(folder, runtime, json.loads(line))), flush=True)


if __name__ == '__main__':
    main()
