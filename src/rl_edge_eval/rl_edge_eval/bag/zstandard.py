"""Zstandard, from the standard library where that has it."""

import sys
from collections.abc import Iterator
from pathlib import Path

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAGIC = b'\x28\xb5\x2f\xfd'
ZstdError = zstd.ZstdError
_BLOCK_BYTES = 1 << 20


def decompress_what_is_there(data: bytes) -> bytes:
    """Return the content of ``data``; of a cut-off frame, what comes before the cut.

    Raise ValueError for what is no Zstandard.
    """
    try:
        return zstd.ZstdDecompressor().decompress(data)
    except ZstdError as error:
        raise ValueError(f'not Zstandard: {error}') from error


def blocks_of_file(path: Path) -> Iterator[bytes]:
    """Yield the content of a compressed file; raise ValueError where it is damaged.

    A file that is cut off ends early.
    """
    decompressor = zstd.ZstdDecompressor()
    with path.open('rb') as file:
        while not decompressor.eof and (block := file.read(_BLOCK_BYTES)):
            try:
                yield decompressor.decompress(block)
            except ZstdError as error:
                raise ValueError(f'not Zstandard: {error}') from error
