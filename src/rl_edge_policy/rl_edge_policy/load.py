"""Load a policy artifact: hash, shapes and golden pair are checked before it acts."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from rl_edge_core.artifact import Manifest, ModelFile, checked_file, load_manifest
from rl_edge_core.errors import ArtifactError, ConfigurationError
from rl_edge_policy.policy import ModelIdentity, Policy, RejectedActionError
from rl_edge_policy.runtimes import AUTO, Runtime, choose_runtime


def load_policy(
    path: str | Path, *, recipe: str | None = None, runtime: str = AUTO, threads: int = 1
) -> Policy:
    """Load the policy at ``path``: an artifact folder, or a model file inside one.

    For a folder, ``recipe`` picks the file; without one it is the compressed file that the
    manifest prefers. ``runtime`` is ``auto`` (the first of the file's runtimes that is installed),
    ``keras``, ``litert`` or ``tflite_runtime``.

    Raise ArtifactError for what is missing, damaged or not what its manifest says, and
    ConfigurationError for a recipe, runtime or number of threads that is not valid.
    """
    path = Path(path)
    if threads < 1:
        raise ConfigurationError(f'threads is {threads}, must be 1 or more')
    folder, manifest, entry = find_model(path, recipe)
    chosen = choose_runtime(entry, runtime)
    model_path = checked_file(folder, entry)
    identity = ModelIdentity.of(manifest, entry, chosen.name)
    policy: Policy = _import(chosen).load(model_path, identity, threads=threads)
    _check_golden_pair(policy, manifest, entry)
    return policy


def find_model(path: Path, recipe: str | None) -> tuple[Path, Manifest, ModelFile]:
    """Return the artifact's folder, its manifest and the entry of the file that is meant."""
    if path.is_dir():
        manifest = load_manifest(path)
        return path, manifest, manifest.entry(recipe or manifest.compressed_recipe())
    if not path.is_file():
        raise ArtifactError(
            f'no policy at {path}: give an artifact folder or a model file inside one'
        )
    manifest = load_manifest(path.parent)
    entry = manifest.entry_of_file(path.name)
    if recipe:
        raise ConfigurationError(
            f'recipe {recipe!r} and the model file {path} exclude each other: leave the recipe '
            f'out, or give the folder {path.parent}'
        )
    return path.parent, manifest, entry


def _import(runtime: Runtime) -> Any:
    try:
        return importlib.import_module(f'rl_edge_policy.runtimes.{runtime.name}')
    except (ImportError, AttributeError) as error:
        # AttributeError: what a build against another NumPy raises.
        raise ConfigurationError(
            f'runtime {runtime.name} is installed but cannot be imported ({error}): '
            f'{runtime.remedy}, or choose another runtime'
        ) from error


def _check_golden_pair(policy: Policy, manifest: Manifest, entry: ModelFile) -> None:
    try:
        tolerance = entry.golden_tolerance[policy.runtime]
    except KeyError:
        raise ArtifactError(
            f'{policy.model_id}: the manifest has no golden tolerance for runtime '
            f'{policy.runtime}; it has {", ".join(entry.golden_tolerance)}: export it again'
        ) from None
    try:
        action = policy.act(np.asarray(manifest.golden_observation, np.float32))
    except RejectedActionError as error:
        raise ArtifactError(
            f'{policy.model_id} fails on its golden observation: {error}'
        ) from error
    difference = np.abs(action - np.asarray(entry.golden_action, np.float32))
    worst = int(np.argmax(difference))
    if not difference[worst] <= tolerance:
        raise ArtifactError(
            f'{policy.model_id} on {policy.runtime}: {manifest.environment.action_names[worst]} '
            f'of its golden action is {action[worst]:.6g}, its manifest says '
            f'{entry.golden_action[worst]:.6g} within {tolerance:g}: the model or the runtime '
            f'differs from the one it was exported with; export it again'
        )
