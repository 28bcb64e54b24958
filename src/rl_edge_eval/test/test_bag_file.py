import os
import resource
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from bag_writer import BagWriter
from loop_messages import environment, transition
from rosbags.highlevel import AnyReader

from rl_edge_core.errors import ConfigurationError, StorageError
from rl_edge_eval.bag.bag import Bag
from rl_edge_eval.metrics_of_bag import metrics_of_bag
from rl_edge_eval.recording.bag_file import BagFile, Limits
from rl_edge_eval.recording.storage_writers import McapStorage, SqliteStorage

STORAGES = ['mcap', 'sqlite3']
SUFFIX = {'mcap': 'mcap', 'sqlite3': 'db3'}


def fill(writer: BagWriter, first: int, last: int) -> None:
    for step in range(first, last):
        writer.add('/ant0/transition', 'Transition', transition(0, step), time_sec=1 + step)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let files grow to ``size`` bytes at most, which fails as a full disk does."""
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)


@contextmanager
def unprivileged() -> Iterator[None]:
    """Give up root's right to write everywhere, where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize('storage', STORAGES)
def test_rosbags_reads_what_was_written(tmp_path: Path, storage: str) -> None:
    writer = BagWriter(tmp_path / 'walk', storage)
    fill(writer, 0, 5)
    writer.close()
    assert (tmp_path / 'walk' / f'walk_0.{SUFFIX[storage]}').is_file()
    with AnyReader([tmp_path / 'walk']) as reader:
        (connection,) = reader.connections
        assert connection.topic == '/ant0/transition'
        assert connection.digest.startswith('RIHS01_')
        assert '# One step of the environment' in connection.msgdef.data
        messages = [reader.deserialize(raw, c.msgtype) for c, _, raw in reader.messages()]
    assert [message.step for message in messages] == [0, 1, 2, 3, 4]
    assert messages[3].observation.tolist() == [0.5, 3.0, 0.0]


@pytest.mark.parametrize('storage', STORAGES)
def test_everything_up_to_the_last_flush_is_in_the_file(tmp_path: Path, storage: str) -> None:
    writer = BagWriter(tmp_path / 'walk', storage)
    fill(writer, 0, 7)
    writer.flush()
    fill(writer, 7, 9)
    # As after a kill: what another process sees of a bag that is still open.
    bag = Bag(tmp_path / 'walk')
    assert len(list(bag)) == 7
    assert any('metadata.yaml is missing' in note for note in bag.notes.lines)
    writer.close()
    assert len(list(Bag(tmp_path / 'walk'))) == 9


def test_closed_sqlite_bag_is_a_single_file_without_a_log(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / 'walk', 'sqlite3')
    fill(writer, 0, 3)
    writer.close()
    assert sorted(path.name for path in (tmp_path / 'walk').iterdir()) == [
        'metadata.yaml',
        'walk_0.db3',
    ]
    header = (tmp_path / 'walk' / 'walk_0.db3').read_bytes()
    assert header[18:20] == b'\x01\x01'  # of the format: rollback journal, not a log


@pytest.mark.parametrize('storage', STORAGES)
def test_empty_bag_is_valid(tmp_path: Path, storage: str) -> None:
    BagFile(tmp_path / 'walk', storage).close()
    with AnyReader([tmp_path / 'walk']) as reader:
        assert reader.message_count == 0
    bag = Bag(tmp_path / 'walk')
    assert list(bag) == []
    assert bag.notes.lines == ()


@pytest.mark.parametrize('storage', STORAGES)
def test_full_disk_keeps_what_was_flushed(tmp_path: Path, storage: str) -> None:
    writer = BagWriter(tmp_path / 'walk', storage)
    fill(writer, 0, 100)
    writer.flush()
    path = next((tmp_path / 'walk').glob('walk_0.*'))
    with largest_file(path.stat().st_size + 1000):
        fill(writer, 100, 400)
        with pytest.raises(StorageError, match=str(tmp_path / 'walk')):
            writer.flush()
    with pytest.raises(StorageError, match='closed'):
        writer.flush()
    writer.close()
    steps = [message.time_ns // 10**9 - 1 for message in Bag(tmp_path / 'walk')]
    assert steps == list(range(100))


def test_existing_folder_is_never_overwritten(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match='never overwritten'):
        BagFile(tmp_path, 'mcap')


def test_no_write_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with unprivileged(), pytest.raises(StorageError, match='cannot be written'):
        BagFile(tmp_path / 'walk', 'mcap')
    tmp_path.chmod(0o755)


def test_unknown_storage(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match='must be one of mcap, sqlite3'):
        BagFile(tmp_path / 'walk', 'rosbag1')
    assert not (tmp_path / 'walk').exists()


def bag_files(bag: Path) -> list[str]:
    return sorted(path.name for path in bag.iterdir() if path.name != 'metadata.yaml')


@pytest.mark.parametrize('storage', STORAGES)
def test_bag_is_split_by_time_and_each_file_begins_with_what_was_said_once(
    tmp_path: Path, storage: str
) -> None:
    writer = BagWriter(tmp_path / 'walk', storage, Limits(file_sec=3.0))
    writer.add('/ant0/environment', 'Environment', environment(), time_sec=1)
    for step in range(10):
        fill(writer, step, step + 1)
        writer.flush()
    writer.close()
    suffix = SUFFIX[storage]
    assert bag_files(tmp_path / 'walk') == [f'walk_{n}.{suffix}' for n in range(4)]
    bag = Bag(tmp_path / 'walk')
    steps = [m.time_ns // 10**9 - 1 for m in bag if m.topic.name.endswith('transition')]
    assert steps == list(range(10))
    assert bag.notes.lines == ()
    run = metrics_of_bag(tmp_path / 'walk')
    assert (run.robot.transitions, run.robot.lost_transitions) == (10, 0)
    for number in range(4):
        alone = metrics_of_bag(tmp_path / 'walk' / f'walk_{number}.{suffix}')
        assert alone.robot.environment_id == 'Test-v0'
    with AnyReader([tmp_path / 'walk']) as reader:
        assert reader.message_count == 14
        assert [c.topic for c in reader.connections] == ['/ant0/environment', '/ant0/transition']


@pytest.mark.parametrize('storage', STORAGES)
def test_bag_is_split_by_size_and_the_oldest_files_are_deleted(
    tmp_path: Path, storage: str
) -> None:
    limits = Limits(bag_mb=0.5)
    writer = BagWriter(tmp_path / 'walk', storage, limits)
    writer.add('/ant0/environment', 'Environment', environment(), time_sec=1)
    step, largest = 0, 0
    while writer.bag.files_deleted < 3:
        fill(writer, step, step + 10)
        step += 10
        writer.flush()
        files = (tmp_path / 'walk').iterdir()
        largest = max(largest, sum(f.stat().st_size for f in files if f.suffix != '.db3-wal'))
    writer.close()
    # A file is full at the first flush beyond its size: one of ten transitions more than that.
    assert 300_000 < largest < 500_000 + 25_000
    names = bag_files(tmp_path / 'walk')
    assert names[0] == f'walk_3.{SUFFIX[storage]}'
    assert len(names) in (4, 5)
    bag = Bag(tmp_path / 'walk')
    steps = [m.time_ns // 10**9 - 1 for m in bag if m.topic.name.endswith('transition')]
    assert bag.notes.lines == ()
    assert steps == list(range(steps[0], step))
    run = metrics_of_bag(tmp_path / 'walk')
    assert run.robot.environment_id == 'Test-v0'
    assert run.robot.lost_transitions == 0
    assert run.robot.steps_before_recording == steps[0]
    with AnyReader([tmp_path / 'walk']) as reader:
        assert reader.message_count == len(steps) + len(names)


@pytest.mark.parametrize('storage', STORAGES)
def test_flushed_data_is_synchronised_by_a_thread_that_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, storage: str
) -> None:
    free, threads = threading.Event(), set()
    storage_class = {'mcap': McapStorage, 'sqlite3': SqliteStorage}[storage]
    sync = storage_class.sync

    def slow_disk(file: McapStorage | SqliteStorage) -> None:
        free.wait()
        threads.add(threading.get_ident())
        sync(file)

    monkeypatch.setattr(storage_class, 'sync', slow_disk)
    writer = BagWriter(tmp_path / 'walk', storage)
    for step in range(5):  # the disk does not answer: these all return
        fill(writer, step, step + 1)
        writer.flush()
    assert len(list(Bag(tmp_path / 'walk'))) == 5
    free.set()
    writer.close()
    assert len(list(Bag(tmp_path / 'walk'))) == 5
    assert threads
    assert threading.get_ident() not in threads


def test_synchronising_mcap_asks_the_disk_for_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = []
    monkeypatch.setattr(
        os, 'fdatasync', lambda number: files.append(os.path.realpath(f'/proc/self/fd/{number}'))
    )
    writer = BagWriter(tmp_path / 'walk')
    fill(writer, 0, 1)
    writer.flush()
    writer.close()
    assert files == [str(tmp_path / 'walk' / 'walk_0.mcap')]


def test_sqlite_moves_its_log_into_the_file_when_it_synchronises(tmp_path: Path) -> None:
    file = SqliteStorage(tmp_path / 'walk.db3')
    log = tmp_path / 'walk.db3-wal'

    def messages_in_the_file() -> int:
        with closing(sqlite3.connect(f'file:{file.path}?immutable=1', uri=True)) as database:
            return int(database.execute('SELECT count(*) FROM messages').fetchone()[0])

    file.sync()
    for count in (1, 2, 3):
        for index in range(100):
            file.write(1, index, 0, bytes(1000))
        file.flush()
        assert messages_in_the_file() == 100 * (count - 1)  # nothing was moved, or waited for
        assert 100_000 < log.stat().st_size < 200_000  # the log begins anew each time
        assert file.size_bytes > 100_000 * count
        file.sync()
        assert messages_in_the_file() == 100 * count
        assert file.size_bytes == file.path.stat().st_size
    file.finish('')
    assert not log.exists()


def flush_until_it_fails(writer: BagWriter) -> None:
    while True:  # the thread reports an error a moment after it has happened
        writer.flush()


def test_a_disk_that_fails_later_ends_the_bag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = threading.Event()

    def broken_disk(_: int) -> None:
        failed.set()
        raise OSError(5, 'Input/output error')

    monkeypatch.setattr(os, 'fdatasync', broken_disk)
    writer = BagWriter(tmp_path / 'walk')
    fill(writer, 0, 1)
    writer.flush()
    assert failed.wait(60)
    fill(writer, 1, 2)
    with pytest.raises(StorageError, match='Input/output error'):
        flush_until_it_fails(writer)
    assert len(list(Bag(tmp_path / 'walk'))) == 2
