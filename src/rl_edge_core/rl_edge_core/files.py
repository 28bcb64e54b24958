"""Write files so that a reader never sees half of one, and find the folder that ROS 2 keeps."""

import contextlib
import errno
import fcntl
import hashlib
import itertools
import os
import pwd
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rl_edge_core.errors import StorageError

_REMEDIES = {
    errno.ENOSPC: 'the disk is full: free some space or choose another folder',
    errno.EDQUOT: 'the disk quota is used up: free some space or choose another folder',
    errno.EACCES: 'no permission to write there: choose another folder or change its rights',
    errno.EPERM: 'no permission to write there: choose another folder or change its rights',
    errno.EROFS: 'the file system is read-only: choose another folder',
    errno.ENOTDIR: 'a part of the path is a file, not a folder: choose another path',
    errno.EEXIST: 'a file of that name is in the way: choose another path',
    errno.EISDIR: 'a folder of that name is in the way: choose another path',
}
_BLOCK_BYTES = 65_536
_held: dict[tuple[int, int], int] = {}
"""Descriptors of the folders that this process holds, by device and inode."""
_KEPT = ('log', 'rl_edge')
"""What programs make in ROS_HOME: rcl and launch the one, we the other."""


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn an OSError while writing ``path`` into a StorageError that names the remedy."""
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, error.strerror or str(error))
        raise StorageError(f'{path} cannot be written: {remedy}') from error


def user_path(path: str | Path) -> Path:
    """Return the path with a leading ``~`` resolved, and as it is where no such user is known."""
    return Path(os.path.expanduser(path))


def free_path(path: Path, *, joined_by: str = '_') -> Path:
    """Return ``path``; where it exists the first free one of NAME_2, NAME_3, ..."""
    name, suffix = (path.name, '') if path.is_dir() else (path.stem, path.suffix)
    numbered = (path.with_name(f'{name}{joined_by}{n}{suffix}') for n in itertools.count(2))
    return next(one for one in itertools.chain([path], numbered) if not one.exists())


def ensure_folder(path: Path) -> Path:
    """Make ``path`` a folder that can be written to, or raise StorageError."""
    with storage_errors(path):
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            return path


def hold_folder(path: Path) -> Path:
    """Make ``path`` a folder that no other process may hold until this one ends.

    Raise StorageError where one does. The lock leaves no file, and ends with a killed process.
    """
    with storage_errors(path):
        descriptor = os.open(ensure_folder(path), os.O_RDONLY)
        status = os.fstat(descriptor)
        held = _held.setdefault((status.st_dev, status.st_ino), descriptor)
        if held != descriptor:
            os.close(descriptor)
            return path
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(_held.pop((status.st_dev, status.st_ino)))
            raise StorageError(
                f'another process writes to {path}: wait for it, or choose another folder'
            ) from None
        except OSError:
            pass  # a file system without such locks, as NFS may be
    return path


def check_file(path: Path) -> None:
    """Raise StorageError where the file ``path`` could not be written; leave nothing behind."""
    with storage_errors(path):
        _check_kind(path)
        _try_writing_below(path.parent)


def _check_kind(path: Path) -> None:
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if path.exists() and not path.is_file():  # a device such as /dev/null, which would be replaced
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))


def check_folder(path: Path, *, known_by: str = '') -> None:
    """Raise StorageError where the folder ``path`` could not be written; leave nothing behind.

    ``known_by`` as for `folder_written_atomically`.
    """
    with storage_errors(path):
        with contextlib.suppress(FileNotFoundError):  # one look: another may be replacing it
            if not stat.S_ISDIR(path.stat().st_mode):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        names: list[str] = []
        if known_by:
            with contextlib.suppress(FileNotFoundError):
                names = os.listdir(path)
        if names and known_by not in names:
            raise StorageError(
                f'{path} holds other files, and no {known_by}: it would be replaced as a whole, '
                f'so choose another folder'
            )
        _try_writing_below(path.parent if known_by else path)


def _try_writing_below(folder: Path) -> None:
    """Write to a file without a name in ``folder``, or where that would be made."""
    while not os.path.lexists(folder):
        folder = folder.parent
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(_BLOCK_BYTES))


def write_atomically(path: Path, content: bytes | str | Callable[[Path], None]) -> None:
    """Write ``path`` whole or not at all.

    ``content`` is what to write, or a function that writes it to the path it is given (which has
    the same suffix). After a failure or a kill the old file, if there was one, is untouched.
    Raise StorageError when it can't be written.
    """
    with storage_errors(path):
        _check_kind(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix='.writing-') as folder:
            temporary = Path(folder) / path.name
            if callable(content):
                content(temporary)
            else:
                temporary.write_bytes(content.encode() if isinstance(content, str) else content)
            _flush_to_disk(temporary)
            os.replace(temporary, path)
        _flush_to_disk(path.parent)


@contextmanager
def folder_written_atomically(path: Path, *, known_by: str) -> Iterator[Path]:
    """Give a temporary folder that takes the place of ``path`` when the block ends well.

    ``known_by`` is a file that every such folder has: one with other things in it, such as a home
    folder, is not replaced; empty where nobody else chooses the path. After an exception or a
    kill, ``path`` is as it was. Raise StorageError when it can't be written.
    """
    check_folder(path, known_by=known_by)
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f'.writing-{path.name}-'))
        temporary.chmod(0o755)
    try:
        with storage_errors(path):
            yield temporary
            for file in temporary.rglob('*'):
                if file.is_file():
                    _flush_to_disk(file)
            _replace_folder(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _replace_folder(new: Path, path: Path) -> None:
    """Put ``new`` in the place of ``path``, whoever else does the same at this moment."""
    old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f'.old-{path.name}-'))
    try:
        for number in itertools.count():
            try:
                os.rename(new, path)
                break
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            with contextlib.suppress(FileNotFoundError):
                os.rename(path, old / str(number))
    except BaseException:  # interrupted right there: what was in its place comes back
        earlier = max(old.iterdir(), key=lambda folder: int(folder.name), default=None)
        if earlier and not path.exists():
            with contextlib.suppress(OSError):  # another came first
                os.rename(earlier, path)
        raise
    finally:
        shutil.rmtree(old)
    _flush_to_disk(path.parent)


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(content: Path | bytes) -> str:
    """Return the SHA-256 (hex) of a file or of bytes."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open('rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def ros_log_folder() -> Path:
    """Return the folder for logs as ROS 2 nodes find it."""
    if folder := os.environ.get('ROS_LOG_DIR'):
        return user_path(folder)
    return ros_home() / 'log'


def ros_home() -> Path:
    """Return the folder of what ROS 2 programs keep for a user.

    It is ROS_HOME, else ~/.ros. Where that one can't be written to, as for a service without a
    home, it is a temporary folder; ROS_HOME is set to it, for rcl and for child processes, and
    stderr says so once.
    """
    if folder := os.environ.get('ROS_HOME'):
        return user_path(folder)
    if not os.environ.get('HOME'):  # rcl knows no other way to a home
        try:
            os.environ['HOME'] = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:
            os.environ['HOME'] = '/nonexistent'
    usual = Path(os.environ['HOME']) / '.ros'
    if all(_takes_files(usual / name) for name in _KEPT):
        return usual
    # This user's folder below TMPDIR, a new one where another user has its name.
    temporary = Path(tempfile.gettempdir()) / f'rl_edge-{os.getuid()}'
    temporary.mkdir(mode=0o700, exist_ok=True)
    is_folder = not temporary.is_symlink() and temporary.is_dir()
    if not is_folder or temporary.stat().st_uid != os.getuid():
        temporary = Path(tempfile.mkdtemp(prefix=f'{temporary.name}-'))
    os.environ['ROS_HOME'] = str(temporary)
    print(
        f'rl_edge: {usual} cannot be written to: what is kept there, such as logs, goes to '
        f'{temporary}; set ROS_HOME to choose another folder',
        file=sys.stderr,
        flush=True,
    )
    return temporary


def _takes_files(folder: Path) -> bool:
    """Return whether files can be written to a folder, which is not made for that."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)
