"""Read an MCAP file from front to back, without the index that a killed recorder never wrote.

Record layout: https://mcap.dev/spec. Memory is bounded by the largest chunk.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple
from zlib import crc32

from lz4.frame import LZ4FrameDecompressor

from rl_edge_eval.bag.messages import BagMessage, BagTopic
from rl_edge_eval.bag.notes import Notes
from rl_edge_eval.bag.zstandard import decompress_what_is_there

MAGIC = b'\x89MCAP0\r\n'
_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK, _DATA_END, _FOOTER = 0x03, 0x04, 0x05, 0x06, 0x0F, 0x02
_LARGEST_OPCODE = 0x0F
_LARGEST_RECORD_BYTES = 1 << 30

_HEAD = struct.Struct('<BQ')
_MESSAGE_HEAD = struct.Struct('<BQHIQQ')
_CHUNK_HEAD = struct.Struct('<QQQI')
_U16, _U32, _U64 = struct.Struct('<H'), struct.Struct('<I'), struct.Struct('<Q')


class _Schema(NamedTuple):
    name: str
    encoding: str
    text: str


class McapFile:
    """The messages of one file, in the order in which they were written."""

    def __init__(self, path: Path, notes: Notes) -> None:
        """Prepare to read ``path``; what can't be read goes to ``notes``."""
        self._path = path
        self._notes = notes
        self._schemas: dict[int, _Schema] = {}
        self._channels: dict[int, BagTopic] = {}

    @property
    def topics(self) -> tuple[BagTopic, ...]:
        """Return the topics met so far."""
        return tuple(self._channels.values())

    def __iter__(self) -> Iterator[BagMessage]:
        """Yield messages up to the end, or to where the file can't be read any further."""
        with self._path.open('rb') as file:
            size = self._path.stat().st_size
            if file.read(len(MAGIC)) != MAGIC:
                self._note('is empty' if not size else 'does not begin as an MCAP file does')
                return
            yield from self._records(file, size)

    def _records(self, file: BinaryIO, size: int) -> Iterator[BagMessage]:
        while True:
            start = file.tell()
            head = file.read(_HEAD.size)
            if len(head) < _HEAD.size:
                self._note(f'is cut off after {start} bytes: it has no index at its end')
                return
            opcode, length = _HEAD.unpack(head)
            if opcode in (_DATA_END, _FOOTER):
                return
            if not 0 < opcode <= _LARGEST_OPCODE or length > _LARGEST_RECORD_BYTES:
                self._note(f'is damaged at byte {start}: {size - start} bytes are left out')
                return
            if opcode not in (_SCHEMA, _CHANNEL, _MESSAGE, _CHUNK):
                file.seek(length, 1)
                continue
            content = file.read(length)
            if opcode == _CHUNK:
                yield from self._chunk(content, start)
            elif len(content) == length:
                yield from self._flat(head + content)
            if len(content) < length:
                self._note(f'is cut off, {len(content)} bytes into a record of {length}')
                return

    def _chunk(self, content: bytes, start: int) -> Iterator[BagMessage]:
        try:
            _, _, size, checksum = _CHUNK_HEAD.unpack_from(content)
            compression, pos = _string(content, _CHUNK_HEAD.size)
            compressed = content[pos + _U64.size :]
            records = _decompress(compressed, compression)
        except (struct.error, UnicodeDecodeError, ValueError, RuntimeError) as error:
            self._note(f'has a chunk that cannot be read at byte {start}: {error}')
            return
        if len(records) == size and checksum and crc32(records) != checksum:
            self._note(f'has a chunk with a wrong checksum at byte {start}: it is left out')
            return
        yield from self._flat(records)

    def _flat(self, records: bytes) -> Iterator[BagMessage]:
        pos, end = 0, len(records)
        channels = self._channels
        while pos + _HEAD.size <= end:
            opcode, length = _HEAD.unpack_from(records, pos)
            after = pos + _HEAD.size + length
            if after > end:
                break
            if opcode == _MESSAGE and length >= _MESSAGE_HEAD.size - _HEAD.size:
                _, _, channel, _, time_ns, _ = _MESSAGE_HEAD.unpack_from(records, pos)
                topic = channels.get(channel)
                if topic is None:
                    self._note(f'has messages of a channel {channel} that it does not describe')
                else:
                    yield BagMessage(topic, time_ns, records[pos + _MESSAGE_HEAD.size : after])
            elif opcode in (_SCHEMA, _CHANNEL):
                self._describe(opcode, records[pos + _HEAD.size : after])
            pos = after
        if pos < end:
            self._note(f'has an unfinished record: its {end - pos} bytes are left out')

    def _describe(self, opcode: int, content: bytes) -> None:
        try:
            if opcode == _SCHEMA:
                self._add_schema(content)
            else:
                self._add_channel(content)
        except (struct.error, UnicodeDecodeError) as error:
            self._note(f'has a description that cannot be read: {error}')

    def _add_schema(self, content: bytes) -> None:
        (schema,) = _U16.unpack_from(content)
        name, pos = _string(content, _U16.size)
        encoding, pos = _string(content, pos)
        text, _ = _string(content, pos)
        self._schemas[schema] = _Schema(name, encoding, text)

    def _add_channel(self, content: bytes) -> None:
        channel, schema = struct.unpack_from('<HH', content)
        topic, pos = _string(content, 4)
        serialization, _ = _string(content, pos)
        described = self._schemas.get(schema, _Schema('', '', ''))
        self._channels[channel] = BagTopic(
            topic, described.name, described.text, described.encoding, serialization
        )

    def _note(self, remark: str) -> None:
        self._notes.add(f'{self._path.name} {remark}')


def _string(content: bytes, pos: int) -> tuple[str, int]:
    (length,) = _U32.unpack_from(content, pos)
    end = pos + _U32.size + length
    if end > len(content):
        raise struct.error(f'a string of {length} bytes does not fit')
    return content[pos + _U32.size : end].decode(), end


def _decompress(data: bytes, compression: str) -> bytes:
    if compression == '':
        return data
    if compression == 'zstd':
        return decompress_what_is_there(data)
    if compression == 'lz4':
        return LZ4FrameDecompressor().decompress(data)
    raise ValueError(f'compression {compression!r} is not one of zstd, lz4')
