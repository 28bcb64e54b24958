"""The index of a bag's chunks while the bag is being written."""

import io
import tempfile
from collections.abc import Iterator
from pathlib import Path

_LENGTH_BYTES = 4


class ChunkIndex:
    """Records of closed chunks in a file without a name, for the summary at the end.

    An hour of recording closes thousands of chunks. In memory their records would be what a
    recorder grows by.
    """

    def __init__(self, folder: Path) -> None:
        """Keep the records on the disk of ``folder``."""
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed by close)
        self._count = 0

    def append(self, record: io.BytesIO) -> None:
        """Add a record."""
        content = record.getbuffer()
        self._file.write(len(content).to_bytes(_LENGTH_BYTES, 'little'))
        self._file.write(content)
        self._count += 1

    def __len__(self) -> int:
        """Return how many records there are."""
        return self._count

    def __iter__(self) -> Iterator[io.BytesIO]:
        """Yield the records in order, each positioned at its end."""
        self._file.seek(0)
        while length := self._file.read(_LENGTH_BYTES):
            record = io.BytesIO()
            record.write(self._file.read(int.from_bytes(length, 'little')))
            yield record

    def close(self) -> None:
        """Give the file up."""
        self._file.close()
