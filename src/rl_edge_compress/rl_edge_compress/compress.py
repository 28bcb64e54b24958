"""Compress a policy by several recipes into an artifact folder that grows by whole files."""

import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from rl_edge_compress.distill import distilled, tuned
from rl_edge_compress.export import actor_file, actor_parameters, describe_file, library_versions
from rl_edge_compress.formats import numeric_format
from rl_edge_compress.imitation import ImitationData
from rl_edge_compress.prune import pruned
from rl_edge_compress.recipes import FULL, SPARSITIES, TUNED4, WIDTHS, Recipe
from rl_edge_compress.runtimes import try_runtimes
from rl_edge_compress.session import CompressionSession
from rl_edge_core.artifact import (
    FULL_RECIPE,
    MANIFEST_NAME,
    Manifest,
    ModelFile,
    checked_file,
    load_manifest,
    write_manifest,
)
from rl_edge_core.errors import ArtifactError, RlEdgeError
from rl_edge_core.files import ensure_folder, write_atomically

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
    detail: str


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
        if _is_done(session, manifest, recipe, out):
            outcomes.append(Outcome(recipe.name, 'kept', 'there already'))
            continue
        # An entry whose file is about to be replaced must not outlive it.
        manifest = _without_entry(manifest, recipe, out)
        try:
            entry = _write(session, recipe, manifest, out)
        except (RlEdgeError, ValueError, RuntimeError) as error:
            outcomes.append(Outcome(recipe.name, 'failed', f'{error}'))
            continue
        manifest = dataclasses.replace(manifest, files=(*manifest.files, entry))
        write_manifest(manifest, out)
        outcomes.append(Outcome(recipe.name, 'written', f'{entry.bytes:,} bytes'))
    return outcomes


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
    write_atomically(out / original.file, lambda to: _copy(path, to))
    manifest = dataclasses.replace(
        source, files=(original,), default_recipe='', versions=library_versions()
    )
    write_manifest(manifest, out)
    return manifest


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)


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
