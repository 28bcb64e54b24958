"""Run the uncompressed Keras policy, often an actor-critic, by its graph function."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from rl_edge_core.archive import check_keras_archive
from rl_edge_core.artifact import Manifest, ModelFile
from rl_edge_core.errors import ArtifactError, ConfigurationError, first_line
from rl_edge_policy.policy import Policy, RejectedActionError, checked_observation, limited_action

OUTPUT_NAMES = ('action', 'value', 'log_std')


class KerasPolicy(Policy):
    """Act by the full model; every output is computed for every action."""

    def __init__(self, path: Path, manifest: Manifest, entry: ModelFile, *, threads: int) -> None:
        """Load a file whose hash was checked, in safe mode, and trace its graph function, once.

        ``threads`` counts for the first model of a process: TensorFlow keeps what it started
        with. Raise ArtifactError for a file that can't be loaded or has other shapes.
        """
        super().__init__(manifest, entry, 'keras')
        if keras.backend.backend() != 'tensorflow':
            raise ConfigurationError(
                f'Keras runs on {keras.backend.backend()}: set KERAS_BACKEND=tensorflow'
            )
        with contextlib.suppress(RuntimeError):  # TensorFlow runs already: its pools stay
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        model = _loaded(path)
        self._function = _graph_function(model, self.spec.observation_size, path)
        size = self.spec.action_size
        expected = {'action': (1, size), 'value': (1, 1), 'log_std': (1, size)}
        for name, tensor in self._function.structured_outputs.items():
            if tuple(tensor.shape) != expected[name] or tensor.dtype != tf.float32:
                raise ArtifactError(
                    f'{path} has an output {name} of shape {tuple(tensor.shape)} and type '
                    f'{tensor.dtype.name}, must be {expected[name]} and float32: export the '
                    f'policy again'
                )

    def outputs(self, observation: np.ndarray) -> Mapping[str, np.ndarray]:
        """Return ``action`` (action_size,) and, where there are such, ``value`` (1,), ``log_std``.

        The action is as the model gave it, not limited. Raise RejectedObservationError.
        """
        observation = checked_observation(self.spec, observation)
        tensors = self._function(tf.constant(observation[None]))
        return {name: tensor.numpy()[0] for name, tensor in tensors.items()}

    def act(self, observation: np.ndarray) -> np.ndarray:
        """Return the limited action; see `Policy.act`."""
        observation = checked_observation(self.spec, observation)
        try:
            action = self._function(tf.constant(observation[None]))['action'].numpy()[0]
        except tf.errors.OpError as error:
            raise RejectedActionError(f'{self.model_id} failed to run: {error}') from error
        return limited_action(self.spec, action)


def _loaded(path: Path) -> keras.Model:
    check_keras_archive(path)
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises whatever the layers of the file raise
        raise ArtifactError(
            f'{path} cannot be loaded by Keras {keras.__version__} in safe mode: '
            f'{first_line(error)} '
            f'Export it again from stock layers, without Lambda'
        ) from error


def _graph_function(model: keras.Model, observation_size: int, path: Path) -> Any:
    if tuple(model.input_shape) != (None, observation_size):
        raise ArtifactError(
            f'{path} has an input of shape {model.input_shape}, its manifest says '
            f'(None, {observation_size}): export the policy again'
        )

    def outputs(observation: tf.Tensor) -> dict[str, tf.Tensor]:
        return _named(model(observation, training=False), path)

    signature = tf.TensorSpec((1, observation_size), tf.float32)
    # Without autograph, which would wrap our errors: layers are traced as they are.
    traced = tf.function(outputs, input_signature=[signature], autograph=False)
    return traced.get_concrete_function()


def _named(outputs: Any, path: Path) -> dict[str, tf.Tensor]:
    if isinstance(outputs, list | tuple):
        outputs = dict(zip(OUTPUT_NAMES, outputs, strict=False))
    if not isinstance(outputs, dict) or 'action' not in outputs:
        found = ', '.join(outputs) if isinstance(outputs, dict) else 'one without a name'
        raise ArtifactError(
            f'{path} has the outputs {found}; a policy has action, and perhaps value and log_std'
        )
    return {name: outputs[name] for name in OUTPUT_NAMES if name in outputs}
