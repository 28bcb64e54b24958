"""Read one storage file of a bag, also one whose recorder was killed or that was cut off.

MCAP is read by `mcap`'s stream reader, from front to back: the index at the end is what a killed
recorder never wrote. sqlite3 is recovered in a copy. Memory is bounded by the largest chunk.
"""

import io
import shutil
import sqlite3
import struct
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO

from lz4.frame import LZ4FrameDecompressor
from mcap.data_stream import ReadDataStream
from mcap.exceptions import EndOfFile, InvalidMagic, McapError
from mcap.opcode import Opcode
from mcap.reader import make_reader
from mcap.records import Channel, Chunk, DataEnd, McapRecord, Message, Schema
from mcap.stream_reader import StreamReader
from zstandard import ZstdDecompressor, ZstdError

from rl_edge_eval.bag.messages import BagMessage, BagTopic, Notes

_LARGEST_RECORD_BYTES = 1 << 30
_MALFORMED = (McapError, struct.error, UnicodeDecodeError, ValueError, RuntimeError, MemoryError)
_SIDE_FILES = ('-wal', '-journal')


class StorageFile:
    """The messages of one file, in the order in which they were written."""

    def __init__(self, path: Path, notes: Notes, types: Mapping[str, str]) -> None:
        """Prepare to read ``path``; what can't be read goes to ``notes``.

        ``types`` are those of metadata.yaml by topic, for channels without a schema.
        """
        self._path, self._notes, self._types = path, notes, types
        self._topics: dict[int, BagTopic] = {}

    @property
    def topics(self) -> tuple[BagTopic, ...]:
        """Return the topics met so far."""
        return tuple(self._topics.values())

    def __iter__(self) -> Iterator[BagMessage]:
        """Yield messages up to the end, or to where the file can't be read any further."""
        if self._path.stat().st_size:
            yield from self._messages()
        else:
            self._note('is empty')

    def _messages(self) -> Iterator[BagMessage]:
        raise NotImplementedError

    def _note(self, remark: str) -> None:
        self._notes.add(f'{self._path.name} {remark}')


class McapFile(StorageFile):
    """An MCAP file, from front to back."""

    def __init__(self, path: Path, notes: Notes, types: Mapping[str, str]) -> None:
        super().__init__(path, notes, types)
        self._schemas: dict[int, Schema] = {}
        self._looked_at_summary = False

    def _messages(self) -> Iterator[BagMessage]:
        with self._path.open('rb') as file:
            yield from self._records(file)

    def _records(self, file: BinaryIO) -> Iterator[BagMessage]:
        size = self._path.stat().st_size
        reader = StreamReader(
            file, emit_chunks=True, record_size_limit=_LARGEST_RECORD_BYTES
        ).records
        start = 0  # of the record; the first is the magic number
        while True:
            try:
                record = next(reader)
            except InvalidMagic:
                if not start:
                    self._note('does not begin as an MCAP file does')
                return
            except (EndOfFile, StopIteration):
                yield from self._cut_off(file, start)
                return
            except _MALFORMED as error:
                if file.read(1):
                    self._note(
                        f'is damaged at byte {start} ({error}): {size - start} bytes are left out'
                    )
                else:
                    yield from self._cut_off(file, start)
                return
            if isinstance(record, DataEnd):
                return
            if isinstance(record, Chunk):
                yield from self._chunk(record, start)
            else:
                yield from self._take(record)
            start = file.tell()

    def _cut_off(self, file: BinaryIO, start: int) -> Iterator[BagMessage]:
        """Read what is there of the record at which the file ends, where it is a chunk."""
        self._note(f'is cut off after {start} bytes: it has no index at its end')
        file.seek(start)
        stream = ReadDataStream(file)
        try:
            if stream.read1() == Opcode.CHUNK:
                stream.read8()
                yield from self._chunk(Chunk.read(stream), start)
        except _MALFORMED:
            return

    def _chunk(self, chunk: Chunk, start: int) -> Iterator[BagMessage]:
        try:
            records = _decompress(chunk.data, chunk.compression)
        except (ValueError, RuntimeError, ZstdError) as error:
            self._note(f'has a chunk that cannot be read at byte {start}: {error}')
            return
        is_whole = len(records) == chunk.uncompressed_size
        if is_whole and chunk.uncompressed_crc not in (0, zlib.crc32(records)):
            self._note(f'has a chunk with a wrong checksum at byte {start}: it is left out')
            return
        stream = io.BytesIO(records)
        reader = StreamReader(stream, skip_magic=True, record_size_limit=len(records)).records
        end = 0
        try:
            for record in reader:
                if stream.tell() > len(records):
                    break
                yield from self._take(record)
                end = stream.tell()
        except _MALFORMED:
            pass
        if end < len(records) or not is_whole:
            self._note(
                f'has an unfinished record in the chunk at byte {start}: '
                f'{len(records) - end} bytes are left out'
            )

    def _take(self, record: McapRecord) -> Iterator[BagMessage]:
        if isinstance(record, Message):
            if record.channel_id not in self._topics:
                self._describe_from_summary()
            topic = self._topics.get(record.channel_id)
            if topic is None:
                self._note(
                    f'has messages of a channel {record.channel_id} that it does not describe'
                )
            else:
                yield BagMessage(topic, record.log_time, record.data)
        elif isinstance(record, Schema):
            self._schemas[record.id] = record
        elif isinstance(record, Channel) and record.id not in self._topics:
            schema = self._schemas.get(record.schema_id)
            self._topics[record.id] = BagTopic(
                record.topic,
                schema.name if schema else self._types.get(record.topic, ''),
                schema.data.decode(errors='replace') if schema else '',
                schema.encoding if schema else '',
                record.message_encoding,
            )
            if schema is None:
                self._note(
                    f'has no schema of {record.topic}: its type is taken from metadata.yaml'
                    if record.topic in self._types
                    else f'has no schema of {record.topic}, and no metadata.yaml names its type'
                )

    def _describe_from_summary(self) -> None:
        """Look up what a damaged chunk would have described: it is repeated at the end."""
        if self._looked_at_summary:
            return
        self._looked_at_summary = True
        try:
            with self._path.open('rb') as file:
                summary = make_reader(file).get_summary()
        except _MALFORMED:
            return
        if summary is not None:
            for record in (*summary.schemas.values(), *summary.channels.values()):
                list(self._take(record))


class SqliteFile(StorageFile):
    """A database, recovered in a copy where it was not closed."""

    def _messages(self) -> Iterator[BagMessage]:
        last = 0
        with self._recovered() as path:
            mode = 'ro&immutable=1' if path == self._path else 'rw'
            uri = f'{path.absolute().as_uri()}?mode={mode}'
            with closing(sqlite3.connect(uri, uri=True)) as database:
                # Without it a file that was cut off is refused as a whole.
                database.execute('PRAGMA writable_schema = ON')
                try:
                    self._topics = _read_topics(database)
                    for number, topic, time_ns, data in database.execute(
                        'SELECT id, topic_id, timestamp, data FROM messages ORDER BY id'
                    ):
                        last = number
                        if topic in self._topics:
                            yield BagMessage(self._topics[topic], time_ns, data)
                        else:
                            self._note(
                                f'has messages of a topic {topic} that it does not describe'
                            )
                except sqlite3.Error as error:
                    self._note(f'cannot be read after message {last}: {error}')

    @contextmanager
    def _recovered(self) -> Iterator[Path]:
        # sqlite completes or undoes a transaction when it opens the file for writing. That is
        # done to a copy: a bag is evidence, and may lie on read-only storage.
        sides = [Path(f'{self._path}{suffix}') for suffix in _SIDE_FILES]
        sides = [side for side in sides if side.exists() and side.stat().st_size]
        if not sides:
            yield self._path
            return
        self._note(f'was not closed: recovered with {", ".join(side.name for side in sides)}')
        with tempfile.TemporaryDirectory(prefix='rl_edge_eval-') as folder:
            try:
                for file in (self._path, *sides):
                    shutil.copy(file, folder)
                yield Path(folder) / self._path.name
            except OSError as error:
                self._note(f'could not be copied for recovery ({error}): read as it is')
                yield self._path


def _decompress(data: bytes, compression: str) -> bytes:
    """Return the content of a chunk; of one that was cut off, what comes before the cut."""
    if compression == '':
        return data
    if compression == 'zstd':
        return ZstdDecompressor().decompressobj().decompress(data)
    if compression == 'lz4':
        return LZ4FrameDecompressor().decompress(data)
    raise ValueError(f'compression {compression!r} is not one of zstd, lz4')


def _read_topics(database: sqlite3.Connection) -> dict[int, BagTopic]:
    definitions = {}
    tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    if ('message_definitions',) in tables.fetchall():
        rows = database.execute(
            'SELECT topic_type, encoded_message_definition, encoding FROM message_definitions'
        )
        definitions = {name: (text, encoding) for name, text, encoding in rows}
    rows = database.execute('SELECT id, name, type, serialization_format FROM topics')
    return {
        number: BagTopic(name, kind, *definitions.get(kind, ('', '')), serialization)
        for number, name, kind, serialization in rows
    }
