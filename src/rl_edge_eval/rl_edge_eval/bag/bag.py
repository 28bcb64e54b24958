"""A bag: a folder or a file, of one or more storage files, compressed or not."""

import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import yaml
from zstandard import FRAME_HEADER, ZstdDecompressor, ZstdError

from rl_edge_core.wording import counted
from rl_edge_eval.bag.messages import BagError, BagMessage, BagTopic, Notes
from rl_edge_eval.bag.storage_files import McapFile, SqliteFile, StorageFile

METADATA_NAME = 'metadata.yaml'
_READERS: dict[str, type[StorageFile]] = {'.mcap': McapFile, '.db3': SqliteFile}
_STORAGES = {'.mcap': 'mcap', '.db3': 'sqlite3'}
_COMPRESSED = '.zstd'


class BagMetadata(NamedTuple):
    """What metadata.yaml says of a bag: never relied on."""

    files: list[str]
    message_counts: Counter[str]
    """By topic."""
    types: dict[str, str]
    """By topic."""


class Bag:
    """Stream the messages of a bag, with notes on what could not be read."""

    def __init__(self, path: Path) -> None:
        """Find the storage files; raise BagError when ``path`` is no bag.

        It may also be the output folder of a run, with the one bag in it.
        """
        self.path = path = _bag_in(path)
        self.notes = Notes()
        self.message_counts: Counter[BagTopic] = Counter()
        """Messages read so far by topic; those without messages count 0."""
        self._metadata: BagMetadata | None = None
        self._types: dict[str, str] = {}
        if path.is_dir():
            self._metadata = _read_metadata(path, self.notes)
            self._types = self._metadata.types if self._metadata else {}
            self.files = self._files_of_folder()
        elif path.is_file() and _storage_suffix(path):
            self.files = (path,)
            self._look_around(path)
        else:
            what = 'is no .mcap or .db3 file' if path.exists() else 'does not exist'
            raise BagError(f'{path} {what}: give a bag folder or one of its files')

    @property
    def storage(self) -> str:
        """Return the format of the storage files."""
        return '+'.join(sorted({_STORAGES[_storage_suffix(file)] for file in self.files}))

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
            reader = _READERS[storage.suffix](storage, self.notes, self._types)
            counts = self.message_counts
            for message in reader:
                counts[message.topic] += 1
                # No CDR begins so: it was recorded with --compression-mode message.
                if message.data[:4] == FRAME_HEADER:
                    try:
                        data = ZstdDecompressor().decompressobj().decompress(message.data)
                    except ZstdError as error:
                        remark = f'{message.topic.name}: messages that cannot be unpacked'
                        self.notes.add(remark, f'not Zstandard: {error}')
                        continue
                    message = message._replace(data=data)
                yield message
            for topic in reader.topics:
                counts[topic] += 0

    @contextmanager
    def _unpacked(self, file: Path) -> Iterator[Path]:
        if file.suffix != _COMPRESSED:
            yield file
            return
        with tempfile.TemporaryDirectory(prefix='rl_edge_eval-') as folder:
            unpacked = Path(folder) / file.stem
            with file.open('rb') as source, unpacked.open('wb') as target:
                try:
                    ZstdDecompressor().copy_stream(source, target)
                except ZstdError as error:
                    self.notes.add(
                        f'{file.name} is damaged (not Zstandard: {error}): read up to there'
                    )
            yield unpacked

    def _files_of_folder(self) -> tuple[Path, ...]:
        found = _storage_files_in(self.path)
        if not found:
            raise BagError(f'{self.path} has no .mcap or .db3 file in it: it is not a bag')
        listed = set(self._metadata.files) if self._metadata else set()
        names, copies = {file.name for file in found}, set[str]()
        # ``ros2 bag play`` and ``convert`` unpack a compressed file beside it and leave it there.
        # A recorder that is killed while it compresses has not yet deleted what it compresses.
        for packed in sorted(name for name in names if name.endswith(_COMPRESSED)):
            plain = packed.removesuffix(_COMPRESSED)
            if plain in names:
                finished = packed in listed and plain not in listed
                kept, left_out = (packed, plain) if finished else (plain, packed)
                self.notes.add(f'{left_out} is left out: {kept} has the same messages')
                copies.add(left_out)
        files = tuple(file for file in found if file.name not in copies)
        if self._metadata is not None:
            read = {file.name for file in files}
            for name in sorted(listed - read - copies):
                self.notes.add(f'{name} is missing, though metadata.yaml lists it')
            for name in sorted(read - listed):
                self.notes.add(f'{name} is read, though metadata.yaml does not list it')
        return files

    def _look_around(self, file: Path) -> None:
        """Say what a single file lacks of its bag; take the types from the bag's metadata."""
        folder = file.absolute().parent
        metadata = _read_metadata(folder, Notes()) if (folder / METADATA_NAME).exists() else None
        if metadata is not None and file.name in metadata.files:
            self._types, names = metadata.types, metadata.files
        else:
            bag = re.sub(r'_\d+$', '', _plain_stem(file))
            pattern = re.compile(rf'{re.escape(bag)}_\d+')
            alike = (f for f in _storage_files_in(folder) if pattern.fullmatch(_plain_stem(f)))
            names = [other.name for other in alike]
        if file.name in names and len(names) > 1:
            self.notes.add(
                f'{file.name} is file {names.index(file.name) + 1} of {len(names)} of a bag that '
                f'was split: the others, and what was published once at the beginning (such as '
                f'the environment), are left out; give the folder {folder} to read them all'
            )

    def _compare_with_metadata(self) -> None:
        if self._metadata is None:
            return
        read: Counter[str] = Counter()
        for topic, count in self.message_counts.items():
            read[topic.name] += count
        for name in sorted(read.keys() | self._metadata.message_counts.keys()):
            promised = self._metadata.message_counts[name]
            if read[name] != promised:
                self.notes.add(
                    f'{name}: {counted(read[name], "message")} read, metadata.yaml says {promised}'
                )


def _bag_in(folder: Path) -> Path:
    """Return the bag that is in ``folder``, or ``folder`` where it has files of its own or none.

    Raise BagError for several.
    """
    if not folder.is_dir() or _storage_files_in(folder):
        return folder
    bags = sorted(one for one in folder.iterdir() if one.is_dir() and _storage_files_in(one))
    if len(bags) > 1:
        names = ', '.join(str(bag) for bag in bags)
        raise BagError(f'{folder} has several bags in it: give one of {names}')
    return bags[0] if bags else folder


def _storage_files_in(folder: Path) -> list[Path]:
    found = (file for file in folder.iterdir() if file.is_file() and _storage_suffix(file))
    return sorted(found, key=_natural_order)


def _storage_suffix(file: Path) -> str:
    suffix = Path(file.stem).suffix if file.suffix == _COMPRESSED else file.suffix
    return suffix if suffix in _READERS else ''


def _plain_stem(file: Path) -> str:
    return file.name.removesuffix(_COMPRESSED).rpartition('.')[0]


def _natural_order(file: Path) -> list[tuple[int, str]]:
    # bag_10 comes after bag_9
    return [
        (int(part), '') if part.isdigit() else (0, part) for part in re.split(r'(\d+)', file.name)
    ]


def _read_metadata(folder: Path, notes: Notes) -> BagMetadata | None:
    """Return what metadata.yaml says, or None (with a note) when there is none to be read."""
    path = folder / METADATA_NAME
    if not path.exists():
        notes.add(f'{METADATA_NAME} is missing: the recorder was killed; all files are read')
        return None
    try:
        information = yaml.safe_load(path.read_text())['rosbag2_bagfile_information']
        counts: Counter[str] = Counter()
        types: dict[str, str] = {}
        for topic in information.get('topics_with_message_count') or []:
            name = str(topic['topic_metadata']['name'])
            counts[name] += int(topic['message_count'])
            types[name] = str(topic['topic_metadata'].get('type', ''))
        files = [Path(name).name for name in information.get('relative_file_paths') or []]
        return BagMetadata(files, counts, types)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        reason = f'not in the form of rosbag2: {type(error).__name__} {error}'
    notes.add(f'{METADATA_NAME} cannot be read ({reason}): all files are read')
    return None
