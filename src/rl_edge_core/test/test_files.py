import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rl_edge_core.errors import StorageError
from rl_edge_core.files import (
    check_file,
    check_folder,
    ensure_folder,
    folder_written_atomically,
    hold_folder,
    sha256_of,
    user_path,
    write_atomically,
)


def test_writes_and_replaces(tmp_path):
    path = tmp_path / 'new' / 'file.txt'
    write_atomically(path, 'one')
    write_atomically(path, lambda temporary: temporary.write_text('two') and None)
    assert path.read_text() == 'two'
    assert os.listdir(path.parent) == ['file.txt']


def test_a_failing_writer_leaves_the_old_file(tmp_path):
    path = tmp_path / 'file.bin'
    write_atomically(path, b'old')

    def fail(temporary: Path) -> None:
        temporary.write_bytes(b'half')
        raise RuntimeError('writer broke')

    with pytest.raises(RuntimeError, match='writer broke'):
        write_atomically(path, fail)
    assert path.read_bytes() == b'old'
    assert os.listdir(tmp_path) == ['file.bin']


def test_a_folder_takes_its_place_whole_or_not_at_all(tmp_path):
    target = tmp_path / 'artifact'
    with folder_written_atomically(target, known_by='a') as folder:
        (folder / 'a').write_text('1')

    def write_half() -> None:
        with folder_written_atomically(target, known_by='a') as folder:
            (folder / 'b').write_text('2')
            raise RuntimeError('interrupted')

    with pytest.raises(RuntimeError, match='interrupted'):
        write_half()
    assert os.listdir(target) == ['a']
    with folder_written_atomically(target, known_by='a') as folder:
        (folder / 'b').write_text('2')
    assert os.listdir(target) == ['b']
    assert os.listdir(tmp_path) == ['artifact']


def test_a_folder_of_something_else_is_not_replaced(tmp_path):
    home, file = tmp_path / 'home', tmp_path / 'file'
    home.mkdir()
    file.write_text('mine')

    def write(path: Path) -> None:
        with folder_written_atomically(path, known_by='manifest.json') as folder:
            (folder / 'manifest.json').write_text('{}')

    write(home)  # empty
    write(home)  # of the same kind
    (home / 'manifest.json').rename(home / 'letter.txt')
    with pytest.raises(StorageError, match=r'home holds other files, and no manifest\.json: '):
        write(home)
    with pytest.raises(StorageError, match='a file of that name is in the way'):
        write(file)
    assert (os.listdir(home), file.read_text()) == (['letter.txt'], 'mine')
    assert sorted(os.listdir(tmp_path)) == ['file', 'home']


@pytest.mark.parametrize(
    'write',
    [ensure_folder, lambda path: write_atomically(path / 'x', 'text')],
)
def test_names_the_remedy_when_a_file_is_in_the_way(tmp_path, write):
    (tmp_path / 'file').write_text('')
    with pytest.raises(StorageError, match='choose another path'):
        write(tmp_path / 'file' / 'folder')


def test_names_a_full_disk(tmp_path):
    def fill(_: Path) -> None:
        with open('/dev/full', 'wb', buffering=0) as device:
            device.write(b'x')

    with pytest.raises(StorageError, match='the disk is full'):
        write_atomically(tmp_path / 'x', fill)


def test_names_a_read_only_file_system():
    with pytest.raises(StorageError, match='/proc/rl_edge'):
        ensure_folder(Path('/proc/rl_edge'))


def test_sha256_of_bytes_and_of_a_file(tmp_path):
    (tmp_path / 'x').write_bytes(b'abc')
    known = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
    assert sha256_of(b'abc') == sha256_of(tmp_path / 'x') == known


@pytest.mark.parametrize('path', ['~0', '~nobody_of_this_name/x'])
def test_a_home_of_nobody_is_an_ordinary_path(path):
    assert user_path(path) == Path(path)


def test_a_home_is_found(monkeypatch):
    monkeypatch.setenv('HOME', '/home/me')
    assert user_path('~/bags') == Path('/home/me/bags')


def test_what_can_be_written_is_checked_without_leaving_anything(tmp_path):
    check_file(tmp_path / 'new' / 'deep' / 'file.json')
    check_folder(tmp_path / 'new' / 'deep')
    check_folder(tmp_path / 'artifact', known_by='manifest.json')

    assert os.listdir(tmp_path) == []


def test_what_cannot_be_written_is_refused_before_there_is_anything_to_write(tmp_path):
    (tmp_path / 'file').touch()
    os.mkfifo(tmp_path / 'pipe')

    for check in (check_file, check_folder):
        with pytest.raises(StorageError, match='a part of the path is a file'):
            check(tmp_path / 'file' / 'below')
        with pytest.raises(StorageError, match='pipe cannot be written: a file of that name is'):
            check(tmp_path / 'pipe')
    with pytest.raises(StorageError, match='a folder of that name is in the way'):
        check_file(tmp_path)
    with pytest.raises(StorageError, match='file cannot be written: a file of that name is'):
        check_folder(tmp_path / 'file')
    with pytest.raises(StorageError, match=r'holds other files, and no manifest\.json'):
        check_folder(tmp_path, known_by='manifest.json')


def test_a_device_is_not_replaced_by_a_file(tmp_path):
    os.mkfifo(tmp_path / 'pipe')
    with pytest.raises(StorageError, match='a file of that name is in the way'):
        write_atomically(tmp_path / 'pipe', 'text')

    assert (tmp_path / 'pipe').is_fifo()


HOLD = """
import sys
from pathlib import Path
from rl_edge_core.files import hold_folder
try:
    hold_folder(Path(sys.argv[1]))
    hold_folder(Path(sys.argv[1]))  # it is its own
except ValueError as error:
    sys.exit(f'error: {error}')
print('holds', flush=True)
sys.stdin.read()
"""


def test_a_folder_that_another_process_holds_is_refused_until_that_has_ended(tmp_path):
    folder = tmp_path / 'run'
    holder = subprocess.Popen(
        [sys.executable, '-c', HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout.readline() == 'holds\n'
    with pytest.raises(StorageError, match=r'another process writes to .*run: wait for it, or'):
        hold_folder(folder)

    holder.kill()
    holder.communicate(timeout=60)
    assert hold_folder(folder) == folder
    assert os.listdir(folder) == []


def test_an_interrupt_while_a_folder_is_replaced_leaves_the_former_one(tmp_path, monkeypatch):
    target, rename = tmp_path / 'artifact', os.rename
    with folder_written_atomically(target, known_by='') as folder:
        (folder / 'file').write_text('1')

    def interrupted(source, destination):
        rename(source, destination)
        if source == target:
            raise KeyboardInterrupt

    def replace() -> None:
        with folder_written_atomically(target, known_by='') as folder:
            (folder / 'file').write_text('2')

    monkeypatch.setattr(os, 'rename', interrupted)
    with pytest.raises(KeyboardInterrupt):
        replace()
    assert (target / 'file').read_text() == '1'
    assert os.listdir(tmp_path) == ['artifact']


def test_what_another_writer_took_away_is_not_put_back(tmp_path, monkeypatch):
    target, taken, rename = tmp_path / 'artifact', tmp_path / 'taken', os.rename

    def replace(content: str) -> None:
        with folder_written_atomically(target, known_by='') as folder:
            (folder / 'file').write_text(content)

    def followed_by_another(source, destination):
        rename(source, destination)
        if destination == target:  # another writer moves ours away, to put its own there
            rename(target, taken)

    replace('1')
    monkeypatch.setattr(os, 'rename', followed_by_another)
    replace('2')
    assert os.listdir(tmp_path) == ['taken']
    assert (taken / 'file').read_text() == '2'


def test_many_replace_one_folder_at_once_and_each_is_whole(tmp_path):
    target = hold_folder(tmp_path) / 'artifact'  # as a run holds its folder

    def replace(number: int) -> None:
        with folder_written_atomically(target, known_by='a') as folder:
            for name in 'ab':
                (folder / name).write_text(str(number))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(replace, range(60)))

    assert (target / 'a').read_text() == (target / 'b').read_text()
    assert os.listdir(tmp_path) == ['artifact']
