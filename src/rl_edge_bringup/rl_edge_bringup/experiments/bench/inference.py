"""Time one action: every runtime beside Keras, NumPy, ONNX Runtime and bare interpreters.

Run as a program (``python -m rl_edge_bringup.experiments.bench.inference FOLDER ROUNDS OUT``), so
that TensorFlow is loaded in a process of its own.
"""

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rl_edge_bringup.experiments.bench.other_runtimes import numpy_call, onnx_call
from rl_edge_bringup.experiments.bench.timing import Contender, section, spread, time_in_turn
from rl_edge_compress.numpy_graph import numpy_graph
from rl_edge_core.artifact import FULL_RECIPE, Manifest, load_manifest
from rl_edge_policy.load import load_policy

_OBSERVATIONS = 10
_SLOW_BATCHES, _SLOWEST_BATCHES = 15, 1
_TOLERANCE = 1e-3
KERAS_GRAPH, KERAS_CALL, KERAS_PREDICT = 'keras graph', 'keras model(x)', 'keras predict'


def measure_inference(folder: Path, *, rounds: int) -> dict[str, Any]:
    """Return the section ``inference`` of bench.json."""
    manifest = load_manifest(folder)
    size = manifest.environment.observation_size
    observations = np.random.default_rng(0).normal(0, 0.5, (_OBSERVATIONS, size))
    observations = observations.astype(np.float32)
    compressed = manifest.compressed_recipe()
    runtime = load_policy(folder, recipe=compressed).runtime
    policy_name, interpreter_name = _names(compressed, runtime)
    contenders = [*_keras(folder), *_tflite(folder, manifest)]
    others, left_out = _others(folder, manifest, observations)
    times = time_in_turn([*contenders, *others], observations, rounds=rounds)
    # Ratios are taken round by round, before the median.
    policy = times[policy_name]
    return section(
        {
            'full_over_compressed': spread(times[KERAS_GRAPH] / policy),
            'compressed_over_interpreter': spread(policy / times[interpreter_name]),
            'keras_call_over_compressed': spread(times[KERAS_CALL] / policy),
        },
        compressed=policy_name,
        us=section({name: spread(values) for name, values in times.items()}),
        left_out=left_out,
        rounds=rounds,
    )


def _names(recipe: str, runtime: str) -> tuple[str, str]:
    return f'{recipe} on {runtime}, policy', f'{recipe} on {runtime}, bare interpreter'


def _keras(folder: Path) -> list[Contender]:
    import keras
    import tensorflow as tf

    full = load_policy(folder, recipe=FULL_RECIPE)
    path = folder / load_manifest(folder).entry(FULL_RECIPE).file
    model = keras.saving.load_model(path, compile=False, safe_mode=True)
    signature = [tf.TensorSpec((1, full.spec.observation_size), tf.float32)]
    graph = tf.function(lambda x: model(x, training=False), input_signature=signature)
    function = graph.get_concrete_function()
    return [
        Contender('keras graph, policy', full.act, batches=_SLOW_BATCHES),
        # The outputs are left as tensors: nothing but the call is counted.
        Contender(KERAS_GRAPH, lambda x: function(tf.constant(x[None])), batches=_SLOW_BATCHES),
        Contender(KERAS_CALL, lambda x: model(x[None], training=False), batches=_SLOW_BATCHES),
        Contender(
            KERAS_PREDICT, lambda x: model.predict(x[None], verbose=0), batches=_SLOWEST_BATCHES
        ),
    ]


def _tflite(folder: Path, manifest: Manifest) -> list[Contender]:
    contenders = []
    for entry in manifest.files:
        for runtime in entry.runtimes if entry.recipe != FULL_RECIPE else ():
            if importlib.util.find_spec(_PACKAGES[runtime]) is None:
                continue
            policy_name, interpreter_name = _names(entry.recipe, runtime)
            policy = load_policy(folder, recipe=entry.recipe, runtime=runtime)
            bare = _bare_interpreter(folder / entry.file, runtime)
            contenders += [Contender(policy_name, policy.act), Contender(interpreter_name, bare)]
    return contenders


_PACKAGES = {'litert': 'ai_edge_litert', 'tflite_runtime': 'tflite_runtime'}


def _bare_interpreter(path: Path, runtime: str) -> Callable[[np.ndarray], np.ndarray]:
    interpreter_type = importlib.import_module(f'{_PACKAGES[runtime]}.interpreter').Interpreter
    interpreter = interpreter_type(model_content=path.read_bytes(), num_threads=1)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]['index']
    target = interpreter.get_output_details()[0]['index']

    def act(observation: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(source, observation[None])
        interpreter.invoke()
        action: np.ndarray = interpreter.get_tensor(target)[0]
        return action

    return act


def _others(
    folder: Path, manifest: Manifest, observations: np.ndarray
) -> tuple[list[Contender], dict[str, str]]:
    """Return NumPy and ONNX Runtime, and why one of them had to be left out."""
    contenders, left_out = [], {}
    full = load_policy(folder, recipe=FULL_RECIPE)
    makers: dict[str, Callable[[Any], Callable[[np.ndarray], np.ndarray]]] = {
        'numpy': numpy_call,
        'onnxruntime': lambda graph: onnx_call(
            graph,
            observation_size=manifest.environment.observation_size,
            action_size=manifest.environment.action_size,
        ),
    }
    for name, make in makers.items():
        try:
            content = (folder / manifest.entry('float32').file).read_bytes()
            call = make(numpy_graph(content))
            _check(name, call, full.act, observations)
        except (ValueError, ImportError) as error:
            left_out[name] = str(error)
        else:
            contenders.append(Contender(name, call))
    return contenders, left_out


def _check(
    name: str,
    call: Callable[[np.ndarray], np.ndarray],
    expected: Callable[[np.ndarray], np.ndarray],
    observations: np.ndarray,
) -> None:
    worst = max(float(np.abs(call(row) - expected(row)).max()) for row in observations)
    if not worst < _TOLERANCE:
        raise ValueError(f'{name} computes another action: {worst:.2g} off')


if __name__ == '__main__':
    _folder, _rounds, _out = sys.argv[1:]
    Path(_out).write_text(json.dumps(measure_inference(Path(_folder), rounds=int(_rounds))))
