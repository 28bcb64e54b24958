"""What a policy is: observation in, limited action out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.errors import RlEdgeError

if TYPE_CHECKING:
    from rl_edge_core.artifact import Manifest, ModelFile, Network


class RejectedObservationError(RlEdgeError):
    """An observation is not finite or of the wrong size: the safe action answers it."""


class RejectedActionError(RlEdgeError):
    """A model answered with an action that is not finite or of the wrong size."""


class Policy(Protocol):
    """A model that acts. Made by `load_policy`."""

    @property
    def spec(self) -> EnvironmentSpec:
        """The environment it was made for."""

    @property
    def model_hash(self) -> str:
        """SHA-256 (hex) of the model file."""

    @property
    def model_id(self) -> str:
        """Name of the artifact and its file, e.g. ``ant_v5/best/actor_int8.tflite``."""

    @property
    def recipe(self) -> str:
        """How the file was made, e.g. ``int8``; ``keras`` for the full model."""

    @property
    def runtime(self) -> str:
        """``keras``, ``litert`` or ``tflite_runtime``."""

    def act(self, observation: np.ndarray) -> np.ndarray:
        """Return the action, shape (action_size,) float32 within the limits of the spec.

        ``observation`` has shape (observation_size,), float32. Raise RejectedObservationError
        when it is not finite or has another shape, RejectedActionError when the model's answer is.
        The returned array is the caller's. Several threads may call it: they take turns.
        """


@dataclass(frozen=True)
class ModelIdentity:
    """What every policy carries from its manifest."""

    spec: EnvironmentSpec
    model_hash: str
    model_id: str
    recipe: str
    runtime: str
    network: Network

    @classmethod
    def of(cls, manifest: Manifest, entry: ModelFile, runtime: str) -> ModelIdentity:
        """Return the identity of one file of an artifact, run by ``runtime``."""
        return cls(
            spec=manifest.environment,
            model_hash=entry.sha256,
            model_id=f'{manifest.name}/{entry.file}',
            recipe=entry.recipe,
            runtime=runtime,
            network=manifest.network,
        )


class IdentifiedPolicy:
    """Base of the runtimes: a policy's identity as plain attributes."""

    def __init__(self, identity: ModelIdentity) -> None:
        """Take over the identity."""
        self.spec = identity.spec
        self.model_hash = identity.model_hash
        self.model_id = identity.model_id
        self.recipe = identity.recipe
        self.runtime = identity.runtime
        self.network = identity.network


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
