"""What computes an action, ready to be timed, in groups that each need a process of their own.

Run as a program (``python -m ...contenders GROUP FOLDER``) it waits for a line on stdin, times
the group once, answers with a line of JSON, and so on. In a process of its own a compressed policy
runs as it does on the edge device, without TensorFlow beside it; and tflite-runtime and TensorFlow
can't be in one.
"""

import importlib
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from rl_edge_core.artifact import FULL_RECIPE, Manifest, load_manifest
from rl_edge_core.errors import ArtifactError
from rl_edge_experiments.bench.timing import Contender, time_round, warm_up
from rl_edge_policy.load import load_policy

KERAS, LITERT, TFLITE_RUNTIME, OTHERS = 'keras', 'litert', 'tflite_runtime', 'others'
KERAS_GRAPH, KERAS_CALL, KERAS_PREDICT = 'keras graph', 'keras model(x)', 'keras predict'
LEFT_OUT = 'left out: '
_PACKAGES = {LITERT: 'ai_edge_litert', TFLITE_RUNTIME: 'tflite_runtime'}
_OBSERVATIONS = 10
_TOLERANCE = 1e-3

Call = Callable[[np.ndarray], np.ndarray]


def groups() -> tuple[str, ...]:
    """Return the groups whose runtimes are installed."""
    runtimes = [name for name, package in _PACKAGES.items() if importlib.util.find_spec(package)]
    return (KERAS, *runtimes, OTHERS)


def policy_name(recipe: str, runtime: str) -> str:
    """Return the name of a whole policy: validation, interpreter and limits."""
    return f'{recipe} on {runtime}, policy'


def interpreter_name(recipe: str, runtime: str) -> str:
    """Return the name of a bare interpreter: set the input, invoke, get the output."""
    return f'{recipe} on {runtime}, bare interpreter'


def observations_for(manifest: Manifest) -> np.ndarray:
    """Return the observations that are timed, shape (count, observation_size)."""
    size = manifest.environment.observation_size
    return np.random.default_rng(0).normal(0, 0.5, (_OBSERVATIONS, size)).astype(np.float32)


def make_contenders(group: str, folder: Path) -> tuple[list[Contender], list[str]]:
    """Return a group's contenders, and what had to be left out, with the reason."""
    if group == KERAS:
        return _keras(folder), []
    if group == OTHERS:
        return _others(folder, load_manifest(folder))
    return _tflite(folder, load_manifest(folder), group), []


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
        Contender(policy_name(FULL_RECIPE, KERAS), full.act),
        # The outputs are left as tensors: nothing but the call is counted.
        Contender(KERAS_GRAPH, lambda x: function(tf.constant(x[None]))),
        Contender(KERAS_CALL, lambda x: model(x[None], training=False), batch=1),
        Contender(KERAS_PREDICT, lambda x: model.predict(x[None], verbose=0), batch=1),
    ]


def _tflite(folder: Path, manifest: Manifest, runtime: str) -> list[Contender]:
    contenders = []
    for entry in manifest.files:
        if runtime in entry.runtimes:
            policy = load_policy(folder, recipe=entry.recipe, runtime=runtime)
            bare = _bare_interpreter(folder / entry.file, runtime)
            contenders.append(Contender(policy_name(entry.recipe, runtime), policy.act))
            contenders.append(Contender(interpreter_name(entry.recipe, runtime), bare))
    return contenders


def _bare_interpreter(path: Path, runtime: str) -> Call:
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


def _others(folder: Path, manifest: Manifest) -> tuple[list[Contender], list[str]]:
    from rl_edge_compress.numpy_graph import numpy_graph
    from rl_edge_experiments.bench.other_runtimes import numpy_call, onnx_call

    spec, contenders, left_out = manifest.environment, [], []
    expected = load_policy(folder, recipe='float32').act
    graph = numpy_graph((folder / manifest.entry('float32').file).read_bytes())
    makers: dict[str, Callable[[], Call]] = {
        'numpy': lambda: numpy_call(graph),
        'onnxruntime': lambda: onnx_call(graph, observation_size=spec.observation_size),
    }
    for name, make in makers.items():
        try:
            call = make()
            _check(call, expected, observations_for(manifest))
            contenders.append(Contender(name, call))
        except (ValueError, ImportError, ArtifactError) as error:
            left_out.append(f'{name}: {error}')
    return contenders, left_out


def _check(call: Call, expected: Call, observations: np.ndarray) -> None:
    worst = max(float(np.abs(call(row) - expected(row)).max()) for row in observations)
    if not worst < _TOLERANCE:
        raise ValueError(f'it computes another action, {worst:.2g} off')


def main() -> None:
    """Time the group each time that a line is read."""
    group, folder = sys.argv[1], Path(sys.argv[2])
    observations = observations_for(load_manifest(folder))
    contenders, left_out = make_contenders(group, folder)
    warm_up(contenders, observations)
    order = np.random.default_rng(0)
    print(json.dumps(left_out), flush=True)
    for _ in sys.stdin:
        print(json.dumps(time_round(contenders, observations, order)), flush=True)


if __name__ == '__main__':
    main()
