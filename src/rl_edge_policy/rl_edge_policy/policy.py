"""What a policy is: observation in, limited action out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.errors import RlEdgeError

if TYPE_CHECKING:
    from rl_edge_core.artifact import Manifest, ModelFile, Network


class RejectedObservationError(RlEdgeError):
    """An observation is not finite or of the wrong size: the safe action answers it."""


class RejectedActionError(RlEdgeError):
    """A model answered with an action that is not finite or of the wrong size."""


class Policy(ABC):
    """A model that acts. Made by `load_policy`."""

    def __init__(self, manifest: Manifest, entry: ModelFile, runtime: str) -> None:
        """Be the policy of one file of an artifact, run by ``runtime``."""
        self.spec: EnvironmentSpec = manifest.environment
        """The environment it was made for."""
        self.network: Network = manifest.network
        self.model_hash: str = entry.sha256
        """SHA-256 (hex) of the model file."""
        self.model_id = f'{manifest.name}/{entry.file}'
        """Name of the artifact and its file, e.g. ``ant_v5/best/actor_int8.tflite``."""
        self.recipe: str = entry.recipe
        """How the file was made, e.g. ``int8``; ``keras`` for the full model."""
        self.runtime = runtime
        """``keras``, ``litert`` or ``tflite_runtime``."""

    @abstractmethod
    def act(self, observation: np.ndarray) -> np.ndarray:
        """Return the action, shape (action_size,) float32 within the limits of the spec.

        ``observation`` has shape (observation_size,), float32. Raise RejectedObservationError
        when it is not finite or has another shape, RejectedActionError when the model's answer is.
        The returned array is the caller's. Several threads may call it: they take turns.
        """


def checked_observation(spec: EnvironmentSpec, observation: np.ndarray) -> np.ndarray:
    """Return ``observation`` as float32; raise RejectedObservationError that names the fault."""
    observation = np.asarray(observation, np.float32)
    fault = spec.fault_of_observation(observation)
    if fault:
        raise RejectedObservationError(fault)
    return observation


def limited_action(spec: EnvironmentSpec, action: np.ndarray) -> np.ndarray:
    """Return ``action``, shape (action_size,) float32, within the limits of ``spec``.

    Raise RejectedActionError when a value is not finite.
    """
    if not np.isfinite(action).all():
        raise RejectedActionError(spec.fault_of_action(action))
    return spec.limit(action)
