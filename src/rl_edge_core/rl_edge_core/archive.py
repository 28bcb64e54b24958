"""Zip archives: a policy artifact for the wire, and what may be unpacked at most."""

import dataclasses
import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath

from rl_edge_core.artifact import (
    Manifest,
    checked_file,
    load_manifest,
    manifest_from_mapping,
    manifest_text,
)
from rl_edge_core.errors import ArtifactError, RlEdgeError
from rl_edge_core.files import folder_written_atomically, sha256_of
from rl_edge_core.model_files import LARGEST_MANIFEST_BYTES, MANIFEST_NAME, parse_manifest

LARGEST_ARCHIVE_BYTES = 256_000_000
"""What `unpack_artifact` unpacks at most, so that a small archive can't fill the disk."""
MOST_MEMBERS = 100
"""Of a packed artifact: its manifest and its model files."""
_END_OF_DIRECTORY = struct.Struct('<4s4H2LH')
"""The last record of a zip file: signature, disks, numbers of members, size and place of the
directory, length of the comment."""


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
        archive.writestr(MANIFEST_NAME, manifest_text(part))
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
