"""A policy artifact: a folder whose manifest says what its files are and what they must do."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.errors import ArtifactError
from rl_edge_core.files import sha256_of, write_atomically
from rl_edge_core.model_files import (
    FULL_RECIPE,
    MANIFEST_NAME,
    ModelFile,
    ModelFiles,
    manifest_errors,
    read_manifest,
)
from rl_edge_core.parameters import from_mapping

__all__ = [
    'FULL_RECIPE',
    'MANIFEST_NAME',
    'Manifest',
    'ModelFile',
    'Network',
    'checked_file',
    'load_manifest',
    'manifest_from_mapping',
    'manifest_text',
    'manifest_to_mapping',
    'write_manifest',
]

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Network:
    """Describe a policy's network."""

    hidden_sizes: tuple[int, ...] = ()
    activation: str = 'relu'
    layer_norm: bool = False
    parameters: int = 0
    """Of the actor."""
    action_distribution: str = 'deterministic'
    """``squashed_gaussian``, ``gaussian`` or ``deterministic``; what exploration samples from."""
    exploration_std: float = 0.0
    """Noise of a deterministic policy that explores, as a share of half the action range."""
    selected_observations: int = 0
    """How many of the observation values the network looks at; 0 for all."""


@dataclass(frozen=True)
class Manifest(ModelFiles):
    """Everything a loader needs to know of an artifact before it runs it."""

    name: str
    environment: EnvironmentSpec
    algorithm: str
    """What trained it, e.g. ``sac``; ``untrained`` for random weights."""
    network: Network
    golden_observation: tuple[float, ...]
    files: tuple[ModelFile, ...]
    training: Mapping[str, Any] = field(default_factory=dict)
    """Steps, hours, seed, resolved configuration; free form."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of the libraries that made the files."""
    default_recipe: str = ''
    """The recipe of the ``compressed`` configuration; empty for the first compressed file."""
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        """Check what a hand-edited manifest could get wrong."""
        if self.format_version != FORMAT_VERSION:
            raise ArtifactError(
                f'manifest of {self.name!r} has format_version {self.format_version}, this '
                f'version reads {FORMAT_VERSION}: export the policy again'
            )
        for entry in self.files:
            if PurePosixPath(entry.file).name != entry.file:
                raise ArtifactError(
                    f'manifest names {entry.file!r}: must lie in the folder itself'
                )


def load_manifest(folder: Path) -> Manifest:
    """Read ``folder/manifest.json``; raise ArtifactError when it is missing or not valid."""
    with manifest_errors(folder):
        return manifest_from_mapping(read_manifest(folder))


def manifest_from_mapping(mapping: Any) -> Manifest:
    """Build a manifest from the mapping that `manifest_to_mapping` makes."""
    if not isinstance(mapping, Mapping):
        raise ArtifactError(f'holds {type(mapping).__name__}, must hold an object')
    plain = dict(mapping)
    recorded_hash = plain.pop('environment_hash', None)
    manifest = from_mapping(Manifest, plain)
    if recorded_hash != manifest.environment.hash:
        raise ArtifactError(
            f'environment_hash is {recorded_hash}, its environment hashes to '
            f'{manifest.environment.hash}: the manifest was edited; export the policy again'
        )
    spec = manifest.environment
    if len(manifest.golden_observation) != spec.observation_size:
        raise ArtifactError(
            f'golden_observation has {len(manifest.golden_observation)} values, '
            f'the environment has {spec.observation_size}'
        )
    for entry in manifest.files:
        if len(entry.golden_action) != spec.action_size:
            raise ArtifactError(
                f'golden_action of {entry.file} has {len(entry.golden_action)} values, '
                f'the environment has {spec.action_size}'
            )
    return manifest


def manifest_to_mapping(manifest: Manifest) -> dict[str, Any]:
    """Return the manifest as JSON types, with the hash of its environment."""
    mapping = {field.name: getattr(manifest, field.name) for field in dataclasses.fields(manifest)}
    mapping['environment'] = manifest.environment.to_dict()
    mapping['environment_hash'] = manifest.environment.hash
    mapping['network'] = dataclasses.asdict(manifest.network)
    mapping['files'] = [dataclasses.asdict(entry) for entry in manifest.files]
    return mapping


def manifest_text(manifest: Manifest) -> str:
    """Return the content of ``manifest.json``."""
    return json.dumps(manifest_to_mapping(manifest), indent=1, default=_json_default) + '\n'


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write ``folder/manifest.json`` atomically."""
    write_atomically(folder / MANIFEST_NAME, manifest_text(manifest))


def _json_default(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f'{value!r} of type {type(value).__name__} does not belong in a manifest')


def checked_file(folder: Path, entry: ModelFile) -> Path:
    """Return the path of a model file whose size and hash are what the manifest says.

    Raise ArtifactError when the file is missing, truncated or changed.
    """
    path = folder / entry.file
    if not path.is_file():
        raise ArtifactError(f'{path} is missing: export or copy the artifact again')
    size = path.stat().st_size
    if size != entry.bytes:
        raise ArtifactError(
            f'{path} has {size} bytes, its manifest says {entry.bytes}: copy the artifact again'
        )
    actual = sha256_of(path)
    if actual != entry.sha256:
        raise ArtifactError(
            f'{path} hashes to {actual}, its manifest says {entry.sha256}: the file was changed; '
            f'export or copy the artifact again'
        )
    return path
