"""Read the tensors of a PyTorch file without PyTorch, and without running what is in it."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rl_edge_compress.pickled_arrays import (
    LARGEST_PICKLE_BYTES,
    TORCH_TYPES,
    Foreign,
    Name,
    read_pickle,
)
from rl_edge_core.errors import ArtifactError

LARGEST_TENSORS_BYTES = 1_000_000_000
MOST_MEMBERS = 10_000


def read_member(archive: zipfile.ZipFile, name: str, *, largest: int) -> bytes:
    """Return a member of a zip file; raise ArtifactError when it is missing or too large."""
    try:
        size = archive.getinfo(name).file_size
        if size > largest:
            raise ArtifactError(f'{name} unpacks to {size} bytes, at most {largest} are read')
        with archive.open(name) as file:
            content = file.read(largest + 1)
    except KeyError:
        raise ArtifactError(f'it has no {name}') from None
    except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, OSError) as error:
        raise ArtifactError(f'{name} cannot be unpacked: {error}') from error
    if len(content) > largest:
        raise ArtifactError(f'{name} unpacks to more than the {size} bytes that it announces')
    return content


def open_zip(source: Path | bytes) -> zipfile.ZipFile:
    """Open a zip file or its bytes; raise ArtifactError for what is none."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source)
    except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
        raise ArtifactError(f'it is not a zip file, or a damaged one: {error}') from error
    if len(archive.namelist()) > MOST_MEMBERS:
        raise ArtifactError(f'it has {len(archive.namelist())} members, more than any policy')
    return archive


def read_torch(source: Path | bytes) -> Any:
    """Return what `torch.save` or `torch.jit.save` wrote: tensors as arrays, objects as `Foreign`.

    Raise ArtifactError for a file of PyTorch before 1.6, which is one pickle and no zip file, and
    for a damaged one.
    """
    with open_zip(source) as archive:
        main = [name for name in archive.namelist() if name.rpartition('/')[2] == 'data.pkl']
        if len(main) != 1:
            raise ArtifactError('it is not a file of PyTorch 1.6 or later: it has no data.pkl')
        folder = main[0].rpartition('/')[0]
        read = 0

        def storage(reference: Any) -> np.ndarray:
            nonlocal read
            if not isinstance(reference, tuple) or len(reference) < 3 or reference[0] != 'storage':
                raise ArtifactError(f'it refers to {reference!r}, which is not a tensor')
            kind = reference[1]
            if not isinstance(kind, Name) or kind.name not in TORCH_TYPES:
                raise ArtifactError(f'it holds tensors of type {kind}, which are not read')
            name = f'{folder}/data/{reference[2]}' if folder else f'data/{reference[2]}'
            content = read_member(archive, name, largest=LARGEST_TENSORS_BYTES - read)
            read += len(content)
            dtype = np.dtype(TORCH_TYPES[kind.name])
            return np.frombuffer(content[: len(content) // dtype.itemsize * dtype.itemsize], dtype)

        content = read_member(archive, main[0], largest=LARGEST_PICKLE_BYTES)
        return read_pickle(content, storage=storage)


def tensors_of(value: Any, *, what: str) -> Mapping[str, np.ndarray]:
    """Return a state dict as float arrays by name; raise ArtifactError for anything else in it."""
    if not isinstance(value, dict):
        named = str(value.name) if isinstance(value, Foreign) else type(value).__name__
        raise ArtifactError(f'{what} holds {named} where a dictionary of tensors must be')
    for name, tensor in value.items():
        if isinstance(tensor, Foreign):
            raise ArtifactError(
                f'{what} asks for {tensor.name} to be called for {name!r}: it is not a dictionary '
                f'of tensors, and is not run'
            )
    return {str(name): tensor for name, tensor in value.items() if isinstance(tensor, np.ndarray)}
