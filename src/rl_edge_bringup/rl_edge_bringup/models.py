"""Which model file a system's policy runs, from its arguments."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl_edge_bringup.arguments import did_you_mean
from rl_edge_bringup.locations import models_folder, results_folder, share_folder
from rl_edge_core.artifact import FULL_RECIPE, MANIFEST_NAME, Manifest, load_manifest
from rl_edge_core.configuration import load
from rl_edge_core.errors import ConfigurationError

CONFIGURATIONS = ('compressed', 'uncompressed')
DEFAULT_MODEL = 'ant_v5/best'
DEFAULT_ENVIRONMENT = 'Ant-v5'
AUTO = 'auto'
RUNTIMES = (AUTO, 'keras', 'litert', 'tflite_runtime')
UNTRAINED = 'untrained'
"""``model:=untrained`` is an artifact of the study's shape with random weights, made on demand."""


@dataclass(frozen=True)
class Configuration:
    """What ``configuration:=NAME`` picks; read from config/NAME.yaml."""

    description: str
    recipe: str
    """Of the artifact's files; empty for the one that its manifest prefers."""
    runtime: str
    """``auto`` for the first of the file's runtimes that is installed."""


@dataclass(frozen=True)
class ModelRequest:
    """What the user asked for; empty strings where nothing was said."""

    configuration: str
    model: str = ''
    recipe: str = ''
    runtime: str = AUTO
    environment_id: str = DEFAULT_ENVIRONMENT
    environment_arguments: str = ''
    """A YAML mapping."""
    preset: str = ''
    """Of rl_edge_train: without a model, its networks before training are the first policy."""
    training_seed: str = '0'


@dataclass(frozen=True)
class ChosenModel:
    """The model file that the policy will load."""

    folder: Path
    recipe: str
    runtime: str
    model_id: str
    """Name of the artifact and its file."""
    sha256: str
    note: str = ''
    """What the user should know, e.g. that the model is untrained."""

    def to_mapping(self) -> dict[str, Any]:
        """Return a mapping of JSON types."""
        return {key: str(value) for key, value in vars(self).items()}


def load_configuration(name: str) -> Configuration:
    """Read one of `CONFIGURATIONS`."""
    return load(Configuration, share_folder() / 'config' / f'{name}.yaml')


def choose_model(request: ModelRequest) -> ChosenModel:
    """Find the artifact and the file in it.

    Nothing is loaded but the manifest; an untrained artifact that is asked for (or stands in for
    the default that is not there) is made, which takes some seconds. Raise ConfigurationError
    for arguments that contradict each other or name what is not there, ArtifactError for a
    folder that is no artifact.
    """
    configuration = load_configuration(request.configuration)
    folder, file, note = _find(request)
    manifest = load_manifest(folder)
    recipe = _recipe(request, configuration, manifest, file)
    entry = manifest.entry(recipe)
    runtime = configuration.runtime if request.runtime == AUTO else request.runtime
    if runtime != AUTO and runtime not in entry.runtimes:
        raise ConfigurationError(
            f'runtime is {runtime!r}, but {manifest.name}/{entry.file} is loaded by '
            f'{", ".join(entry.runtimes)}'
        )
    return ChosenModel(
        folder=folder,
        recipe=recipe,
        runtime=runtime,
        model_id=f'{manifest.name}/{entry.file}',
        sha256=entry.sha256,
        note=note,
    )


def _find(request: ModelRequest) -> tuple[Path, str, str]:
    """Return the artifact's folder, the file in it that was asked for, and a note."""
    if request.model == UNTRAINED:
        return _untrained(request, 'untrained, as asked for')
    if not request.model and request.preset:
        return _initial(request)
    if not request.model:
        return _default(request)
    for path in (Path(request.model).expanduser(), models_folder() / request.model):
        if path.is_file():
            return path.resolve().parent, path.name, ''
        if path.is_dir():
            return path.resolve(), '', ''
    raise ConfigurationError(_not_found(request.model))


def _default(request: ModelRequest) -> tuple[Path, str, str]:
    folder = models_folder() / DEFAULT_MODEL
    if request.environment_id != DEFAULT_ENVIRONMENT:
        return _untrained(request, f'untrained: no model of {request.environment_id} was named')
    if not (folder / MANIFEST_NAME).is_file():
        return _untrained(request, f'untrained: there is no {DEFAULT_MODEL} in models/')
    return folder, '', ''


def _untrained(request: ModelRequest, note: str) -> tuple[Path, str, str]:
    # Imported late: the edge device, which names its model, has no simulator to ask for shapes.
    from rl_edge_bringup.untrained import ensure_untrained

    path = ensure_untrained(
        request.environment_id, request.environment_arguments, results_folder() / UNTRAINED
    )
    return path, '', note


def _initial(request: ModelRequest) -> tuple[Path, str, str]:
    # Imported late, as for untrained models.
    from rl_edge_bringup.untrained import make_initial

    path = make_initial(
        request.preset,
        request.training_seed,
        environment_id=request.environment_id,
        arguments=request.environment_arguments,
        folder=results_folder() / UNTRAINED,
    )
    return path, '', f'the networks of preset {request.preset} before training'


def _not_found(model: str) -> str:
    names = model_names()
    known = f'models/ has {", ".join(names)}' if names else f'{models_folder()} has none'
    hint = did_you_mean(model, names)
    return (
        f'model is {model!r}{hint}: no such artifact folder, model file, or name under models/; '
        f'{known}; {UNTRAINED} makes one with random weights'
    )


def model_names() -> list[str]:
    """Return the names of the artifacts under models/."""
    folder = models_folder()
    return sorted(
        str(path.parent.relative_to(folder)) for path in folder.glob(f'**/{MANIFEST_NAME}')
    )


def _recipe(
    request: ModelRequest, configuration: Configuration, manifest: Manifest, file: str
) -> str:
    full = configuration.recipe == FULL_RECIPE
    if file and request.recipe:
        raise ConfigurationError(
            f'recipe is {request.recipe!r} and model names the file {file}: give one of them, '
            f'or the folder as model'
        )
    recipe = manifest.entry_of_file(file).recipe if file else request.recipe
    if recipe and (recipe == FULL_RECIPE) != full:
        other = CONFIGURATIONS[1] if recipe == FULL_RECIPE else CONFIGURATIONS[0]
        what = f'file {file}' if file else f'recipe {recipe!r}'
        raise ConfigurationError(
            f'{what} is not what configuration {request.configuration} runs: '
            f'use configuration:={other}'
        )
    if recipe and not file:
        _check_recipe(recipe, manifest)
    return recipe or configuration.recipe or manifest.compressed_recipe()


def _check_recipe(recipe: str, manifest: Manifest) -> None:
    if recipe not in manifest.recipes:
        hint = did_you_mean(recipe, manifest.recipes)
        raise ConfigurationError(
            f'recipe is {recipe!r}{hint}; {manifest.name} has {", ".join(manifest.recipes)}'
        )
