"""Run a ``.tflite`` file by LiteRT (package ai-edge-litert), the preferred runtime."""

from pathlib import Path

from ai_edge_litert.interpreter import Interpreter

from rl_edge_policy.policy import ModelIdentity
from rl_edge_policy.runtimes.interpreter_policy import InterpreterPolicy


def load(path: Path, identity: ModelIdentity, *, threads: int) -> InterpreterPolicy:
    """Load a model file whose hash was checked; raise ArtifactError when it does not fit."""
    return InterpreterPolicy(
        path,
        identity,
        make_interpreter=lambda content: Interpreter(model_content=content, num_threads=threads),
    )
