"""Read a sqlite3 bag file, also one whose recorder was killed, without changing it."""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from rl_edge_eval.bag.messages import BagMessage, BagTopic
from rl_edge_eval.bag.notes import Notes

_SIDE_FILES = ('-wal', '-journal')


class SqliteFile:
    """The messages of one file, in the order in which they were written."""

    def __init__(self, path: Path, notes: Notes) -> None:
        """Prepare to read ``path``; what can't be read goes to ``notes``."""
        self._path = path
        self._notes = notes
        self._topics: dict[int, BagTopic] = {}

    @property
    def topics(self) -> tuple[BagTopic, ...]:
        """Return the topics, once reading has begun."""
        return tuple(self._topics.values())

    def __iter__(self) -> Iterator[BagMessage]:
        """Yield messages up to the end, or to where the file can't be read any further."""
        if not self._path.stat().st_size:
            self._note('is empty')
            return
        last = 0
        with (
            self._recovered() as path,
            closing(_open(path, writes=path != self._path)) as database,
        ):
            try:
                self._topics = _read_topics(database)
                for number, topic, time_ns, data in database.execute(
                    'SELECT id, topic_id, timestamp, data FROM messages ORDER BY id'
                ):
                    last = number
                    if topic in self._topics:
                        yield BagMessage(self._topics[topic], time_ns, data)
                    else:
                        self._note(f'has messages of a topic {topic} that it does not describe')
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

    def _note(self, remark: str) -> None:
        self._notes.add(f'{self._path.name} {remark}')


def _open(path: Path, *, writes: bool) -> sqlite3.Connection:
    mode = 'rw' if writes else 'ro&immutable=1'
    database = sqlite3.connect(f'{path.absolute().as_uri()}?mode={mode}', uri=True)
    # Without it a file that was cut off is refused as a whole.
    database.execute('PRAGMA writable_schema = ON')
    return database


def _read_topics(database: sqlite3.Connection) -> dict[int, BagTopic]:
    definitions = {}
    if _has_table(database, 'message_definitions'):
        rows = database.execute(
            'SELECT topic_type, encoded_message_definition, encoding FROM message_definitions'
        )
        definitions = {name: (text, encoding) for name, text, encoding in rows}
    rows = database.execute('SELECT id, name, type, serialization_format FROM topics')
    return {
        number: BagTopic(name, kind, *definitions.get(kind, ('', '')), serialization)
        for number, name, kind, serialization in rows
    }


def _has_table(database: sqlite3.Connection, name: str) -> bool:
    query = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?"
    return bool(database.execute(query, (name,)).fetchone()[0])
