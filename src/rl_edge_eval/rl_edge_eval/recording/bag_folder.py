"""Names of bag folders."""

import itertools
from pathlib import Path


def free_folder(folder: Path) -> Path:
    """Return ``folder``; where it exists the first free one of ``folder_2``, ``folder_3``, ..."""
    numbered = (folder.with_name(f'{folder.name}_{number}') for number in itertools.count(2))
    return next(path for path in itertools.chain([folder], numbered) if not path.exists())
