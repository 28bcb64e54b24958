"""Write the actor of an artifact for others: as ONNX, or as C99."""

import argparse
import itertools
from pathlib import Path
from typing import Any

import numpy as np

from rl_edge_compress.c_code import c_actor
from rl_edge_compress.numpy_graph import numpy_graph
from rl_edge_compress.onnx_graph import INPUT, OPSET, onnx_model
from rl_edge_core.artifact import FULL_RECIPE, Manifest, ModelFile, checked_file, load_manifest
from rl_edge_core.errors import ArtifactError, ConfigurationError, SpecMismatchError
from rl_edge_core.extras import require_extra
from rl_edge_core.files import write_atomically
from rl_edge_policy.load import load_policy
from rl_edge_policy.policy import Policy
from rl_edge_sim.environment import environment_of
from rl_edge_sim.rollout import visited_observations

FORMATS = ('onnx', 'c')
PARITY_OBSERVATIONS = 1000
LARGEST_DIFFERENCE = 1e-4
FIRST_SEED = 30_000


def run(options: argparse.Namespace) -> None:
    """Export the actor of a command line's artifact."""
    folder, out = options.folder, options.out
    if options.format == 'onnx':
        difference, drawn = export_onnx(folder, out)
        print(
            f'{out}: opset {OPSET}, weights inside; largest difference {difference:.2g} over '
            f'{PARITY_OBSERVATIONS} {drawn} observations in ONNX Runtime'
        )
        return
    recipe, weights, memory = export_c(folder, out, recipe=options.recipe or '')
    print(
        f'{out} and {out.with_suffix(".h").name}: recipe {recipe}, {weights:,} bytes of '
        f'constants, {memory:,} bytes of memory'
    )


def export_onnx(folder: Path, out: Path) -> tuple[float, str]:
    """Write the float32 actor of an artifact as ``out``; return its parity.

    That is the largest difference from the artifact's own actions, and whether the observations
    were visited or drawn. Raise ArtifactError, having written nothing, when it is above
    `LARGEST_DIFFERENCE`; MissingExtraError without the packages onnx and onnxruntime.
    """
    require_extra('onnx', 'onnx', 'onnxruntime')
    from rl_edge_compress.onnx_file import onnx_session

    manifest = load_manifest(folder)
    entry, content = _float32_actor(folder, manifest)
    spec = manifest.environment
    model = onnx_model(
        numpy_graph(content),
        spec.observation_size,
        limits=(spec.low, spec.high),
        metadata=_metadata(manifest, entry),
    )
    policy = load_policy(folder, recipe=entry.recipe)
    observations, drawn = observations_for(policy)
    session = onnx_session(model)
    theirs = [session.run(None, {INPUT: seen[None]})[0][0] for seen in observations]
    ours = [policy.act(seen) for seen in observations]
    difference = float(np.abs(np.asarray(theirs) - np.asarray(ours)).max())
    if not difference <= LARGEST_DIFFERENCE:
        raise ArtifactError(
            f'{entry.file} as ONNX answers {difference:.3g} off, at most {LARGEST_DIFFERENCE:g} '
            f'is taken; nothing was written'
        )
    write_atomically(out, model)
    return difference, drawn


def export_c(folder: Path, out: Path, *, recipe: str = '') -> tuple[str, int, int]:
    """Write an actor as the C99 file ``out`` and a header beside it.

    ``recipe`` is one in float32 or int8; empty for the compressed one if it is of these, else
    float32. Return the recipe, the bytes of its constants and the bytes that it computes in.
    """
    name = out.stem
    if not name.isidentifier() or not name.isascii() or out.suffix != '.c':
        raise ConfigurationError(
            f'--out is {out.name}, must be NAME.c with a NAME that C accepts: its functions are '
            f'called NAME_act'
        )
    manifest = load_manifest(folder)
    if not recipe:
        entry = manifest.entry(manifest.compressed_recipe())
        recipe = entry.recipe if entry.numeric_format in ('int8', 'float32') else 'float32'
    entry = manifest.entry(recipe)
    if entry.recipe == FULL_RECIPE:
        raise ConfigurationError('the recipe keras has no form in C: take float32 or int8')
    content = checked_file(folder, entry).read_bytes()
    actor = c_actor(content, manifest.environment, name=name, model_hash=entry.sha256)
    write_atomically(out.with_suffix('.h'), actor.header)
    write_atomically(out, actor.source)
    return recipe, actor.weights_bytes, actor.memory_bytes


def observations_for(policy: Policy) -> tuple[np.ndarray, str]:
    """Return observations that a policy visits, or drawn ones where its environment is not here.

    The second value says which: ``visited`` or ``drawn``.
    """
    spec = policy.spec
    try:
        env = environment_of(spec)
    except (ConfigurationError, SpecMismatchError):
        drawn = np.random.default_rng(0).normal(size=(PARITY_OBSERVATIONS, spec.observation_size))
        return drawn.astype(np.float32), 'drawn'
    seen = visited_observations(
        env, policy.act, itertools.count(FIRST_SEED), least_steps=PARITY_OBSERVATIONS
    )
    env.close()
    return seen[:PARITY_OBSERVATIONS], 'visited'


def _float32_actor(folder: Path, manifest: Manifest) -> tuple[ModelFile, bytes]:
    """Return the entry of the float32 actor and its file; made from the full model if missing."""
    if 'float32' in manifest.recipes:
        entry = manifest.entry('float32')
        return entry, checked_file(folder, entry).read_bytes()
    from rl_edge_compress.formats import compact, float32_tflite
    from rl_edge_compress.keras_models import actor_of, load_keras

    entry = manifest.entry(FULL_RECIPE)
    return entry, float32_tflite(compact(actor_of(load_keras(checked_file(folder, entry)))))


def _metadata(manifest: Manifest, entry: ModelFile) -> dict[str, str]:
    spec = manifest.environment
    lists: dict[str, Any] = {
        'observation_names': spec.observation_names,
        'observation_units': spec.observation_units,
        'action_names': spec.action_names,
        'action_units': spec.action_units,
        'action_low': spec.action_low,
        'action_high': spec.action_high,
        'safe_action': spec.safe_action,
    }
    return {
        'name': manifest.name,
        'source_sha256': entry.sha256,
        'environment_id': spec.environment_id,
        'environment_arguments': spec.environment_arguments,
        'environment_hash': spec.hash,
        'control_period_sec': str(spec.control_period_sec),
        **{name: ','.join(map(str, values)) for name, values in lists.items()},
    }
