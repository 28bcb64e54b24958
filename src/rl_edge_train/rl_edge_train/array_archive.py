"""Named arrays as one npz archive, never with pickle in it."""

import zipfile
from collections.abc import Mapping
from typing import BinaryIO

import numpy as np


def write_arrays(file: BinaryIO, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an archive that `numpy.load` reads; ValueError for arrays that would need pickle.

    `numpy.savez` has no way to refuse pickle in NumPy 1.
    """
    with zipfile.ZipFile(file, 'w', zipfile.ZIP_STORED) as archive:
        for name, values in arrays.items():
            with archive.open(f'{name}.npy', 'w', force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(values), allow_pickle=False)


def read_arrays(file: BinaryIO) -> dict[str, np.ndarray]:
    """Read what `write_arrays` wrote."""
    with np.load(file, allow_pickle=False) as archive:
        return dict(archive)


def below(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Return the arrays whose names begin with `prefix`, without it."""
    return {n.removeprefix(prefix): v for n, v in arrays.items() if n.startswith(prefix)}
