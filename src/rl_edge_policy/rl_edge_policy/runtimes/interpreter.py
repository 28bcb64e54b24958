"""Run a ``.tflite`` file by LiteRT, the preferred runtime, or tflite-runtime: both call alike.

tflite-runtime needs Python 3.11 at most, and numpy below 2.
"""

import math
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rl_edge_core.artifact import Manifest, ModelFile
from rl_edge_core.errors import ArtifactError
from rl_edge_core.tensorflow_setup import without_noise
from rl_edge_policy.policy import Policy, RejectedActionError, checked_observation, limited_action


class InterpreterPolicy(Policy):
    """Act by a TFLite interpreter, by its public calls alone.

    Views of the interpreter's tensors would save two copies of some hundred bytes, but must not be
    held during `invoke`, and making them anew for each action costs more than the copies.
    """

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        entry: ModelFile,
        *,
        runtime: str,
        interpreter_type: Callable[..., Any],
        threads: int,
    ) -> None:
        """Load a file whose hash was checked; raise ArtifactError when it does not fit."""
        super().__init__(manifest, entry, runtime)
        try:
            # From memory: a mapped file that is overwritten while it is in use ends the process.
            content = path.read_bytes()
            with without_noise():
                interpreter = interpreter_type(model_content=content, num_threads=threads)
                interpreter.allocate_tensors()
        except (RuntimeError, ValueError, OSError) as error:
            # E.g. "Didn't find op for builtin opcode 'FULLY_CONNECTED' version '12'."
            reason = ' '.join(str(error).split())
            raise ArtifactError(
                f'runtime {runtime} cannot load {path}: {reason} Choose another runtime or '
                f'recipe, or install a newer {runtime}'
            ) from error
        self._input = _checked_tensor(
            interpreter.get_input_details(), 'input', self.spec.observation_size, path
        )
        self._output = _checked_tensor(
            interpreter.get_output_details(), 'output', self.spec.action_size, path
        )
        self._set_tensor = interpreter.set_tensor
        self._invoke = interpreter.invoke
        self._get_tensor = interpreter.get_tensor
        # A box that lies within the limits of every value.
        self._low, self._high = max(self.spec.action_low), min(self.spec.action_high)
        # Threads that share an interpreter would read each other's outputs.
        self._lock = threading.Lock()

    def act(self, observation: np.ndarray) -> np.ndarray:
        """Return the limited action; see `Policy.act`.

        Written for speed: an 8-bit actor takes 2.5 us, and each check a tenth of that.
        """
        try:
            # Finite for every sane observation; what is not, or no vector, gets a closer look.
            is_sane = math.isfinite(observation.dot(observation))
        except (TypeError, ValueError):
            is_sane = False
        if not is_sane:
            observation = checked_observation(self.spec, observation)
        with self._lock:
            try:
                self._set_tensor(self._input, observation[None])
            except ValueError:  # another type or shape
                self._set_tensor(self._input, checked_observation(self.spec, observation)[None])
            try:
                self._invoke()
            except (RuntimeError, ValueError) as error:
                raise RejectedActionError(f'{self.model_id} failed to run: {error}') from error
            action: np.ndarray = self._get_tensor(self._output)[0]
        low, high = self._low, self._high
        for value in action.tolist():
            if not low <= value <= high:  # also true for NaN
                return limited_action(self.spec, action)
        return action


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
