"""The policy over a TFLite interpreter; LiteRT and tflite-runtime have the same Python calls."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rl_edge_core.errors import ArtifactError
from rl_edge_policy.policy import (
    ActionLimiter,
    IdentifiedPolicy,
    ModelIdentity,
    RejectedActionError,
    checked_observation,
)

_FLOAT32 = np.dtype(np.float32)


class InterpreterPolicy(IdentifiedPolicy):
    """Act by a TFLite interpreter, by its public calls alone.

    Views of the interpreter's tensors would save two copies of some hundred bytes, but must not be
    held during `invoke`, and making them anew for each action costs more than the copies.
    """

    def __init__(
        self, path: Path, identity: ModelIdentity, *, make_interpreter: Callable[[bytes], Any]
    ) -> None:
        """Load the model; raise ArtifactError for one that can't be loaded or has other shapes."""
        super().__init__(identity)
        # From memory: a mapped file that is overwritten while it is in use ends the process.
        interpreter = _opened(make_interpreter, path, identity.runtime)
        self._input = _checked_tensor(
            interpreter.get_input_details(), 'input', self.spec.observation_size, path
        )
        self._output = _checked_tensor(
            interpreter.get_output_details(), 'output', self.spec.action_size, path
        )
        self._shape = (self.spec.observation_size,)
        self._set_tensor = interpreter.set_tensor
        self._invoke = interpreter.invoke
        self._get_tensor = interpreter.get_tensor
        self._limited = ActionLimiter(self.spec).limited

    def act(self, observation: np.ndarray) -> np.ndarray:
        """Return the limited action; see `Policy.act`."""
        # The dot product is finite for every sane observation; what is not gets a closer look.
        if (
            observation.dtype is not _FLOAT32
            or observation.shape != self._shape
            or not math.isfinite(observation.dot(observation))
        ):
            observation = checked_observation(self.spec, observation)
        self._set_tensor(self._input, observation[None])
        try:
            self._invoke()
        except (RuntimeError, ValueError) as error:
            raise RejectedActionError(f'{self.model_id} failed to run: {error}') from error
        return self._limited(self._get_tensor(self._output)[0])


def _opened(make_interpreter: Callable[[bytes], Any], path: Path, runtime: str) -> Any:
    try:
        interpreter = make_interpreter(path.read_bytes())
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError, OSError) as error:
        # E.g. "Didn't find op for builtin opcode 'FULLY_CONNECTED' version '12'."
        reason = ' '.join(str(error).split())
        raise ArtifactError(
            f'runtime {runtime} cannot load {path}: {reason} Choose another runtime or recipe, '
            f'or install a newer {runtime}'
        ) from error
    return interpreter


def _checked_tensor(details: list[dict[str, Any]], what: str, size: int, path: Path) -> int:
    if len(details) != 1:
        raise ArtifactError(f'{path} has {len(details)} {what}s, must have one')
    (tensor,) = details
    shape = tuple(int(length) for length in tensor['shape'])
    if shape != (1, size) or tensor['dtype'] is not np.float32:
        raise ArtifactError(
            f'{path} has an {what} of shape {shape} and type {np.dtype(tensor["dtype"])}, its '
            f'manifest says (1, {size}) and float32: export the policy again'
        )
    return int(tensor['index'])
