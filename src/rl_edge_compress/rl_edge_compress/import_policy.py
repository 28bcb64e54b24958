"""The command that imports a policy: from ONNX, Stable-Baselines3, rsl_rl or Keras to an artifact.

The original and the artifact are run on the same 1,000 observations, and an artifact that answers
otherwise is not written.
"""

import argparse
import dataclasses
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from rl_edge_compress.dense_actor import DenseActor, bounded
from rl_edge_compress.export import export_artifact
from rl_edge_compress.import_spec import (
    EXAMPLE,
    ImportSpec,
    environment_spec,
    order,
    read_import_spec,
    robot_facts,
    template,
    unnamed,
)
from rl_edge_compress.keras_models import load_keras, named_outputs
from rl_edge_compress.pickled_arrays import open_zip
from rl_edge_compress.rsl_rl_policy import read_rsl_rl
from rl_edge_compress.sb3_policy import read_sb3
from rl_edge_core.artifact import Manifest, load_manifest, write_manifest
from rl_edge_core.environment_spec import EnvironmentSpec, environment_arguments
from rl_edge_core.errors import ArtifactError, ConfigurationError
from rl_edge_core.extras import require_extra
from rl_edge_core.files import folder_written_atomically, sha256_of
from rl_edge_core.model_files import MANIFEST_NAME
from rl_edge_policy.load import load_policy
from rl_edge_sim.environment import make_environment, spec_of
from rl_edge_sim.rollout import visited_observations

PARITY_OBSERVATIONS = 1000
LARGEST_DIFFERENCE = 1e-4
FIRST_SEED = 20_000
VISITED_STEPS, MOST_EPISODES = 2000, 200
"""Visited for parity and 8-bit ranges: steps at least, episodes at most."""
STATISTICS = 'vecnormalize.pkl'

Answer = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class SourcePolicy:
    """A policy as it was found, in the environment's order."""

    model: keras.Model
    """Observation (batch, n) -> {'action': (batch, m)}, within the limits."""
    answer: Answer
    """What the original answers: observations (count, n) -> actions within the limits."""
    kind: str
    """What wrote it, e.g. ``stable-baselines3 sac``."""
    algorithm: str
    metadata: Mapping[str, str] = field(default_factory=dict)


def run(options: argparse.Namespace) -> None:
    """Import the policy of a command line, or print a template."""
    arguments = environment_arguments(options.environment_arguments)
    if options.template:
        print(_template(options.file, options.environment, arguments), end='')
        return
    done = 'replaced' if options.out.is_dir() else 'wrote'
    manifest = import_policy(
        options.file,
        out=options.out,
        environment_id=options.environment,
        arguments=arguments,
        given=read_import_spec(options.spec),
        normalization=options.normalization,
        name=options.name,
        say=print,
    )
    imported = manifest.training['imported']
    print(
        f'{imported["format"]}: largest difference {imported["parity"]["largest_difference"]:.2g} '
        f'over {imported["parity"]["observations"]} {imported["parity"]["drawn"]} observations'
    )
    for entry in manifest.files:
        print(f'  {entry.file:24} {entry.bytes:>10,} bytes')
    print(f'compressed uses {manifest.compressed_recipe()}: {manifest.training["compressed"]}')
    print(f'{done} {options.out}')


def import_policy(
    source: Path,
    *,
    out: Path,
    environment_id: str = '',
    arguments: Mapping[str, Any] | None = None,
    given: ImportSpec | None = None,
    normalization: Path | None = None,
    name: str = '',
    say: Callable[[str], None] = lambda line: None,
) -> Manifest:
    """Write the policy in the file ``source`` as the artifact ``out``; return its manifest.

    ``environment_id`` with its ``arguments``, or the ``given`` file, says what the policy observes
    and drives. Raise ArtifactError for a file that can't be read, an unsupported part of it, and
    an artifact whose actions differ from the original's; ConfigurationError for a description that
    does not fit; SpecMismatchError for none.
    """
    given = given or ImportSpec()
    if not source.is_file():
        raise ArtifactError(f'{source} is not a file: give a .onnx, .zip, .pt or .keras file')
    env = make_environment(environment_id, **(arguments or {})) if environment_id else None
    try:
        spec = spec_of(env) if env is not None else environment_spec(given)
        try:
            policy = read_policy(source, spec=spec, given=given, normalization=normalization)
        except ArtifactError as error:
            raise ArtifactError(f'{source.name}: {error}') from error
        if normalization is None and policy.kind.startswith('stable-baselines3'):
            found = _normalization_beside(source)
            say(
                f'observations are normalised by {found.name}, which lies beside {source.name}'
                if found
                else f'no {STATISTICS} beside {source.name}: observations are taken as they are'
            )
        observations = _visited(env, policy) if env is not None else _drawn(given, spec)
    finally:
        if env is not None:
            env.close()
    with (
        folder_written_atomically(out, known_by=MANIFEST_NAME) as folder,
        tempfile.TemporaryDirectory(dir=folder.parent, prefix='.importing-') as temporary,
    ):
        artifact = Path(temporary) / out.name
        manifest = export_artifact(
            policy.model,
            spec=spec,
            name=name or out.absolute().name,
            out=artifact,
            algorithm=policy.algorithm,
            training={
                'imported': {
                    'file': source.name,
                    'sha256': sha256_of(source),
                    'format': policy.kind,
                    'metadata': dict(policy.metadata),
                    'robot': robot_facts(given, policy.metadata),
                }
            },
            calibration=observations,
        )
        compared = observations[:PARITY_OBSERVATIONS]
        manifest.training['imported']['parity'] = {
            'observations': len(compared),
            'drawn': 'visited' if env is not None else 'drawn',
            'largest_difference': _parity(artifact, policy, compared, spec),
        }
        write_manifest(manifest, artifact)
        for file in artifact.iterdir():
            file.rename(folder / file.name)
    return load_manifest(out)


def read_policy(
    source: Path, *, spec: EnvironmentSpec, given: ImportSpec, normalization: Path | None = None
) -> SourcePolicy:
    """Read a policy of any kind, and put its values into the order of ``spec``."""
    found = _found(source, given=given, normalization=normalization)
    for what, theirs, names in (
        ('observation', found.observation_size, spec.observation_names),
        ('action', found.action_size, spec.action_names),
    ):
        if theirs != len(names):
            shown = ', '.join(names[:4]) + (' ...' if len(names) > 4 else '')
            raise ConfigurationError(
                f'the policy has {theirs} {what} values, {spec.environment_id} has {len(names)} '
                f'({shown}): give the environment that it was trained in, with its '
                f'--environment-arguments and wrappers, or its --spec'
            )
    inner = order('observation', given.observation, spec.observation_names)
    outer = order('action', given.action, spec.action_names)
    model, answer = found.build(spec if outer is None else _in_their_order(spec, outer))
    if inner is not None or outer is not None:
        model, answer = _ordered(model, answer, spec, inner, outer)
    return SourcePolicy(model, answer, found.kind, found.algorithm, found.metadata)


@dataclass(frozen=True)
class _Found:
    """What a file holds, before it is known in which environment it acts."""

    observation_size: int
    action_size: int
    build: Callable[[EnvironmentSpec], tuple[keras.Model, Answer]]
    """Environment in the policy's order -> the policy and what the original answers there."""
    kind: str
    algorithm: str = 'imported'
    metadata: Mapping[str, str] = field(default_factory=dict)


def _found(source: Path, *, given: ImportSpec, normalization: Path | None) -> _Found:
    kind = kind_of(source)
    if normalization is not None and kind != 'sb3':
        raise ConfigurationError('--normalization is for zip files of Stable-Baselines3')
    if kind == 'sb3':
        statistics = normalization or _normalization_beside(source)
        actor, algorithm = read_sb3(source, normalization=statistics)
        return _dense(actor, f'stable-baselines3 {algorithm}', algorithm)
    if kind == 'torch':
        return _dense(read_rsl_rl(source, activation=given.activation), 'rsl_rl', 'ppo')
    if kind == 'onnx':
        require_extra('onnx', 'onnx', 'onnxruntime')
        from rl_edge_compress.onnx_policy import read_onnx

        policy = read_onnx(source, output=given.output)
        return _clipped(policy.model, policy.answer, kind, policy.metadata)
    return _clipped(*_keras_policy(source), kind, {})


def _dense(actor: DenseActor, kind: str, algorithm: str) -> _Found:
    return _Found(
        actor.observation_size,
        actor.action_size,
        lambda spec: (actor.keras_model(spec), lambda seen: actor.act(seen, spec)),
        kind,
        algorithm,
    )


def _clipped(raw: keras.Model, answer: Answer, kind: str, metadata: Mapping[str, str]) -> _Found:
    def build(spec: EnvironmentSpec) -> tuple[keras.Model, Answer]:
        action = bounded(raw.outputs[0], spec, squashed=False)
        model = keras.Model(raw.inputs[0], {'action': action})
        return model, lambda seen: np.clip(answer(seen), spec.low, spec.high)

    observations, actions = (int(tensor.shape[-1]) for tensor in (raw.inputs[0], raw.outputs[0]))
    return _Found(observations, actions, build, kind, metadata=metadata)


def kind_of(source: Path) -> str:
    """Return what wrote a file, from its content: sb3, torch, keras or onnx."""
    with source.open('rb') as file:
        start = file.read(8)
    if start.startswith(b'\x89HDF'):
        raise ArtifactError('it is a Keras file of the old format: save it again as .keras')
    if start.startswith(b'\x80'):
        raise ArtifactError(
            'it is a pickle of PyTorch before 1.6: save it again with a newer PyTorch, or export '
            'the policy as ONNX'
        )
    if not start.startswith(b'PK'):
        return 'onnx'
    with open_zip(source) as archive:
        names = {name.rpartition('/')[2] for name in archive.namelist()}
    if 'policy.pth' in names:
        return 'sb3'
    if 'data.pkl' in names:
        return 'torch'
    if 'config.json' in names:
        return 'keras'
    raise ArtifactError(
        f'it is a zip file with {", ".join(sorted(names)[:6])}: neither of Stable-Baselines3 '
        f'(policy.pth), PyTorch (data.pkl) nor Keras (config.json)'
    )


def _normalization_beside(source: Path) -> Path | None:
    names = (STATISTICS, 'vec_normalize.pkl', f'{source.stem}_{STATISTICS}')
    found = [source.with_name(name) for name in names if source.with_name(name).is_file()]
    return found[0] if found else None


def _keras_policy(source: Path) -> tuple[keras.Model, Answer]:
    model = load_keras(source)
    if len(model.inputs) != 1 or len(model.inputs[0].shape) != 2:
        shapes = ', '.join(str(tensor.shape) for tensor in model.inputs)
        raise ArtifactError(f'its inputs have shapes {shapes}, must be one of (batch, n)')
    action = model.outputs[0] if len(model.outputs) == 1 else named_outputs(model)['action']
    actor = keras.Model(model.inputs[0], action)
    return actor, lambda seen: np.asarray(actor(np.asarray(seen, np.float32), training=False))


def _in_their_order(spec: EnvironmentSpec, outer: Sequence[int]) -> EnvironmentSpec:
    """Return ``spec`` with its actions in the policy's order."""
    names = ('action_names', 'action_units', 'action_low', 'action_high', 'safe_action')
    there: dict[str, Any] = {
        name: tuple(getattr(spec, name)[place] for place in outer) for name in names
    }
    return dataclasses.replace(spec, **there)


def _ordered(
    model: keras.Model,
    answer: Answer,
    spec: EnvironmentSpec,
    inner: list[int] | None,
    outer: list[int] | None,
) -> tuple[keras.Model, Answer]:
    """Return a policy that takes and gives values in the environment's order."""
    inner = inner or list(range(spec.observation_size))
    back = np.argsort(outer or range(spec.action_size)).tolist()
    source = keras.Input((spec.observation_size,), name='observation')
    action = keras.ops.take(model(keras.ops.take(source, inner, axis=-1))['action'], back, axis=-1)
    return (
        keras.Model(source, {'action': action}),
        lambda seen: answer(np.asarray(seen)[:, inner])[:, back],
    )


def _visited(env: Any, policy: SourcePolicy) -> np.ndarray:
    """Return observations of two episodes or more that the original drives."""
    first, *seeds = range(FIRST_SEED, FIRST_SEED + MOST_EPISODES)

    def act(observation: np.ndarray) -> np.ndarray:
        return policy.answer(observation[None])[0].astype(np.float32)

    one = visited_observations(env, act, [first])
    others = visited_observations(env, act, seeds, least_steps=VISITED_STEPS - len(one))
    seen = np.concatenate([one, others])
    return seen[np.random.default_rng(0).permutation(len(seen))[:VISITED_STEPS]]


def _drawn(given: ImportSpec, spec: EnvironmentSpec) -> np.ndarray:
    """Return observations drawn from the ranges of the given file."""
    low = np.asarray([value.low for value in given.observation], np.float32)
    high = np.asarray([value.high for value in given.observation], np.float32)
    size = (VISITED_STEPS, spec.observation_size)
    return np.random.default_rng(0).uniform(low, high, size).astype(np.float32)


def _parity(
    artifact: Path, policy: SourcePolicy, observations: np.ndarray, spec: EnvironmentSpec
) -> float:
    """Return the largest difference of any action; raise ArtifactError when it is too large."""
    exact = load_policy(artifact, recipe='float32')
    ours = np.asarray([exact.act(observation) for observation in observations])
    difference = np.abs(ours - policy.answer(observations))
    row, column = np.unravel_index(int(np.argmax(difference)), difference.shape)
    largest = float(difference[row, column])
    if not largest <= LARGEST_DIFFERENCE:
        raise ArtifactError(
            f'the artifact answers otherwise than the original: {spec.action_names[column]} '
            f'differs by {largest:.3g} on one of {len(observations)} observations, at most '
            f'{LARGEST_DIFFERENCE:g} is taken; nothing was written'
        )
    return largest


def _template(source: Path | None, environment_id: str, arguments: Mapping[str, Any]) -> str:
    """Return a file for --spec: of an environment, else of as many values as the policy has."""
    found = _found(source, given=ImportSpec(), normalization=None) if source is not None else None
    if environment_id:
        env = make_environment(environment_id, **arguments)
        spec = spec_of(env)
        env.close()
    else:
        given = (
            unnamed(found.observation_size, found.action_size, found.metadata)
            if found
            else EXAMPLE
        )
        spec = environment_spec(given)
    metadata = found.metadata if found else {}
    return template(spec, metadata, is_example=not environment_id and found is None)
