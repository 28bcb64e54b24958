"""Compress a policy by several recipes into an artifact folder that grows by whole files."""

import argparse
import dataclasses
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import yaml

from rl_edge_compress.export import (
    INT8_CHECKED,
    INT8_TOLERANCE,
    action_error,
    actor_file,
    actor_parameters,
    describe_file,
    library_versions,
)
from rl_edge_compress.formats import numeric_format
from rl_edge_compress.imitation import ImitationConfig, ImitationData
from rl_edge_compress.progress import Progress
from rl_edge_compress.recipes import FULL, SPARSITIES, TUNED4, WIDTHS, Recipe, chosen_recipes
from rl_edge_compress.runtimes import try_runtimes
from rl_edge_compress.session import CompressionSession
from rl_edge_compress.students import distilled, pruned, tuned
from rl_edge_compress.tflite_file import file_facts
from rl_edge_core.artifact import (
    FULL_RECIPE,
    MANIFEST_NAME,
    Manifest,
    ModelFile,
    checked_file,
    load_manifest,
    write_manifest,
)
from rl_edge_core.configuration import from_mapping
from rl_edge_core.errors import ArtifactError, ConfigurationError, RlEdgeError
from rl_edge_core.files import ensure_folder, hold_folder, write_atomically
from rl_edge_policy.load import load_policy

KEPT = 'work'
"""Sub-folder of what was trained on the way."""


def _taught(
    train: Callable[[keras.Model, Any, ImitationData], keras.Model], amount: float
) -> Callable[[CompressionSession], keras.Model]:
    return lambda session: train(session.actor, amount, session.imitation_data)


ACTORS: Mapping[str, Callable[[CompressionSession], keras.Model]] = {
    FULL: lambda session: session.actor,
    TUNED4: _taught(tuned, 4),
    **{f'pruned{percent}': _taught(pruned, percent / 100) for percent in SPARSITIES},
    **{f'student{width}': _taught(distilled, width) for width in WIDTHS},
}
"""What recipes write, by name."""


@dataclass(frozen=True)
class Outcome:
    """What came of one recipe."""

    recipe: str
    state: str
    """``written``, ``kept`` (there already, from the same model) or ``failed``."""
    reason: str = ''
    """Why it failed."""
    bytes: int = 0
    action_error: float = math.nan
    """Root mean square against the full actor, as a share of half the action range."""
    note: str = ''
    """Where its file is no smaller than that of the whole actor in the same numbers."""


def compress(
    session: CompressionSession,
    recipes: Sequence[Recipe],
    out: Path,
    *,
    on_recipe: Callable[[Recipe], None] = lambda recipe: None,
) -> list[Outcome]:
    """Write the files of ``recipes`` into the artifact folder ``out``; return what came of each.

    A failing recipe does not stop the others. A file is written whole and only then entered in
    the manifest, so that after an interruption ``out`` is an artifact of the recipes that were
    done, and the same call goes on from there. Raise ArtifactError for a model that can't be
    read, StorageError when ``out`` can't be written.
    """
    ensure_folder(out)
    manifest = _started(session, out)
    outcomes = []
    for recipe in recipes:
        on_recipe(recipe)
        state = 'kept'
        if not _is_done(session, manifest, recipe, out):
            # An entry whose file is about to be replaced must not outlive it.
            manifest = _without_entry(manifest, recipe, out)
            try:
                entry = _write(session, recipe, manifest, out)
            except (RlEdgeError, ValueError, RuntimeError) as error:
                outcomes.append(Outcome(recipe.name, 'failed', f'{error}'))
                continue
            manifest = dataclasses.replace(manifest, files=(*manifest.files, entry))
            write_manifest(manifest, out)
            state = 'written'
        outcomes.append(_outcome(session, recipe, state, out))
    if not manifest.default_recipe:
        default = _default_recipe(session, manifest, outcomes)
        write_manifest(dataclasses.replace(manifest, default_recipe=default), out)
    return outcomes


def _outcome(session: CompressionSession, recipe: Recipe, state: str, out: Path) -> Outcome:
    """Say what a recipe's file in ``out`` saves and loses beside the full actor."""
    manifest = load_manifest(out)
    spec, entry = manifest.environment, manifest.entry(recipe.name)
    seen = np.asarray(session.calibration[:INT8_CHECKED], np.float32)
    policy = load_policy(out, recipe=recipe.name)
    actions = np.array([policy.act(one) for one in seen])
    whole = 'float32' if recipe.actor == FULL else recipe.numeric_format
    note = ''
    if whole != recipe.name and whole in manifest.recipes:
        bytes_of_whole = manifest.entry(whole).bytes
        note = f'not smaller than {whole}' if entry.bytes >= bytes_of_whole else ''
    if recipe.actor.startswith('pruned'):
        packed = file_facts((out / entry.file).read_bytes()).gzip_bytes
        note = f'{note or "zeros"}, {packed:,} bytes in gzip'
    error = action_error(actions, spec.limit(session.teacher(seen)), spec)
    return Outcome(recipe.name, state, bytes=entry.bytes, action_error=error, note=note)


def _default_recipe(
    session: CompressionSession, manifest: Manifest, outcomes: Sequence[Outcome]
) -> str:
    """Return what `compressed` takes: as before compressing, else int8 if near the full actor."""
    before = session.manifest.default_recipe
    if before in manifest.recipes:
        return before
    near = [one.recipe for one in outcomes if one.action_error <= INT8_TOLERANCE]
    return 'int8' if 'int8' in near else ''


def _started(session: CompressionSession, out: Path) -> Manifest:
    """Return the manifest of ``out``: the one there if it is of the same model, else a new one."""
    source = session.manifest
    if (out / MANIFEST_NAME).is_file():
        manifest = load_manifest(out)
        if manifest.entry(FULL_RECIPE).sha256 != session.source_sha256:
            raise ArtifactError(
                f'{out} holds {manifest.name} made from another model: choose another --out'
            )
        return manifest
    original = source.entry(FULL_RECIPE)
    path = checked_file(session.model, original)
    write_atomically(out / original.file, path.read_bytes())
    manifest = dataclasses.replace(
        source, files=(original,), default_recipe='', versions=library_versions()
    )
    write_manifest(manifest, out)
    return manifest


def _is_done(session: CompressionSession, manifest: Manifest, recipe: Recipe, out: Path) -> bool:
    if recipe.name not in manifest.recipes or session.is_outdated(recipe.actor):
        return False
    entry = manifest.entry(recipe.name)
    try:
        checked_file(out, entry)
    except ArtifactError:
        return False
    return entry.source_sha256 == session.source_sha256


def _write(
    session: CompressionSession, recipe: Recipe, manifest: Manifest, out: Path
) -> ModelFile:
    actor = session.actor
    if recipe.actor != FULL:
        actor = session.trained(recipe.actor, ACTORS[recipe.actor])
    form = numeric_format(recipe.numeric_format)
    content = form.write(actor, session.calibration)
    with tempfile.TemporaryDirectory(dir=out, prefix='.trying-') as folder:
        path = Path(folder) / actor_file(recipe.name)
        path.write_bytes(content)
        entry = describe_file(
            path,
            form,
            try_runtimes([path], np.asarray([manifest.golden_observation], np.float32)),
            spec=manifest.environment,
            source_sha256=session.source_sha256,
            parameters=actor_parameters(actor),
        )
    write_atomically(out / entry.file, content)
    return entry


def _without_entry(manifest: Manifest, recipe: Recipe, out: Path) -> Manifest:
    if recipe.name not in manifest.recipes:
        return manifest
    others = tuple(entry for entry in manifest.files if entry.recipe != recipe.name)
    default = '' if manifest.default_recipe == recipe.name else manifest.default_recipe
    manifest = dataclasses.replace(manifest, files=others, default_recipe=default)
    write_manifest(manifest, out)
    return manifest


def run(options: argparse.Namespace) -> int:
    """Compress; print a line per recipe; return 1 when one failed."""
    recipes = chosen_recipes(options.recipes)
    config = from_mapping(ImitationConfig, _settings(options.set))
    hold_folder(options.out)
    with Progress(len(recipes), 'recipe') as progress:
        shown: list[str] = []

        def start(recipe: Recipe) -> None:
            progress.update(len(shown) - progress.done)
            shown.append(recipe.name)
            progress.show(what=recipe.name)

        session = CompressionSession(
            model=options.model,
            kept=options.out / KEPT,
            config=config,
            say=lambda line: progress.show(detail=line),
            observations=_observations(options.calibration),
            cluster=options.cluster,
        )
        outcomes = compress(session, recipes, options.out, on_recipe=start)
        progress.update(len(recipes) - progress.done)
    print(f'{"recipe":16} {"":8} {"bytes":>9} {"action error":>13}')
    for outcome in outcomes:
        found = outcome.reason
        if outcome.state != 'failed':
            found = f'{outcome.bytes:>9,} {outcome.action_error:>13.2%}  {outcome.note}'.rstrip()
        print(f'{outcome.recipe:16} {outcome.state:8} {found}')
    print('action error: RMS against the float32 actor, as a share of half the action range')
    failed = [outcome.recipe for outcome in outcomes if outcome.state == 'failed']
    if failed:
        print(f'{len(failed)} of {len(recipes)} recipes failed: {", ".join(failed)}')
    if len(failed) < len(recipes):
        print(f'compressed uses {load_manifest(options.out).compressed_recipe()}')
    return 1 if failed else 0


def _settings(pairs: Sequence[str]) -> dict[str, object]:
    settings = {}
    for pair in pairs:
        key, separator, value = pair.partition('=')
        if not separator:
            raise ConfigurationError(f'--set takes KEY=VALUE, got {pair!r}')
        settings[key] = yaml.safe_load(value)
    return settings


def _observations(path: Path | None) -> np.ndarray | None:
    if path is None:
        return None
    try:
        return np.asarray(np.load(path, allow_pickle=False), np.float32)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f'{path} holds no observations: {error}') from error
