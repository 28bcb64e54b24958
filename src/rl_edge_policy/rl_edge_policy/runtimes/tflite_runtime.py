"""Run a ``.tflite`` file by tflite-runtime: Python 3.11 at most, and numpy below 2."""

from pathlib import Path

from tflite_runtime.interpreter import Interpreter

from rl_edge_policy.policy import ModelIdentity
from rl_edge_policy.runtimes.interpreter_policy import InterpreterPolicy


def load(path: Path, identity: ModelIdentity, *, threads: int) -> InterpreterPolicy:
    """Load a model file whose hash was checked; raise ArtifactError when it does not fit."""
    return InterpreterPolicy(
        path,
        identity,
        make_interpreter=lambda content: Interpreter(model_content=content, num_threads=threads),
    )
