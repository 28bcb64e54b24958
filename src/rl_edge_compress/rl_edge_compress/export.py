"""Write a trained actor-critic as a policy artifact: Keras file, compressed actors, manifest."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from rl_edge_compress.formats import NumericFormat, numeric_format
from rl_edge_compress.keras_models import (
    actor_of,
    check_sizes,
    describe_network,
    load_keras,
    named_outputs,
)
from rl_edge_compress.runtimes import MODULES, Trial, try_runtimes
from rl_edge_core.artifact import FULL_RECIPE, Manifest, ModelFile, Network, write_manifest
from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.errors import ArtifactError
from rl_edge_core.files import folder_written_atomically, sha256_of
from rl_edge_core.model_files import MANIFEST_NAME
from rl_edge_core.results import installed_versions

KERAS_FILE = 'policy.keras'
KERAS_TOLERANCE = 1e-4
INT8_TOLERANCE = 0.05
"""Root mean square difference of int8 actions, as a share of half the action range, up to which
int8 is what `compressed` means after an export; a report decides by returns afterwards."""
INT8_CHECKED = 200
"""Observations that int8 is compared on."""
LIBRARIES = (
    'tensorflow-cpu',
    'keras',
    'ai-edge-litert',
    'tflite-runtime',
    'litert-quantizer',
    'numpy',
    'gymnasium',
    'mujoco',
)


def export_artifact(
    actor_critic: keras.Model,
    *,
    spec: EnvironmentSpec,
    name: str,
    out: Path,
    algorithm: str = 'untrained',
    training: Mapping[str, Any] | None = None,
    network: Network | None = None,
    recipes: Sequence[str] = ('float32', 'int8'),
    calibration: np.ndarray | None = None,
) -> Manifest:
    """Write ``out`` as a policy artifact and return its manifest.

    ``actor_critic`` maps raw observations (batch, n) to named outputs: ``action``, and perhaps
    ``value`` and ``log_std``, of stock Keras layers alone. ``recipes`` are numeric formats;
    ``calibration`` are observations (count, n) that the policy visits, which int8 needs.
    ``network`` overrides what is read off the model. The folder appears whole or not at all.
    Raise ArtifactError for a model that is no such actor-critic, ConfigurationError for unknown
    recipes and unfit calibration, StorageError when ``out`` can't be written.
    """
    formats = [numeric_format(recipe) for recipe in recipes]
    check_sizes(actor_critic, spec)
    golden = golden_observation(spec, calibration)
    with folder_written_atomically(out, known_by=MANIFEST_NAME) as folder:
        original = write_keras(actor_critic, folder, spec=spec, golden=golden)
        actor = actor_of(load_keras(folder / KERAS_FILE))
        for form in formats:
            (folder / actor_file(form.name)).write_bytes(form.write(actor, calibration))
        files = {form.name: folder / actor_file(form.name) for form in formats}
        seen = golden[None]
        if calibration is not None:
            seen = np.vstack([seen, np.asarray(calibration[:INT8_CHECKED], np.float32)])
        trials = try_runtimes(list(files.values()), seen) if files else {}
        entries = [
            describe_file(
                files[form.name],
                form,
                trials,
                spec=spec,
                source_sha256=original.sha256,
                parameters=actor_parameters(actor),
            )
            for form in formats
        ]
        default, reason = '', ''
        if {'float32', 'int8'} <= set(files):
            default, reason = compressed_default(trials, spec)
        manifest = Manifest(
            name=name,
            environment=spec,
            algorithm=algorithm,
            network=network or describe_network(actor_critic),
            golden_observation=tuple(float(value) for value in golden),
            files=(original, *entries),
            training={**(training or {}), **({'compressed': reason} if reason else {})},
            default_recipe=default,
            versions=library_versions(),
        )
        write_manifest(manifest, folder)
    return manifest


def compressed_default(
    trials: Mapping[str, Mapping[str, Trial]], spec: EnvironmentSpec
) -> tuple[str, str]:
    """Return the recipe that `compressed` takes, int8 or float32, and why.

    int8 when its actions are near those of float32 on the observations that both were tried on.
    """
    for tried in trials.values():
        exact, rounded = (tried[actor_file(recipe)] for recipe in ('float32', 'int8'))
        if exact.actions is None or rounded.actions is None:
            continue
        error = action_error(rounded.actions, exact.actions, spec)
        said = f'int8 differs from float32 by {100 * error:.2g} % of half the action range (RMS)'
        if error <= INT8_TOLERANCE:
            return 'int8', said
        return 'float32', f'{said}, at most {100 * INT8_TOLERANCE:g} % is taken'
    return 'float32', 'no runtime here runs both int8 and float32'


def actor_file(recipe: str) -> str:
    """Return the name of a compressed actor's file."""
    return f'actor_{recipe}.tflite'


def actor_parameters(actor: keras.Model) -> int:
    """Return how many weights and biases an actor has."""
    return int(sum(np.prod(weight.shape) for weight in actor.trainable_variables))


def golden_observation(spec: EnvironmentSpec, calibration: np.ndarray | None) -> np.ndarray:
    """Return the observation of the golden pair: a visited one, else a fixed random one."""
    if calibration is not None and len(calibration):
        return np.asarray(calibration[len(calibration) // 2], np.float32)
    return np.random.default_rng(0).normal(0.0, 0.5, spec.observation_size).astype(np.float32)


def library_versions() -> dict[str, str]:
    """Return the versions of Python and of the libraries that make the files."""
    return {'python': sys.version.split()[0], **installed_versions(LIBRARIES)}


def write_keras(
    actor_critic: keras.Model, folder: Path, *, spec: EnvironmentSpec, golden: np.ndarray
) -> ModelFile:
    """Write ``policy.keras``, load it again in safe mode, and return its manifest entry."""
    path = folder / KERAS_FILE
    actor_critic.save(path)
    # What can't be loaded without running code from the file must not leave this machine.
    reloaded = load_keras(path)
    action = _keras_action(reloaded, golden)
    if not np.array_equal(action, _keras_action(actor_critic, golden)):
        raise ArtifactError(f'{path} answers otherwise than the model that it was saved from')
    return ModelFile(
        file=KERAS_FILE,
        recipe=FULL_RECIPE,
        sha256=sha256_of(path),
        bytes=path.stat().st_size,
        numeric_format='float32',
        runtimes=('keras',),
        golden_action=tuple(float(value) for value in action),
        golden_tolerance={'keras': KERAS_TOLERANCE * _half_range(spec)},
        parameters=int(actor_critic.count_params()),
    )


def _keras_action(model: keras.Model, observation: np.ndarray) -> np.ndarray:
    named_outputs(model)
    return np.asarray(actor_of(model)(observation[None], training=False))[0]


def action_error(actions: np.ndarray, exact: np.ndarray, spec: EnvironmentSpec) -> float:
    """Return the root mean square difference, as a share of half the widest action range."""
    difference = actions.astype(np.float64) - exact
    return float(np.sqrt(np.mean(np.square(difference)))) / _half_range(spec)


def _half_range(spec: EnvironmentSpec) -> float:
    return float(np.max(spec.high - spec.low)) / 2


def describe_file(
    path: Path,
    form: NumericFormat,
    trials: Mapping[str, Mapping[str, Trial]],
    *,
    spec: EnvironmentSpec,
    source_sha256: str,
    parameters: int,
) -> ModelFile:
    """Return the manifest entry of a recipe's file, from what every runtime made of it.

    The first observation of the ``trials`` is the golden one. Raise ArtifactError when no runtime
    can run the file.
    """
    tolerance = form.tolerance * _half_range(spec)
    unsupported = {}
    answers: dict[str, np.ndarray] = {}
    for runtime in MODULES:
        trial = trials[runtime][path.name]
        if trial.actions is None:
            unsupported[runtime] = trial.reason
            continue
        answers[runtime] = trial.actions[0]
        first = next(iter(answers.values()))
        error = float(np.max(np.abs(answers[runtime] - first)))
        if not error <= tolerance:
            unsupported[runtime] = f'answers {error:.2g} off, tolerated are {tolerance:.2g}'
            del answers[runtime]
    if not answers:
        reasons = '; '.join(f'{name}: {why}' for name, why in unsupported.items())
        raise ArtifactError(f'no runtime can run {path.name}: {reasons}')
    return ModelFile(
        file=path.name,
        recipe=path.stem.removeprefix('actor_'),
        sha256=sha256_of(path),
        bytes=path.stat().st_size,
        numeric_format=form.weights,
        runtimes=tuple(answers),
        golden_action=tuple(float(value) for value in next(iter(answers.values()))),
        golden_tolerance=dict.fromkeys(answers, tolerance),
        source_sha256=source_sha256,
        unsupported=unsupported,
        parameters=parameters,
    )
