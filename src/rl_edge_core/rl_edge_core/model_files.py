"""Where a model is, and which files its manifest lists: what choosing one of them needs.

Whoever starts nodes chooses a file by this alone; the environment's specification, but for its id,
and the rest of the manifest are read by those who load the file (`rl_edge_core.artifact`).
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rl_edge_core.errors import ArtifactError, RlEdgeError, close_words, did_you_mean
from rl_edge_core.files import user_path
from rl_edge_core.parameters import from_mapping

MANIFEST_NAME = 'manifest.json'
MODELS_PACKAGE = 'rl_edge_models'
"""Installs the folder models/ of the checkout."""
FULL_RECIPE = 'keras'
"""The recipe of the uncompressed model: the Keras actor-critic."""
LARGEST_MANIFEST_BYTES = 2_000_000
"""The manifest of a policy with 1,000 observations and 50 recipes takes a tenth of it."""


@dataclass(frozen=True)
class ModelFile:
    """One model file of an artifact."""

    file: str
    """Name within the folder."""
    recipe: str
    """How it was made: ``keras`` for the full model, else a compression recipe, e.g. ``int8``."""
    sha256: str
    bytes: int
    numeric_format: str
    """What the weights are stored in, e.g. ``float32`` or ``int8``."""
    runtimes: tuple[str, ...]
    """Runtimes that load it, the preferred one first."""
    golden_action: tuple[float, ...]
    """What the file answers to the manifest's golden observation."""
    golden_tolerance: Mapping[str, float]
    """Largest absolute difference from ``golden_action``, per runtime."""
    source_sha256: str = ''
    """SHA-256 of the model it was made from; empty for an original."""
    unsupported: Mapping[str, str] = field(default_factory=dict)
    """Runtimes that can't load it, each with the reason."""
    parameters: int = 0
    """Weights and biases of the graph."""
    signature: str = ''
    """Ed25519, in base64, made by ``rl_edge sign``; empty for none."""


class ModelFiles:
    """The files of an artifact, by recipe and by name."""

    name: str
    files: tuple[ModelFile, ...]
    default_recipe: str

    @property
    def recipes(self) -> tuple[str, ...]:
        """Return the recipes there are files for."""
        return tuple(entry.recipe for entry in self.files)

    def entry(self, recipe: str) -> ModelFile:
        """Return the file of a recipe; raise ArtifactError that lists the recipes there are."""
        for entry in self.files:
            if entry.recipe == recipe:
                return entry
        raise ArtifactError(
            f'{self.name} has no recipe {recipe!r}{did_you_mean(recipe, self.recipes)}; it has '
            f'{", ".join(self.recipes) or "none"}'
        )

    def entry_of_file(self, file: str) -> ModelFile:
        """Return the entry of a file name; raise ArtifactError that lists the files there are."""
        for entry in self.files:
            if entry.file == file:
                return entry
        names = ', '.join(entry.file for entry in self.files)
        hint = did_you_mean(file, [entry.file for entry in self.files])
        raise ArtifactError(
            f'{self.name}: the manifest has no file {file!r}{hint}; it has {names}'
        )

    def compressed_recipe(self) -> str:
        """Return the recipe that the ``compressed`` configuration uses."""
        if self.default_recipe:
            return self.entry(self.default_recipe).recipe
        for entry in self.files:
            if entry.recipe != FULL_RECIPE:
                return entry.recipe
        raise ArtifactError(f'{self.name} has no compressed file: compress it first')


@dataclass(frozen=True)
class ListedFiles(ModelFiles):
    """What a manifest lists, without the rest of it."""

    name: str
    files: tuple[ModelFile, ...]
    default_recipe: str = ''
    """The recipe of the ``compressed`` configuration; empty for the first compressed file."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    """An `EnvironmentSpec` that nobody has checked."""


def load_model_files(folder: Path) -> ListedFiles:
    """Read what ``folder/manifest.json`` lists; raise ArtifactError when it is not valid."""
    with manifest_errors(folder):
        mapping = read_manifest(folder)
        names = ('name', 'files', 'default_recipe', 'environment')
        return from_mapping(
            ListedFiles, {name: mapping[name] for name in names if name in mapping}
        )


def read_manifest(folder: Path) -> Mapping[str, Any]:
    """Return what ``folder/manifest.json`` holds, within `manifest_errors`."""
    with (folder / MANIFEST_NAME).open('rb') as file:
        return parse_manifest(file.read(LARGEST_MANIFEST_BYTES + 1))


def parse_manifest(content: bytes) -> Mapping[str, Any]:
    """Return the mapping in a manifest; raise ArtifactError when there is none."""
    if len(content) > LARGEST_MANIFEST_BYTES:
        raise ArtifactError(
            f'is larger than {LARGEST_MANIFEST_BYTES} bytes: no policy needs such a manifest'
        )
    try:
        mapping = json.loads(content)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ArtifactError(f'cannot be read: {error}') from error
    if not isinstance(mapping, Mapping):
        raise ArtifactError(f'holds {type(mapping).__name__}, must hold an object')
    return mapping


@contextmanager
def manifest_errors(folder: Path) -> Iterator[None]:
    """Turn what is wrong with the manifest of ``folder`` into an ArtifactError that names it."""
    path = folder / MANIFEST_NAME
    try:
        yield
    except FileNotFoundError:
        what = 'no manifest.json in it'
        if not folder.is_dir():
            what = f'no such folder{shipped_models_hint(str(folder))}'
        elif (folder / 'policy' / MANIFEST_NAME).is_file():
            what += f'; it is a run: give {folder}/policy'
        elif (folder / 'run.json').is_file():
            what += f'; it is a run: export it (rl_edge export {folder} --out {folder}/policy)'
        raise ArtifactError(f'{folder} is not a policy artifact: {what}') from None
    except OSError as error:
        raise ArtifactError(f'{path} cannot be read: {error}') from error
    except RlEdgeError as error:
        raise ArtifactError(f'{path}: {error}') from error


# Where models are ------------------------------------------------------------------------------


def workspace_folder() -> Path | None:
    """Return the checkout that this package belongs to; None when it was installed alone."""
    if root := os.environ.get('RL_EDGE_ROOT'):
        return Path(root)
    for folder in Path(__file__).resolve().parents:
        if (folder / 'src' / 'rl_edge_core').is_dir():
            return folder
    return None


def models_folder() -> Path | None:
    """Return the folder of shipped models: the checkout's, else the installed one; or None."""
    checkout = workspace_folder()
    if checkout is not None and (checkout / 'models').is_dir():
        return checkout / 'models'
    try:
        from ament_index_python.packages import get_package_share_directory

        return Path(get_package_share_directory(MODELS_PACKAGE))
    except (ImportError, LookupError):
        return None


def model_names() -> list[str]:
    """Return the names of the shipped artifacts, e.g. ``ant_v5/best``."""
    folder = models_folder()
    if folder is None:
        return []
    return sorted(
        str(path.parent.relative_to(folder)) for path in folder.glob(f'**/{MANIFEST_NAME}')
    )


def named_model(name: str | Path) -> Path:
    """Return where a model is that commands name by its path, or by its name under models/.

    It is the path as given where there is neither: who reads it says what is missing.
    """
    path, shipped = user_path(name), models_folder()
    if not path.exists() and shipped is not None and (shipped / name).exists():
        return shipped / name
    return path


def shipped_models_hint(name: str) -> str:
    """Return what to add to an error about a model that is not there: the close one, and all."""
    names = model_names()
    there = f'models/ has {", ".join(names)}' if names else 'no shipped models are installed'
    hint = did_you_mean(name, names)
    if not hint:  # without the folder, or with another one before it
        last = {Path(known).name: known for known in names}
        close = close_words(Path(name).name, last)
        hint = f' (did you mean {last[close[0]]}?)' if close else ''
    return f'{hint}; {there}'
