"""A policy artifact: a folder whose manifest says what its files are and what they must do."""

import dataclasses
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.errors import ArtifactError, RlEdgeError
from rl_edge_core.files import folder_written_atomically, sha256_of, write_atomically
from rl_edge_core.model_files import (
    FULL_RECIPE,
    LARGEST_MANIFEST_BYTES,
    MANIFEST_NAME,
    ModelFile,
    ModelFiles,
    manifest_errors,
    parse_manifest,
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
    'manifest_to_mapping',
    'pack_artifact',
    'unpack_artifact',
    'write_manifest',
]

FORMAT_VERSION = 1
LARGEST_ARCHIVE_BYTES = 256_000_000
"""What `unpack_artifact` unpacks at most, so that a small archive can't fill the disk."""
MOST_MEMBERS = 100
"""Of a packed artifact: its manifest and its model files."""
_END_OF_DIRECTORY = struct.Struct('<4s4H2LH')
"""The last record of a zip file: signature, disks, numbers of members, size and place of the
directory, length of the comment."""


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


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write ``folder/manifest.json`` atomically."""
    text = json.dumps(manifest_to_mapping(manifest), indent=1, default=_json_default)
    write_atomically(folder / MANIFEST_NAME, text + '\n')


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


def check_keras_archive(path: Path) -> None:
    """Raise ArtifactError for a `.keras` file that unpacks to far more than its own size.

    Keras stores weights as they are; a file of a few kB that holds a GB of zeros would take
    several GB to load.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
    except (OSError, zipfile.BadZipFile):
        return  # Keras says what is wrong with it
    largest = min(LARGEST_ARCHIVE_BYTES, 10 * path.stat().st_size + 10_000_000)
    if unpacked > largest:
        raise ArtifactError(
            f'{path} unpacks to {unpacked} bytes, at most {largest} are accepted of a file of its '
            f'size: export the policy again'
        )


def pack_artifact(folder: Path, recipes: Iterable[str]) -> bytes:
    """Return a zip archive of the manifest and the files of ``recipes``, for the wire.

    The manifest in it lists those files alone. Raise ArtifactError for files that do not match.
    """
    manifest = load_manifest(folder)
    entries = tuple(manifest.entry(recipe) for recipe in recipes)
    kept = {entry.recipe for entry in entries}
    default = manifest.default_recipe if manifest.default_recipe in kept else ''
    part = dataclasses.replace(manifest, files=entries, default_recipe=default)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w', zipfile.ZIP_DEFLATED) as archive:
        text = json.dumps(manifest_to_mapping(part), default=_json_default)
        archive.writestr(MANIFEST_NAME, text)
        for entry in entries:
            archive.write(checked_file(folder, entry), entry.file)
    return buffer.getvalue()


def unpack_artifact(
    data: bytes,
    sha256: str,
    folder: Path,
    *,
    check: Callable[[Manifest], None] = lambda manifest: None,
) -> Manifest:
    """Unpack `pack_artifact`'s archive as ``folder`` and return its manifest.

    Nothing is written unless the bytes hash to ``sha256`` and the members are the manifest and the
    files that it names, each of the size and hash that it says; ``check`` may raise before the
    first one is unpacked. Raise ArtifactError otherwise, StorageError when the folder can't be
    written.
    """
    actual = sha256_of(data)
    if actual != sha256.lower():
        raise ArtifactError(f'archive hashes to {actual}, announced was {sha256!r}: send it again')
    try:
        _check_directory(data)
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            manifest = _packed_manifest(archive)
            check(manifest)
            with folder_written_atomically(folder, known_by=MANIFEST_NAME) as temporary:
                _unpack(
                    archive, MANIFEST_NAME, archive.getinfo(MANIFEST_NAME).file_size, temporary
                )
                for entry in manifest.files:
                    _unpack(archive, entry.file, entry.bytes, temporary)
                    checked_file(temporary, entry)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, RuntimeError) as error:
        raise ArtifactError(f'archive is not a readable zip file: {error}') from error
    return manifest


def _check_directory(data: bytes) -> None:
    """Raise ArtifactError for more members than an artifact has, before they are all read."""
    place = data.rfind(b'PK\5\6')
    if place < 0 or len(data) - place < _END_OF_DIRECTORY.size:
        raise zipfile.BadZipFile('it has no directory')
    members = _END_OF_DIRECTORY.unpack_from(data, place)[4]
    size = _END_OF_DIRECTORY.unpack_from(data, place)[5]
    if members > MOST_MEMBERS or size > LARGEST_MANIFEST_BYTES:
        raise ArtifactError(
            f'archive lists {members} members in {size} bytes, at most {MOST_MEMBERS} are accepted'
        )


def _packed_manifest(archive: zipfile.ZipFile) -> Manifest:
    """Return the manifest of an archive whose other members are those that it names, no more."""
    sizes = {member.filename: member.file_size for member in archive.infolist()}
    for name in sizes:
        if PurePosixPath(name).name != name:
            raise ArtifactError(f'archive holds {name!r}: paths are not accepted')
    if MANIFEST_NAME not in sizes:
        raise ArtifactError(f'archive has no {MANIFEST_NAME}: pack an artifact')
    try:
        with archive.open(MANIFEST_NAME) as file:
            manifest = manifest_from_mapping(parse_manifest(file.read(LARGEST_MANIFEST_BYTES + 1)))
    except RlEdgeError as error:
        raise ArtifactError(f'{MANIFEST_NAME} of the archive: {error}') from error
    named = {entry.file: entry.bytes for entry in manifest.files}
    for name in sizes:
        if name != MANIFEST_NAME and name not in named:
            raise ArtifactError(
                f'archive holds {name!r}, which its manifest does not name: pack it again'
            )
    total = sum(named.values())
    if total > LARGEST_ARCHIVE_BYTES:
        raise ArtifactError(
            f'archive unpacks to {total} bytes, at most {LARGEST_ARCHIVE_BYTES} are accepted'
        )
    for name, size in named.items():
        if sizes.get(name) != size:
            raise ArtifactError(
                f'archive has {sizes.get(name, "no")} bytes of {name}, its manifest says {size}: '
                f'pack it again'
            )
    return manifest


def _unpack(archive: zipfile.ZipFile, name: str, size: int, folder: Path) -> None:
    # What a member's header says of its size may be less than what it unpacks to.
    with archive.open(name) as source, (folder / name).open('wb') as target:
        left = size + 1
        while left > 0 and (part := source.read(min(left, 1 << 20))):
            target.write(part)
            left -= len(part)
    if left <= 0:
        raise ArtifactError(f'archive has more than {size} bytes of {name}: pack it again')
