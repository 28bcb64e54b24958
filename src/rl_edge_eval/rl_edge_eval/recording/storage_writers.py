"""One storage file being written: complete up to its last flush, whatever happens then.

MCAP is encoded by `mcap`, sqlite3 has the tables of rosbag2. Both are named as ``ros2 bag`` names
its files.
"""

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from mcap.data_stream import RecordBuilder
from mcap.exceptions import EndOfFile
from mcap.records import McapRecord
from mcap.stream_reader import StreamReader
from mcap.writer import CompressionType, Writer

from rl_edge_eval.recording.message_definitions import MessageDefinition

METADATA_VERSION = 9


@dataclass(frozen=True)
class RecordedTopic:
    """A topic as a bag describes it."""

    name: str
    message_type: str
    definition: MessageDefinition
    offered_qos: str = ''
    """YAML of what its publishers offer, for who plays the bag."""


class McapStorage:
    """MCAP in chunks that end where `flush` says so, not only when they are full."""

    suffix = '.mcap'

    def __init__(self, path: Path) -> None:
        """Create the file; raise OSError when it can't be."""
        self.path = path
        self._staged = StagedFile(path)
        self._writer = Writer(cast(IO[bytes], self._staged), compression=CompressionType.NONE)
        self._index = ChunkIndexes(path.parent)
        # In memory the index would be what a recorder grows by: thousands of chunks per hour.
        vars(self._writer)['_Writer__chunk_indices'] = self._index
        self._schemas: dict[str, int] = {}
        self._writer.start('ros2', 'rl_edge')
        self._staged.flush()

    def add_topic(self, topic: RecordedTopic) -> int:
        """Add the channel, and the schema of its type; return its number in this file."""
        schema = self._schemas.get(topic.message_type)
        if schema is None:
            text = topic.definition.text.encode()
            schema = self._writer.register_schema(topic.message_type, 'ros2msg', text)
            self._schemas[topic.message_type] = schema
        metadata = {
            'offered_qos_profiles': topic.offered_qos,
            'topic_type_hash': topic.definition.type_hash,
        }
        return self._writer.register_channel(topic.name, 'cdr', schema, metadata)

    def write(self, topic: int, time_ns: int, published_ns: int, data: bytes) -> None:
        """Add one serialized message to the chunk; ``topic`` is the number `add_topic` gave."""
        self._writer.add_message(topic, time_ns, data, published_ns)

    def flush(self) -> None:
        """Append the chunk if there are messages in it; after an OSError the file is as before."""
        self._writer.flush()

    def sync(self) -> None:
        """Wait until the disk has what was flushed; a thread beside the writing one may do it."""
        os.fdatasync(self._staged.fileno())

    @property
    def size_bytes(self) -> int:
        """Return how large the file is."""
        return self.path.stat().st_size

    def finish(self, metadata: str) -> None:
        """Write the last chunk, the index and the footer."""
        self._writer.flush()
        self._writer.add_metadata('rosbag2', {'serialized_metadata': metadata})
        self._writer.finish()
        self._index.close()
        self._staged.flush()
        os.fsync(self._staged.fileno())
        self._staged.close()

    def abort(self) -> None:
        """Close without the index."""
        self._index.close()
        self._staged.close()


class StagedFile:
    """Collect writes, and append them to a file all at once or not at all."""

    def __init__(self, path: Path) -> None:
        """Create the file; raise OSError when it can't be."""
        self._file = path.open('xb', buffering=0)
        self._staged = bytearray()

    def write(self, data: bytes) -> int:
        """Stage bytes."""
        self._staged += data
        return len(data)

    def fileno(self) -> int:
        """Return the descriptor of the file."""
        return self._file.fileno()

    def tell(self) -> int:
        """Return the position in the file, staged bytes included."""
        return self._file.tell() + len(self._staged)

    def flush(self) -> None:
        """Append what is staged; after an OSError the file is as it was before."""
        begin, rest = self._file.tell(), memoryview(self._staged)
        self._staged = bytearray()
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            self._file.truncate(begin)
            self._file.seek(begin)
            raise

    def close(self) -> None:
        """Close without what is staged."""
        self._file.close()


class ChunkIndexes:
    """Records of closed chunks in a file without a name, for the summary at the end."""

    def __init__(self, folder: Path) -> None:
        """Keep the records on the disk of ``folder``."""
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed by close)
        self._count = 0

    def append(self, record: McapRecord) -> None:
        """Add a record."""
        builder = RecordBuilder()
        record.write(builder)
        self._file.write(builder.end())
        self._count += 1

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[McapRecord]:
        self._file.seek(0)
        try:
            yield from StreamReader(self._file, skip_magic=True).records
        except EndOfFile:
            return

    def close(self) -> None:
        """Give the file up."""
        self._file.close()


class SqliteStorage:
    """sqlite3 whose transactions are committed when `flush` says so, not only at the end.

    While it is open it keeps a write-ahead log, which a kill at any moment leaves readable, also
    for who opens the file read-only. A flush writes the log and waits for no disk. `sync` moves
    the log into the file itself, for readers that open it as immutable and do not see logs, and
    sqlite3 synchronises both with the disk meanwhile: on a connection of its own, so that
    messages are written beside it.
    """

    suffix = '.db3'
    _TABLES = """
    CREATE TABLE schema(schema_version INTEGER PRIMARY KEY, ros_distro TEXT NOT NULL);
    CREATE TABLE metadata(
      id INTEGER PRIMARY KEY, metadata_version INTEGER NOT NULL, metadata TEXT NOT NULL);
    CREATE TABLE topics(
      id INTEGER PRIMARY KEY, name TEXT NOT NULL, type TEXT NOT NULL,
      serialization_format TEXT NOT NULL, offered_qos_profiles TEXT NOT NULL,
      type_description_hash TEXT NOT NULL);
    CREATE TABLE message_definitions(
      id INTEGER PRIMARY KEY, topic_type TEXT NOT NULL, encoding TEXT NOT NULL,
      encoded_message_definition TEXT NOT NULL, type_description_hash TEXT NOT NULL);
    CREATE TABLE messages(
      id INTEGER PRIMARY KEY, topic_id INTEGER NOT NULL, timestamp INTEGER NOT NULL,
      data BLOB NOT NULL);
    CREATE INDEX timestamp_idx ON messages (timestamp ASC);
    INSERT INTO schema(schema_version, ros_distro) VALUES (4, 'rl_edge');
    """

    def __init__(self, path: Path) -> None:
        """Create the database; raise sqlite3.Error when it can't be."""
        self.path = path
        self._database = sqlite3.connect(path, check_same_thread=False)
        self._database.execute('PRAGMA journal_mode = WAL')
        self._database.execute('PRAGMA synchronous = OFF')
        self._database.execute('PRAGMA wal_autocheckpoint = 0')
        self._database.executescript(self._TABLES)
        self._syncing = sqlite3.connect(path, check_same_thread=False)
        self._syncing.execute('PRAGMA synchronous = NORMAL')
        self._types: set[str] = set()
        self._rows: list[tuple[int, int, bytes]] = []
        self._flushes, self._synced_flushes = 1, 0  # the tables

    def add_topic(self, topic: RecordedTopic) -> int:
        """Add rows for the topic and its type."""
        text, type_hash = topic.definition.text, topic.definition.type_hash
        if topic.message_type not in self._types:
            self._types.add(topic.message_type)
            self._database.execute(
                'INSERT INTO message_definitions (topic_type, encoding, '
                'encoded_message_definition, type_description_hash) VALUES (?, ?, ?, ?)',
                (topic.message_type, 'ros2msg', text, type_hash),
            )
        row = self._database.execute(
            'INSERT INTO topics (name, type, serialization_format, offered_qos_profiles, '
            'type_description_hash) VALUES (?, ?, ?, ?, ?)',
            (topic.name, topic.message_type, 'cdr', topic.offered_qos, type_hash),
        )
        return int(row.lastrowid or 0)

    def write(self, topic: int, time_ns: int, published_ns: int, data: bytes) -> None:
        """Add a row; rosbag2's tables have no time of publication."""
        self._rows.append((topic, time_ns, data))

    def flush(self) -> None:
        """Commit what was written; begin the log anew where all of it is in the file."""
        if self._synced_flushes == self._flushes and not self._database.in_transaction:
            self._database.execute('PRAGMA wal_checkpoint(TRUNCATE)')
        self._database.executemany(
            'INSERT INTO messages (topic_id, timestamp, data) VALUES (?, ?, ?)', self._rows
        )
        self._database.commit()
        self._rows.clear()
        self._flushes += 1

    def sync(self) -> None:
        """Move what was flushed into the file, and wait until the disk has it."""
        flushes = self._flushes
        _, logged, moved = self._syncing.execute('PRAGMA wal_checkpoint(PASSIVE)').fetchone()
        if logged == moved:  # else someone still reads what the log has
            self._synced_flushes = flushes

    @property
    def size_bytes(self) -> int:
        """Return how large the file is with all that is in the log."""
        pages, page_bytes = (
            self._database.execute(f'PRAGMA page_{what}').fetchone()[0]
            for what in ('count', 'size')
        )
        return int(pages * page_bytes)

    def finish(self, metadata: str) -> None:
        """Write the metadata and leave a single file, readable from read-only storage."""
        self._database.execute(
            'INSERT INTO metadata (metadata_version, metadata) VALUES (?, ?)',
            (METADATA_VERSION, metadata),
        )
        self.flush()
        self._syncing.close()
        self._database.execute('PRAGMA synchronous = NORMAL')
        self._database.execute('PRAGMA journal_mode = DELETE')
        self._database.close()

    def abort(self) -> None:
        """Close without what was not committed."""
        self._syncing.close()
        self._database.close()
