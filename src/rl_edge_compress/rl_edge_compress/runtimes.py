"""Which runtimes load a file, found out by loading it: each in a process of its own.

tflite-runtime and TensorFlow export the same C++ symbols; in one process the second one crashes.
"""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rl_edge_core.errors import ArtifactError
from rl_edge_core.tensorflow_setup import without_noise

MODULES = {'litert': 'ai_edge_litert.interpreter', 'tflite_runtime': 'tflite_runtime.interpreter'}
"""The runtimes of `.tflite` files by name, the preferred one first."""
LIMIT_SEC = 120.0


@dataclass(frozen=True)
class Trial:
    """What came of running one file in one runtime."""

    actions: np.ndarray | None
    """(count, action_size) for the observations given; None when it did not load."""
    reason: str = ''
    """Why it did not."""


@dataclass(frozen=True)
class Python:
    """A Python that runs the runtimes: this one, or that of an emulated machine."""

    command: tuple[str, ...] = (sys.executable,)
    environment: Mapping[str, str] = field(default_factory=dict)
    """Variables beside those of this process."""


THIS_PYTHON = Python()


def is_installed(runtime: str) -> bool:
    """Return whether a runtime of `MODULES` can be imported here."""
    return importlib.util.find_spec(MODULES[runtime].split('.')[0]) is not None


def try_runtimes(
    files: Sequence[Path], observations: np.ndarray, *, python: Python = THIS_PYTHON
) -> dict[str, dict[str, Trial]]:
    """Run ``observations``, shape (count, n), through files in every runtime.

    Return runtime -> file name -> what came of it. A runtime that is not installed here says so;
    another ``python`` must have them all.
    """
    return {
        runtime: _try_runtime(runtime, files, observations, python)
        if python is not THIS_PYTHON or is_installed(runtime)
        else {file.name: Trial(None, 'not tried: not installed here') for file in files}
        for runtime in MODULES
    }


def _try_runtime(
    runtime: str, files: Sequence[Path], observations: np.ndarray, python: Python
) -> dict[str, Trial]:
    request = {
        'runtime': runtime,
        'files': [str(file.resolve()) for file in files],
        'observations': np.asarray(observations, np.float32).tolist(),
    }
    done = subprocess.run(
        [*python.command, '-m', 'rl_edge_compress.runtimes'],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        timeout=LIMIT_SEC,
        check=False,
        env={**os.environ, **python.environment},
    )
    if done.returncode:
        why = done.stderr.strip().splitlines()[-1:] or [f'exit status {done.returncode}']
        raise ArtifactError(f'{runtime} could not be tried: {why[0]}')
    answers = json.loads(done.stdout.splitlines()[-1])
    return {
        name: Trial(None, answer['reason'])
        if 'reason' in answer
        else Trial(np.asarray(answer['actions'], np.float32))
        for name, answer in answers.items()
    }


def open_interpreter(runtime: str, content: bytes) -> Any:
    """Return a one-thread interpreter of a runtime, ready to run ``content``."""
    module = importlib.import_module(MODULES[runtime])
    with without_noise():
        interpreter = module.Interpreter(model_content=content, num_threads=1)
        interpreter.allocate_tensors()
    return interpreter


def interpreter_call(interpreter: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Return observation (n,) -> action (m,) by set the input, invoke, get the output."""
    source = interpreter.get_input_details()[0]['index']
    result = interpreter.get_output_details()[0]['index']

    def call(observation: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(source, observation[None])
        interpreter.invoke()
        action: np.ndarray = interpreter.get_tensor(result)[0]
        return action

    return call


def run_interpreter(interpreter: Any, observations: np.ndarray) -> np.ndarray:
    """Return the actions (count, m) for observations (count, n), one call each."""
    call = interpreter_call(interpreter)
    return np.asarray([call(observation) for observation in observations])


def _answer(runtime: str, file: Path, observations: np.ndarray) -> dict[str, Any]:
    try:
        interpreter = open_interpreter(runtime, file.read_bytes())
        return {'actions': run_interpreter(interpreter, observations).tolist()}
    except (RuntimeError, ValueError) as error:
        return {'reason': explain(str(error))}


def explain(message: str) -> str:
    """Return a runtime's error message in one line, with the remedy where it is known."""
    line = ' '.join(message.split())
    if 'find op for builtin opcode' in line:
        operator = line.split('opcode ')[1].split('.')[0]
        return f'lacks operator {operator}: use another recipe or a newer runtime'
    return line


def _main() -> None:
    request = json.load(sys.stdin)
    observations = np.asarray(request['observations'], np.float32)
    files = [Path(file) for file in request['files']]
    print(json.dumps({f.name: _answer(request['runtime'], f, observations) for f in files}))


if __name__ == '__main__':
    _main()
