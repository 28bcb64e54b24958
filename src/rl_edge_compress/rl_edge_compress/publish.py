"""Put chosen compressed actors into the folder of the policy that they were made from."""

import argparse
import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

from rl_edge_core.artifact import (
    FULL_RECIPE,
    Manifest,
    checked_file,
    load_manifest,
    write_manifest,
)
from rl_edge_core.errors import ArtifactError
from rl_edge_core.files import folder_written_atomically
from rl_edge_core.model_files import MANIFEST_NAME


def run(options: argparse.Namespace) -> None:
    """Publish the recipes of a command line and say what is there now."""
    names = options.recipes.split(',')
    manifest = publish(options.folder, options.model, names, default=options.default)
    print(
        f'{options.model} holds {", ".join(manifest.recipes)}; '
        f'compressed uses {manifest.compressed_recipe()}'
    )


def publish(
    source: Path, target: Path, recipes: Sequence[str], *, default: str | None = None
) -> Manifest:
    """Replace the compressed actors in ``target`` by those of ``source``; return the manifest.

    Everything else in ``target`` (card, learning curve) stays. The `compressed` configuration
    takes ``default``; without one, what it takes in ``source``, when it is among them. Raise
    ArtifactError when the two were made from different models, for recipes that are not there,
    and for files that are not what their manifest says.
    """
    made, kept = load_manifest(source), load_manifest(target)
    original = kept.entry(FULL_RECIPE)
    if made.entry(FULL_RECIPE).sha256 != original.sha256:
        raise ArtifactError(
            f'{source} was made from another model than that of {target}: compress {target} first'
        )
    entries = tuple(made.entry(recipe) for recipe in recipes if recipe != FULL_RECIPE)
    if default is None:
        default = made.default_recipe if made.default_recipe in recipes else ''
    elif default not in recipes:
        raise ArtifactError(f'default recipe {default} is not shipped: {", ".join(recipes)} are')
    manifest = dataclasses.replace(
        kept,
        files=(original, *entries),
        default_recipe=default,
        golden_observation=made.golden_observation,
    )
    replaced = {entry.file for entry in kept.files} - {original.file}
    with folder_written_atomically(target, known_by=MANIFEST_NAME) as folder:
        for path in target.iterdir():
            if path.name not in replaced:
                (shutil.copytree if path.is_dir() else shutil.copy2)(path, folder / path.name)
        for entry in entries:
            shutil.copyfile(checked_file(source, entry), folder / entry.file)
        write_manifest(manifest, folder)
    return manifest
