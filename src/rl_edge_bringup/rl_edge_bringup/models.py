"""Where packages, models, results and logs are, and which model file a system's policy runs."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ament_index_python.packages import (
    PackageNotFoundError,
    get_package_prefix,
    get_package_share_directory,
)

from rl_edge_bringup.systems import COMPRESSED, DEFAULT_MODEL, UNCOMPRESSED, UNTRAINED
from rl_edge_core.errors import ArtifactError, ConfigurationError, SpecMismatchError, did_you_mean
from rl_edge_core.files import ros_home
from rl_edge_core.model_files import (
    FULL_RECIPE,
    ListedFiles,
    load_model_files,
    models_folder,
    named_model,
    shipped_models_hint,
    workspace_folder,
)

PACKAGE = 'rl_edge_bringup'
DEFAULT_ENVIRONMENT = 'Ant-v5'
"""Of the default model."""
AUTO = 'auto'


@dataclass(frozen=True)
class ModelRequest:
    """What the user asked for; empty strings where nothing was said."""

    configuration: str
    """`COMPRESSED`: a TFLite actor, as its manifest prefers; `UNCOMPRESSED`: the Keras model."""
    model: str = ''
    recipe: str = ''
    runtime: str = AUTO
    environment_id: str = ''
    """Empty where another computer simulates."""
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
    environment_id: str = ''
    """What the manifest says that it was made for."""
    environment_arguments: str = ''

    def to_mapping(self) -> dict[str, Any]:
        """Return a mapping of JSON types."""
        return {key: str(value) for key, value in vars(self).items()}


def choose_model(request: ModelRequest, *, run_folder: Path | None = None) -> ChosenModel:
    """Find the artifact and the file in it.

    Nothing is loaded but the manifest; an artifact that has to be made first, since it is
    untrained or the start of a training (then it lies in ``run_folder``), is made by the package
    that can, in a process of its own.
    Raise ConfigurationError for arguments that contradict each other or name what is not there,
    SpecMismatchError for a model of another environment than the one that is simulated,
    ArtifactError for a folder that is no artifact and one that can't be made.
    """
    folder, file, note = _find(request, run_folder or generated_folder())
    manifest = load_model_files(folder)
    _check_environment(request, manifest)
    recipe = _recipe(request, manifest, file)
    entry = manifest.entry(recipe)
    runtime = request.runtime
    if runtime == AUTO and request.configuration == UNCOMPRESSED:
        runtime = 'keras'  # the graph function, not predict
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
        environment_id=str(manifest.environment.get('environment_id', '')),
        environment_arguments=str(manifest.environment.get('environment_arguments', '')),
    )


def environment_of(model: ChosenModel, asked: Mapping[str, Any]) -> dict[str, str]:
    """Return id and arguments of the environment: as asked for, else what the model was made for.

    Empty strings stand for nothing, in ``asked`` and in what is returned.
    """
    names = ('environment_id', 'environment_arguments')
    return {name: str(asked.get(name) or getattr(model, name)) for name in names}


def _find(request: ModelRequest, run_folder: Path) -> tuple[Path, str, str]:
    """Return the artifact's folder, the file in it that was asked for, and a note."""
    if request.preset and request.model in ('', UNTRAINED):
        note = f'the networks of preset {request.preset} before training'
        words = (request.preset, request.training_seed)
        out = run_folder / 'first_policy'
        return _made(request, 'rl_edge_train.online.initial_policy', *words, out=out), '', note
    unnamed = not request.model and request.environment_id not in ('', DEFAULT_ENVIRONMENT)
    if request.model == UNTRAINED or unnamed:
        reason = (
            f': no model of {request.environment_id} was named' if unnamed else ', as asked for'
        )
        out = generated_folder() / UNTRAINED
        return _made(request, 'rl_edge_compress.untrained', out=out), '', f'untrained{reason}'
    shipped = models_folder()
    path = named_model(request.model) if request.model else shipped and shipped / DEFAULT_MODEL
    if path is not None and path.is_file():
        return path.resolve().parent, path.name, ''
    if path is not None and path.is_dir():
        return path.resolve(), '', ''
    hint = f'; model:={UNTRAINED} makes one with random weights'
    remedy = 'build and source the package rl_edge_models, or give model:=FOLDER'
    if not is_installed('rl_edge_compress'):  # as on an edge device, where nothing is built
        hint = ''
        remedy = f"copy the repository's models/{DEFAULT_MODEL} here and give model:=FOLDER"
    if request.model:
        raise ConfigurationError(
            f'model is {request.model!r}: no such artifact folder, model file, or name under '
            f'models/{shipped_models_hint(request.model)}{hint}'
        )
    raise ConfigurationError(
        f'the default model {DEFAULT_MODEL} is not there{shipped_models_hint("")}: {remedy}{hint}'
    )


def _made(request: ModelRequest, module: str, *words: str, out: Path) -> Path:
    """Return the folder of an artifact that ``module``, run as a program, makes or has made.

    It prints the folder. TensorFlow is loaded there, not in the process that starts nodes.
    """
    package = module.partition('.')[0]
    if not is_installed(package):
        raise ConfigurationError(
            f'{package}, which makes a first policy, is not installed here: give model:=FOLDER'
        )
    environment_id = request.environment_id or DEFAULT_ENVIRONMENT
    of_environment = (environment_id, request.environment_arguments)
    command = [sys.executable, '-m', module, *words, *of_environment, str(out)]
    print(f'looking for a first policy of {environment_id}, or making it', flush=True)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = '\n'.join((done.stderr or done.stdout).splitlines()[-3:])
        raise ArtifactError(
            f'a first policy for {environment_id} was not made: {last.removeprefix("error: ")}'
        )
    return Path(done.stdout.splitlines()[-1])


def _check_environment(request: ModelRequest, manifest: ListedFiles) -> None:
    """Refuse at once what the policy would refuse once it met the simulator.

    Arguments of the environment are left to it: some do not count (`EnvironmentSpec`).
    """
    made_for = manifest.environment.get('environment_id', '')
    if request.environment_id and made_for != request.environment_id:
        raise SpecMismatchError(
            f'{manifest.name} was made for {made_for}, and environment_id is '
            f'{request.environment_id}: give environment_id:={made_for}, or a model of '
            f'{request.environment_id}'
        )


def _recipe(request: ModelRequest, manifest: ListedFiles, file: str) -> str:
    full = request.configuration == UNCOMPRESSED
    if file and request.recipe:
        raise ConfigurationError(
            f'recipe is {request.recipe!r} and model names the file {file}: give one of them, '
            f'or the folder as model'
        )
    recipe = manifest.entry_of_file(file).recipe if file else request.recipe
    if recipe and (recipe == FULL_RECIPE) != full:
        other = UNCOMPRESSED if recipe == FULL_RECIPE else COMPRESSED
        what = f'file {file}' if file else f'recipe {recipe!r}'
        raise ConfigurationError(
            f'{what} is not what configuration {request.configuration} runs: '
            f'use configuration:={other}'
        )
    if recipe and recipe not in manifest.recipes:
        hint = did_you_mean(recipe, manifest.recipes)
        raise ConfigurationError(
            f'recipe is {recipe!r}{hint}; {manifest.name} has {", ".join(manifest.recipes)}'
        )
    return recipe or (FULL_RECIPE if full else manifest.compressed_recipe())


# Where things are ------------------------------------------------------------------------------


def share_folder() -> Path:
    """Return our package's share folder; raise ConfigurationError when it is not built."""
    try:
        return Path(get_package_share_directory(PACKAGE))
    except PackageNotFoundError:
        raise _not_built(PACKAGE) from None


def executable_path(package: str, executable: str) -> Path:
    """Return a node's program; raise ConfigurationError when it is not built."""
    try:
        folder = Path(get_package_prefix(package)) / 'lib' / package
    except PackageNotFoundError:
        raise _not_built(package) from None
    if not (folder / executable).is_file():
        there = ', '.join(sorted(path.name for path in folder.glob('*'))) or 'none'
        raise ConfigurationError(f'{package} has no program {executable!r}; it has {there}')
    return folder / executable


def results_folder() -> Path:
    """Return the folder that experiments write to: the checkout's, else one in ROS_HOME."""
    checkout = workspace_folder()
    return checkout / 'results' if checkout else generated_folder() / 'results'


def generated_folder() -> Path:
    """Return the folder of what is made on demand, such as untrained models."""
    return ros_home() / 'rl_edge'


def missing(programs: Iterable[str], packages: Iterable[str]) -> list[str]:
    """Return the programs that are not on the PATH, and the ROS packages that are not sourced."""
    absent = [name for name in programs if shutil.which(name) is None]
    return absent + [name for name in packages if not is_installed(name)]


def is_installed(package: str) -> bool:
    """Return whether a ROS package is built and sourced."""
    try:
        get_package_prefix(package)
    except PackageNotFoundError:
        return False
    return True


def install_command(packages: Iterable[str]) -> str:
    """Return the command line that installs ROS packages of the distribution in use."""
    prefix = f'ros-{os.environ.get("ROS_DISTRO", "$ROS_DISTRO")}-'
    names = (prefix + package.replace('_', '-') for package in packages)
    return f'sudo apt install {" ".join(names)}'


def _not_built(package: str) -> ConfigurationError:
    return ConfigurationError(
        f'package {package} is not built or its workspace is not sourced: '
        f'run colcon build and source install/setup.bash, or use tools/env'
    )
