"""rosbags' storage writers, with files named as ros2 bag does and complete up to each flush."""

import io
import os
import sqlite3
from pathlib import Path
from typing import BinaryIO

from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.rosbag2.enums import CompressionMode
from rosbags.rosbag2.storage_mcap import McapWriter
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Writer

from rl_edge_eval.recording.chunk_index import ChunkIndex


class StagedFile(io.BytesIO):
    """Collect writes, and append them to a file all at once or not at all."""

    def __init__(self, file: BinaryIO) -> None:
        """Continue ``file``, which this object closes, at its end."""
        super().__init__()
        file.flush()
        self._file = file
        self._committed = file.tell()

    def tell(self) -> int:
        """Return the position in the file, staged bytes included."""
        return self._committed + super().tell()

    def commit(self) -> None:
        """Append what is staged; after an OSError the file is as it was before."""
        staged = self.getbuffer()
        try:
            written = 0
            while written < len(staged):
                written += os.write(self._file.fileno(), staged[written:])
            self._committed += written
        except OSError:
            os.ftruncate(self._file.fileno(), self._committed)
            os.lseek(self._file.fileno(), self._committed, os.SEEK_SET)
            raise
        finally:
            staged.release()
            self.seek(0)
            self.truncate()

    def close(self) -> None:
        """Commit and close; after an OSError the file is closed all the same."""
        if self.closed:
            return
        try:
            self.commit()
        finally:
            self._file.close()
            super().close()


class FlushingMcap(McapWriter):
    """MCAP whose chunks reach the file when `flush` says so, not only when they are full."""

    def __init__(self, path: Path, compression: CompressionMode) -> None:
        """Create ``<bag>_0.mcap``, the name that ``ros2 bag reindex`` looks for."""
        super().__init__(path, compression)
        numbered = path / f'{path.name}_0.mcap'
        self.path.rename(numbered)
        self.path = numbered
        self._staged = StagedFile(self.bio)
        self.bio = self._staged  # type: ignore[assignment]
        self._index = ChunkIndex(path)
        self.chunks = self._index  # type: ignore[assignment]

    def close_chunk(self) -> None:
        """Append the pending chunk with its index to the file."""
        if not self.chunk.msgs:  # a chunk of schemas alone has no times
            self.chunk.message_start_time = 0
        super().close_chunk()
        self._staged.commit()

    def flush(self) -> None:
        """Append the pending chunk when there are messages in it."""
        if self.chunk.msgs:
            self.close_chunk()

    def close(self, version: int, metadata: str) -> None:
        """Write the last chunk, the index and the footer."""
        if not any(self.channel_stats.values()):
            self.message_start_time = 0
        super().close(version, metadata)
        self._index.close()

    def abort(self) -> None:
        """Close without the index: what was flushed is in the file."""
        self._index.close()
        super().abort()


class FlushingSqlite3(Sqlite3Writer):
    """sqlite3 whose transactions are committed when `flush` says so, not only at the end.

    While it is open it keeps a write-ahead log, which a kill at any moment leaves readable, also
    for who opens the file read-only. Each flush moves the log into the file itself, for readers
    that open it as immutable and do not see logs.
    """

    def __init__(self, path: Path, compression: CompressionMode) -> None:
        """Create ``<bag>_0.db3``."""
        if compression == CompressionMode.STORAGE:
            raise ValueError('sqlite3 has no compression within its file')
        self.path = path / f'{path.name}_0.db3'
        self.conn = sqlite3.connect(self.path, check_same_thread=False)
        self.conn.execute('PRAGMA journal_mode = WAL')
        self.conn.execute('PRAGMA synchronous = NORMAL')
        self.conn.executescript(self.SQLITE_SCHEMA)
        self.cursor = self.conn.cursor()

    def flush(self) -> None:
        """Commit what was written."""
        self.conn.commit()
        self.conn.execute('PRAGMA wal_checkpoint(TRUNCATE)')

    def close(self, version: int, metadata: str) -> None:
        """Write the metadata and leave a single file, readable from read-only storage."""
        self.flush()
        self.conn.execute('PRAGMA journal_mode = DELETE')
        super().close(version, metadata)


class FlushingWriter(Writer):
    """rosbags' writer with the storages above."""

    STORAGE_PLUGINS = {  # noqa: RUF012 (a constant of the base class)
        StoragePlugin.SQLITE3: FlushingSqlite3,
        StoragePlugin.MCAP: FlushingMcap,
    }
