"""A rosbag2 bag being written: complete up to its last flush, in one file or in several."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any

import yaml

from rl_edge_core.errors import ConfigurationError, StorageError
from rl_edge_core.files import ensure_folder, storage_errors, write_atomically
from rl_edge_eval.bag.bag import METADATA_NAME
from rl_edge_eval.recording import storage_writers

_STORAGES: dict[str, type[storage_writers.McapStorage] | type[storage_writers.SqliteStorage]] = {
    'mcap': storage_writers.McapStorage,
    'sqlite3': storage_writers.SqliteStorage,
}
FILES_OF_A_CAPPED_BAG = 5
"""So many files a bag with a largest size is split into, where no size of a file is given."""
_BYTES_PER_MB = 1_000_000


@dataclass(frozen=True)
class Limits:
    """When a file of a bag is full, and when a bag is; 0 is never."""

    file_mb: float = 0.0
    file_sec: float = 0.0
    bag_mb: float = 0.0
    """Beyond it the oldest file is deleted."""

    @property
    def file_bytes(self) -> float:
        """Return how large a file gets."""
        size_mb = self.file_mb or self.bag_mb / FILES_OF_A_CAPPED_BAG
        return size_mb * _BYTES_PER_MB if size_mb else inf


@dataclass
class _File:
    """What metadata.yaml says of one file."""

    name: str
    begin_ns: int = 2**63 - 1
    end_ns: int = 0
    counts: Counter[int] = field(default_factory=Counter)
    """Messages by topic."""

    def times(self) -> dict[str, Any]:
        begin_ns = min(self.begin_ns, self.end_ns)
        return {
            'starting_time': {'nanoseconds_since_epoch': begin_ns},
            'duration': {'nanoseconds': self.end_ns - begin_ns},
        }


class BagFile:
    """Write a rosbag2 bag. After a failure or a kill, all up to the last `flush` is readable.

    Every method that writes raises StorageError when the file system does not take it, after
    which the bag is closed. Not thread-safe. Flushed data is synchronised with the disk by a
    thread of its own, so that a slow disk holds nobody up: a power cut costs what the disk had
    not taken yet.
    """

    def __init__(self, folder: Path, storage: str, *, limits: Limits | None = None) -> None:
        """Create the bag folder and its first storage file.

        Raise ConfigurationError for another storage, StorageError when the folder exists.
        """
        if storage not in _STORAGES:
            raise ConfigurationError(
                f'storage is {storage!r}, must be one of {", ".join(_STORAGES)}'
            )
        with storage_errors(folder):
            if folder.exists():
                raise StorageError(
                    f'{folder} exists: a bag is never overwritten; choose another folder'
                )
        self.folder, self._storage_name, self._limits = folder, storage, limits or Limits()
        self.messages_written = 0
        self.files_deleted = 0
        self._topics: list[storage_writers.RecordedTopic] = []
        self._repeated: dict[int, bytes | None] = {}
        """The last message of each topic that every file begins with."""
        self._files: list[_File] = []
        self._is_open = True
        self._disk = _DiskSync()
        ensure_folder(folder.parent)
        with self._closed_on_failure():
            folder.mkdir()
            self._open_file(0)

    def add_topic(self, topic: storage_writers.RecordedTopic, *, repeat: bool = False) -> int:
        """Announce a topic; return its number.

        ``repeat`` puts its last message at the beginning of each further file, since it is
        published once, for all that follows.
        """
        with self._closed_on_failure():
            number = len(self._topics)
            self._topics.append(topic)
            if repeat:
                self._repeated[number] = None
            self._numbers.append(self._file.add_topic(topic))
        return number

    def write(self, topic: int, time_ns: int, data: bytes, *, published_ns: int = 0) -> None:
        """Add one serialized message, received at ``time_ns`` of the system clock."""
        entry = self._files[-1]
        with self._closed_on_failure():
            self._file.write(self._numbers[topic], time_ns, published_ns or time_ns, data)
        entry.begin_ns, entry.end_ns = min(entry.begin_ns, time_ns), max(entry.end_ns, time_ns)
        entry.counts[topic] += 1
        self.messages_written += 1
        if topic in self._repeated:
            self._repeated[topic] = data

    def flush(self) -> None:
        """Hand all messages to the operating system; begin another file where this one is full."""
        with self._closed_on_failure():
            self._file.flush()
            self._disk.sync(self._file.sync)
            entry, limits = self._files[-1], self._limits
            age_sec = (entry.end_ns - entry.begin_ns) * 1e-9
            if entry.counts and (
                (limits.file_sec and age_sec >= limits.file_sec)
                or (limits.file_bytes < inf and self._file.size_bytes >= limits.file_bytes)
            ):
                self._split()

    def close(self) -> None:
        """Write the index and metadata.yaml; does nothing when the bag is closed."""
        if not self._is_open:
            return
        with self._closed_on_failure():
            self._finish_file()
            metadata = {'rosbag2_bagfile_information': self._information(self._files)}
            write_atomically(self.folder / METADATA_NAME, yaml.safe_dump(metadata))
            self._is_open = False
            self._disk.close()

    @property
    def path(self) -> Path:
        """Return the storage file that is written to."""
        return self._file.path

    def _split(self) -> None:
        now_ns = self._files[-1].end_ns
        self._finish_file()
        self._open_file(self.files_deleted + len(self._files))
        for topic, data in self._repeated.items():
            if data is not None:
                self.write(topic, now_ns, data)
        if not self._limits.bag_mb:
            return
        # Room for the file that has begun is taken into account.
        most = self._limits.bag_mb * _BYTES_PER_MB - self._limits.file_bytes
        closed = [self.folder / entry.name for entry in self._files[:-1]]
        while closed and sum(file.stat().st_size for file in closed) > most:
            closed.pop(0).unlink()
            self._files.pop(0)
            self.files_deleted += 1

    def _open_file(self, number: int) -> None:
        storage = _STORAGES[self._storage_name]
        self._file = storage(self.folder / f'{self.folder.name}_{number}{storage.suffix}')
        self._files.append(_File(self._file.path.name))
        self._numbers = [self._file.add_topic(topic) for topic in self._topics]

    def _finish_file(self) -> None:
        self._disk.wait()
        self._file.finish(yaml.safe_dump(self._information(self._files[-1:])))

    def _information(self, files: list[_File]) -> dict[str, Any]:
        """Return the content of metadata.yaml, version 9 of rosbag2."""
        whole = _File('', min(f.begin_ns for f in files), max(f.end_ns for f in files))
        return {
            'version': storage_writers.METADATA_VERSION,
            'storage_identifier': self._storage_name,
            'relative_file_paths': [entry.name for entry in files],
            **whole.times(),
            'message_count': sum(entry.counts.total() for entry in files),
            'topics_with_message_count': [
                {
                    'topic_metadata': {
                        'name': topic.name,
                        'type': topic.message_type,
                        'serialization_format': 'cdr',
                        'offered_qos_profiles': yaml.safe_load(topic.offered_qos) or [],
                        'type_description_hash': topic.definition.type_hash,
                    },
                    'message_count': sum(entry.counts[number] for entry in files),
                }
                for number, topic in enumerate(self._topics)
            ],
            'compression_format': '',
            'compression_mode': '',
            'files': [
                {'path': entry.name, **entry.times(), 'message_count': entry.counts.total()}
                for entry in files
            ],
            'custom_data': None,
            'ros_distro': 'rl_edge',
        }

    @contextmanager
    def _closed_on_failure(self) -> Iterator[None]:
        if not self._is_open:
            raise StorageError(f'{self.folder} is closed: record into a new bag')
        try:
            with storage_errors(self.folder):
                yield
        except BaseException as error:
            self._is_open = False
            with suppress(Exception):
                self._disk.close()
            with suppress(Exception):
                self._file.abort()
            if isinstance(error, sqlite3.Error):
                raise StorageError(f'{self.folder} cannot be written: {error}') from error
            raise


class _DiskSync:
    """A thread that makes what was handed to the operating system survive a power cut."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix='disk_sync')
        self._jobs: list[Future[None]] = []

    def sync(self, work: Callable[[], None]) -> None:
        """Do the work soon; raise the error of earlier work."""
        self._forget_done()
        if len(self._jobs) < 2:  # else one is still to begin, which does this work too
            self._jobs.append(self._thread.submit(work))

    def wait(self) -> None:
        """Wait until all is done; raise the error of earlier work."""
        futures.wait(self._jobs)
        self._forget_done()

    def close(self) -> None:
        """End the thread, once all is done; raise the error of earlier work."""
        self._thread.shutdown()
        self._forget_done()

    def _forget_done(self) -> None:
        done = [job for job in self._jobs if job.done()]
        self._jobs = [job for job in self._jobs if job not in done]
        for job in done:
            job.result()
