"""One bag being written: complete up to its last flush, whatever happens then."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rosbags.interfaces import Connection, Qos
from rosbags.rosbag2 import StoragePlugin

from rl_edge_core.errors import ConfigurationError, StorageError
from rl_edge_core.files import ensure_folder, storage_errors
from rl_edge_eval.recording.flushing_storage import (
    FlushingMcap,
    FlushingSqlite3,
    FlushingWriter,
)
from rl_edge_eval.recording.message_definitions import MessageDefinition

STORAGES = tuple(plugin.name.lower() for plugin in (StoragePlugin.MCAP, StoragePlugin.SQLITE3))


class BagFile:
    """Write a rosbag2 bag. After a failure or a kill, all up to the last `flush` is readable.

    Every method that writes raises StorageError when the file system does not take it, after
    which the bag is closed. Not thread-safe.
    """

    def __init__(self, folder: Path, storage: str) -> None:
        """Create the bag folder and its storage file.

        Raise ConfigurationError for another storage, StorageError when the folder exists.
        """
        if storage not in STORAGES:
            raise ConfigurationError(
                f'storage is {storage!r}, must be one of {", ".join(STORAGES)}'
            )
        with storage_errors(folder):
            if folder.exists():
                raise StorageError(
                    f'{folder} exists: a bag is never overwritten; choose another folder'
                )
        self.folder = folder
        self.messages_written = 0
        self._is_open = True
        self._writer = FlushingWriter(
            folder, version=9, storage_plugin=StoragePlugin[storage.upper()]
        )
        ensure_folder(folder.parent)
        with self._closed_on_failure():
            self._writer.open()
        opened: Any = self._writer.storage
        self._storage: FlushingMcap | FlushingSqlite3 = opened
        self.path: Path = opened.path  # of the storage file

    def add_topic(
        self, name: str, message_type: str, definition: MessageDefinition, qos: Sequence[Qos]
    ) -> Connection:
        """Announce a topic; ``qos`` is what its publishers offer, for who plays the bag."""
        with self._closed_on_failure():
            return self._writer.add_connection(
                name,
                message_type,
                msgdef=definition.text,
                rihs01=definition.type_hash,
                offered_qos_profiles=qos,
            )

    def write(self, topic: Connection, time_ns: int, data: bytes) -> None:
        """Add one serialized message, received at ``time_ns`` of the system clock."""
        with self._closed_on_failure():
            self._writer.write(topic, time_ns, data)
        self.messages_written += 1

    def flush(self) -> None:
        """Hand all messages to the operating system."""
        with self._closed_on_failure():
            self._storage.flush()

    def close(self) -> None:
        """Write the index and metadata.yaml; does nothing when the bag is closed."""
        if not self._is_open:
            return
        with self._closed_on_failure():
            self._writer.close()
        self._is_open = False

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
                self._writer.abort()
            if isinstance(error, sqlite3.Error):
                raise StorageError(f'{self.folder} cannot be written: {error}') from error
            raise
