"""Checkpoints: whole or not there at all, checked when read, without pickle."""

import json
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rl_edge_core.errors import RlEdgeError
from rl_edge_core.files import folder_written_atomically, sha256_of
from rl_edge_train.array_archive import read_arrays, write_arrays

KEPT = 2


class CheckpointError(RlEdgeError):
    """No checkpoint that is whole."""


@dataclass(frozen=True)
class Checkpoint:
    """One moment of a run."""

    steps: int
    """Environment steps taken."""
    state: Mapping[str, Any]
    """JSON values: counts, generator states."""
    arrays: Mapping[str, np.ndarray]
    """Named arrays: networks, optimizers, normaliser, environments."""


def write(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint below `folder` and remove all but the newest two.

    After a failure (a full disk raises StorageError) or a kill the older ones are as they were.
    """
    path = folder / f'step_{checkpoint.steps:012d}'
    with folder_written_atomically(path, known_by='') as temporary:
        with (temporary / 'arrays.npz').open('wb') as file:
            write_arrays(file, checkpoint.arrays)
        content = {
            'steps': checkpoint.steps,
            'state': checkpoint.state,
            'arrays_sha256': sha256_of(temporary / 'arrays.npz'),
        }
        (temporary / 'state.json').write_text(json.dumps(content))
    for old in paths(folder)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return path


def paths(folder: Path) -> list[Path]:
    """Return the checkpoints below `folder`, oldest first."""
    return sorted(folder.glob('step_*'))


def steps_of(path: Path) -> int:
    """Return the environment steps in the name of a checkpoint."""
    return int(path.name.removeprefix('step_'))


def read(path: Path) -> Checkpoint:
    """Read one checkpoint; raise CheckpointError when it is damaged."""
    try:
        content = json.loads((path / 'state.json').read_text())
        if sha256_of(path / 'arrays.npz') != content['arrays_sha256']:
            raise CheckpointError(f'{path}: arrays.npz does not match its sha256')
        with (path / 'arrays.npz').open('rb') as file:
            return Checkpoint(content['steps'], content['state'], read_arrays(file))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise CheckpointError(f'{path} is damaged: {error}') from error


def read_newest(folder: Path) -> tuple[Checkpoint, list[str]]:
    """Return the newest checkpoint that is whole, and why newer ones were passed over."""
    faults: list[str] = []
    for path in reversed(paths(folder)):
        try:
            return read(path), faults
        except CheckpointError as error:
            faults.append(str(error))
    reasons = '; '.join(faults) or 'there is none'
    raise CheckpointError(f'no checkpoint to resume from in {folder}: {reasons}')
