import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from loop_messages import transition
from rosbags.highlevel import AnyReader

from rl_edge_core.errors import ConfigurationError, StorageError
from rl_edge_eval.bag.bag import Bag
from rl_edge_eval.recording.bag_file import BagFile
from rl_edge_eval.synthetic_bag import BagWriter

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
