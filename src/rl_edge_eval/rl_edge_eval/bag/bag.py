"""A bag: a folder or a file, of one or more storage files, compressed or not."""

import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rl_edge_eval.bag.mcap_file import McapFile
from rl_edge_eval.bag.messages import BagError, BagMessage, BagTopic
from rl_edge_eval.bag.metadata import BagMetadata, read_metadata
from rl_edge_eval.bag.notes import Notes
from rl_edge_eval.bag.sqlite_file import SqliteFile
from rl_edge_eval.bag.zstandard import MAGIC as ZSTD_MAGIC
from rl_edge_eval.bag.zstandard import blocks_of_file, decompress_what_is_there

_READERS: dict[str, type[McapFile] | type[SqliteFile]] = {
    '.mcap': McapFile,
    '.db3': SqliteFile,
}
_COMPRESSED = '.zstd'


class Bag:
    """Stream the messages of a bag, with notes on what could not be read."""

    def __init__(self, path: Path) -> None:
        """Find the storage files; raise BagError when ``path`` is no bag."""
        self.path = path
        self.notes = Notes()
        self.message_counts: Counter[BagTopic] = Counter()
        """Messages read so far by topic; those without messages count 0."""
        self._metadata: BagMetadata | None = None
        if path.is_dir():
            self._metadata = read_metadata(path, self.notes)
            self.files = self._files_of_folder()
        elif path.is_file() and _storage_suffix(path):
            self.files = (path,)
        else:
            what = 'is no .mcap or .db3 file' if path.exists() else 'does not exist'
            raise BagError(f'{path} {what}: give a bag folder or one of its files')

    @property
    def storage(self) -> str:
        """Return the format of the storage files."""
        suffixes = {_storage_suffix(file) for file in self.files}
        return '+'.join(sorted({'.mcap': 'mcap', '.db3': 'sqlite3'}[s] for s in suffixes))

    def __iter__(self) -> Iterator[BagMessage]:
        """Yield all messages, in the order in which they were written."""
        for file in self.files:
            try:
                yield from self._messages_of(file)
            except OSError as error:
                self.notes.add(f'{file.name} cannot be read: {error.strerror or error}')
        self._compare_with_metadata()

    def _messages_of(self, file: Path) -> Iterator[BagMessage]:
        with self._unpacked(file) as storage:
            reader = _READERS[storage.suffix](storage, self.notes)
            counts = self.message_counts
            for message in reader:
                counts[message.topic] += 1
                # No CDR begins so: it was recorded with --compression-mode message.
                if message.data[:4] == ZSTD_MAGIC:
                    yield from self._decompressed(message)
                else:
                    yield message
            for topic in reader.topics:
                counts[topic] += 0

    def _decompressed(self, message: BagMessage) -> Iterator[BagMessage]:
        try:
            yield message._replace(data=decompress_what_is_there(message.data))
        except ValueError as error:
            self.notes.add(f'{message.topic.name}: messages that cannot be unpacked', str(error))

    @contextmanager
    def _unpacked(self, file: Path) -> Iterator[Path]:
        if file.suffix != _COMPRESSED:
            yield file
            return
        with tempfile.TemporaryDirectory(prefix='rl_edge_eval-') as folder:
            unpacked = Path(folder) / file.stem
            with unpacked.open('wb') as target:
                try:
                    for block in blocks_of_file(file):
                        target.write(block)
                except ValueError as error:
                    self.notes.add(f'{file.name} is damaged ({error}): read up to there')
            yield unpacked

    def _files_of_folder(self) -> tuple[Path, ...]:
        found = sorted(
            (file for file in self.path.iterdir() if file.is_file() and _storage_suffix(file)),
            key=_natural_order,
        )
        if not found:
            raise BagError(f'{self.path} has no .mcap or .db3 file in it: it is no bag')
        listed = set(self._metadata.files) if self._metadata else set()
        copies = self._copies({file.name for file in found}, listed)
        files = tuple(file for file in found if file.name not in copies)
        if self._metadata is not None:
            self._compare_files(listed, {file.name for file in files}, copies)
        return files

    def _copies(self, found: set[str], listed: set[str]) -> set[str]:
        """Return the files that hold the messages of another one.

        ``ros2 bag play`` and ``convert`` unpack a compressed file beside it and leave it there. A
        recorder that is killed while it compresses has not yet deleted what it compresses.
        """
        copies = set()
        for packed in sorted(name for name in found if name.endswith(_COMPRESSED)):
            plain = packed.removesuffix(_COMPRESSED)
            if plain in found:
                finished = packed in listed and plain not in listed
                kept, left_out = (packed, plain) if finished else (plain, packed)
                self.notes.add(f'{left_out} is left out: {kept} has the same messages')
                copies.add(left_out)
        return copies

    def _compare_files(self, listed: set[str], read: set[str], copies: set[str]) -> None:
        for name in sorted(listed - read - copies):
            self.notes.add(f'{name} is missing, though metadata.yaml lists it')
        for name in sorted(read - listed):
            self.notes.add(f'{name} is read, though metadata.yaml does not list it')

    def _compare_with_metadata(self) -> None:
        if self._metadata is None:
            return
        read: Counter[str] = Counter()
        for topic, count in self.message_counts.items():
            read[topic.name] += count
        for name in sorted(read.keys() | self._metadata.message_counts.keys()):
            promised = self._metadata.message_counts.get(name, 0)
            if read[name] != promised:
                self.notes.add(
                    f'{name}: {read[name]} messages read, metadata.yaml says {promised}'
                )


def _storage_suffix(file: Path) -> str:
    suffix = Path(file.stem).suffix if file.suffix == _COMPRESSED else file.suffix
    return suffix if suffix in _READERS else ''


def _natural_order(file: Path) -> list[tuple[int, str]]:
    # bag_10 comes after bag_9
    return [
        (int(part), '') if part.isdigit() else (0, part) for part in re.split(r'(\d+)', file.name)
    ]
