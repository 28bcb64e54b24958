"""Read arrays out of pickles, and PyTorch's files, without running them: nothing is called.

Stable-Baselines3, rsl_rl and TorchScript keep weights and statistics in pickles, and a pickle is a
program. Python's own unpickler follows it here, with what it names left as names: only NumPy's
arrays and PyTorch's tensors are built, as NumPy arrays from bytes in the file; every other object
becomes a `Foreign` that holds what it was to be made from.
"""

import io
import pickle
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from rl_edge_core.errors import ArtifactError

LARGEST_PICKLE_BYTES = 10_000_000
"""Statistics, or the skeleton around tensors, which lie outside it."""
_NUMERIC_KINDS = 'biufc'


@dataclass(frozen=True)
class Name:
    """What a pickle refers to by module and name; it is never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        """Return it as ``module.name``."""
        return f'{self.module}.{self.name}'


@dataclass(eq=False)
class Foreign:
    """An object that was not made. What a pickle puts into it as a container is dropped."""

    name: Name
    arguments: tuple[Any, ...] = ()
    state: dict[str, Any] = field(default_factory=dict)

    def append(self, item: Any) -> None:
        """Drop an item."""

    extend = add = append

    def __setitem__(self, key: Any, item: Any) -> None:
        """Drop an item."""


Storage = Callable[[Any], np.ndarray]
"""Persistent id of a pickle -> the numbers that it stands for, flat."""
TORCH_TYPES = {
    'FloatStorage': np.float32,
    'DoubleStorage': np.float64,
    'HalfStorage': np.float16,
    'LongStorage': np.int64,
    'IntStorage': np.int32,
    'ShortStorage': np.int16,
    'CharStorage': np.int8,
    'ByteStorage': np.uint8,
    'BoolStorage': np.bool_,
}


def read_pickle(content: bytes, *, storage: Storage | None = None) -> Any:
    """Return what a pickle describes: plain values, arrays, and `Foreign` for all else.

    ``storage`` gives the numbers of PyTorch's persistent ids. Raise ArtifactError for what is no
    pickle, or is larger than any pickle of a policy.
    """
    if len(content) > LARGEST_PICKLE_BYTES:
        raise ArtifactError(f'a pickle of {len(content)} bytes is larger than any of a policy')
    try:
        return _Reader(content, storage).load()
    except ArtifactError:
        raise
    except (EOFError, IndexError) as error:
        raise ArtifactError(f'a pickle without an end ({error}): the file is truncated') from None
    except Exception as error:  # whatever a program that is none leads to
        raise ArtifactError(f'not a pickle that can be read without running it: {error}') from None


class _Reader(pickle._Unpickler):
    """The unpickler in Python, whose parts can be replaced, without those that import or call."""

    # What it keeps, by the names that it has there.
    stack: list[Any]
    memo: dict[int, Any]

    def __init__(self, content: bytes, storage: Storage | None) -> None:
        super().__init__(io.BytesIO(content))
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        return Name(module, name)

    def get_extension(self, code: int) -> None:
        raise ArtifactError('a pickle with an instruction of copyreg is none of a policy')

    def persistent_load(self, reference: Any) -> Any:
        if self._storage is None:
            raise ArtifactError('a pickle refers to data outside it, and there is none')
        return self._storage(reference)

    def load_reduce(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise ArtifactError(f'a pickle that calls {function!r} is none of a policy')
        make = _MAKERS.get((function.module, function.name))
        self.stack.append(make(*arguments) if make else Foreign(function, arguments))

    def load_newobj(self) -> None:
        arguments, kind = self.stack.pop(), self.stack.pop()
        self.stack.append(Foreign(kind, tuple(arguments)))

    def load_newobj_ex(self) -> None:
        self.stack.pop()
        self.load_newobj()

    def load_build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if isinstance(target, _ArrayToFill):
            self._replace_top(target.filled(state))
        elif isinstance(target, np.dtype) and isinstance(state, tuple):
            if state[1] == '>':
                self._replace_top(target.newbyteorder('>'))
        elif isinstance(target, Foreign):
            for part in state if isinstance(state, tuple) else (state,):
                if isinstance(part, dict):
                    target.state.update(part)

    def _replace_top(self, new: Any) -> None:
        old, self.stack[-1] = self.stack[-1], new
        self.memo.update({key: new for key, value in self.memo.items() if value is old})

    def load_bytearray8(self) -> None:
        self.load_binbytes8()  # type: ignore[attr-defined]  # makes no room before it reads

    dispatch: ClassVar[Any] = {
        **pickle._Unpickler.dispatch,
        pickle.REDUCE[0]: load_reduce,
        pickle.NEWOBJ[0]: load_newobj,
        pickle.NEWOBJ_EX[0]: load_newobj_ex,
        pickle.BUILD[0]: load_build,
        pickle.BYTEARRAY8[0]: load_bytearray8,
    }


class _ArrayToFill:
    """An array that NumPy's pickles make empty and fill afterwards."""

    def __init__(self, *_: Any) -> None:
        pass

    def filled(self, state: tuple[Any, ...]) -> np.ndarray:
        _, shape, dtype, is_fortran, content = state
        return _array(content, dtype, shape, 'F' if is_fortran else 'C')


def _array(content: Any, dtype: Any, shape: Any, order: str = 'C') -> np.ndarray:
    if not isinstance(dtype, np.dtype) or dtype.kind not in _NUMERIC_KINDS:
        return np.zeros(0)  # of objects or texts: nothing of a policy
    sizes = tuple(int(size) for size in shape)
    if isinstance(content, str):
        content = content.encode('latin1')
    if not isinstance(content, bytes | bytearray):
        raise ArtifactError('a pickled array without its bytes')
    count = int(np.prod(sizes, dtype=np.int64)) if all(size >= 0 for size in sizes) else -1
    if count * dtype.itemsize != len(content):
        raise ArtifactError(f'a pickled array of shape {sizes} has {len(content)} bytes')
    return np.frombuffer(bytes(content), dtype).reshape(sizes, order=order)  # type: ignore[call-overload]


def _dtype(kind: Any, *_: Any) -> np.dtype:
    if isinstance(kind, str) and kind[:1] in _NUMERIC_KINDS and kind[1:].isdigit():
        return np.dtype(kind)
    return np.dtype(object)


def _tensor(storage: Any, offset: int, size: Any, stride: Any, *_: Any) -> np.ndarray:
    if not isinstance(storage, np.ndarray):
        raise ArtifactError('a tensor without its numbers')
    sizes, strides = tuple(map(int, size)), tuple(map(int, stride))
    if len(sizes) != len(strides) or min((offset, *sizes, *strides), default=0) < 0:
        raise ArtifactError(f'a tensor of size {sizes} with strides {strides}')
    last = offset + sum((n - 1) * step for n, step in zip(sizes, strides, strict=True))
    if 0 not in sizes and last >= len(storage):
        raise ArtifactError(f'a tensor of size {sizes} has {len(storage)} numbers')
    if 0 in sizes:
        return np.zeros(sizes, storage.dtype)
    steps = tuple(step * storage.itemsize for step in strides)
    return np.lib.stride_tricks.as_strided(storage[offset:], sizes, steps).copy()


_MAKERS: Mapping[tuple[str, str], Callable[..., Any]] = {
    ('collections', 'OrderedDict'): lambda items=(), *_: dict(items),
    ('_codecs', 'encode'): lambda text, *_: text.encode('latin1'),
    ('builtins', 'bytearray'): lambda content=b'', *_: bytes(content),
    ('torch._utils', '_rebuild_tensor'): _tensor,
    ('torch._utils', '_rebuild_tensor_v2'): _tensor,
    ('torch._utils', '_rebuild_parameter'): lambda value, *_: value,
    ('numpy', 'dtype'): _dtype,
    **{
        (f'numpy.{core}.{module}', function): make
        for core in ('core', '_core')
        for module, function, make in (
            ('multiarray', '_reconstruct', _ArrayToFill),
            ('multiarray', 'scalar', lambda dtype, content: _array(content, dtype, ())[()]),
            ('numeric', '_frombuffer', _array),
        )
    },
}
"""What is built, by its name in the pickle; all functions of ours."""


LARGEST_TENSORS_BYTES = 1_000_000_000
MOST_MEMBERS = 10_000


def read_member(archive: zipfile.ZipFile, name: str, *, largest: int) -> bytes:
    """Return a member of a zip file; raise ArtifactError when it is missing or too large."""
    try:
        size = archive.getinfo(name).file_size
        if size > largest:
            raise ArtifactError(f'{name} unpacks to {size} bytes, at most {largest} are read')
        with archive.open(name) as file:
            content = file.read(largest + 1)
    except KeyError:
        raise ArtifactError(f'it has no {name}') from None
    except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, OSError) as error:
        raise ArtifactError(f'{name} cannot be unpacked: {error}') from error
    if len(content) > largest:
        raise ArtifactError(f'{name} unpacks to more than the {size} bytes that it announces')
    return content


def open_zip(source: Path | bytes) -> zipfile.ZipFile:
    """Open a zip file or its bytes; raise ArtifactError for what is none."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(source) if isinstance(source, bytes) else source)
    except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
        raise ArtifactError(f'it is not a zip file, or a damaged one: {error}') from error
    if len(archive.namelist()) > MOST_MEMBERS:
        raise ArtifactError(f'it has {len(archive.namelist())} members, more than any policy')
    return archive


def read_torch(source: Path | bytes) -> Any:
    """Return what `torch.save` or `torch.jit.save` wrote: tensors as arrays, objects as `Foreign`.

    Raise ArtifactError for a file of PyTorch before 1.6, which is one pickle and no zip file, and
    for a damaged one.
    """
    with open_zip(source) as archive:
        main = [name for name in archive.namelist() if name.rpartition('/')[2] == 'data.pkl']
        if len(main) != 1:
            raise ArtifactError('it is not a file of PyTorch 1.6 or later: it has no data.pkl')
        folder = main[0].rpartition('/')[0]
        read = 0

        def storage(reference: Any) -> np.ndarray:
            nonlocal read
            if not isinstance(reference, tuple) or len(reference) < 3 or reference[0] != 'storage':
                raise ArtifactError(f'it refers to {reference!r}, which is not a tensor')
            kind = reference[1]
            if not isinstance(kind, Name) or kind.name not in TORCH_TYPES:
                raise ArtifactError(f'it holds tensors of type {kind}, which are not read')
            name = f'{folder}/data/{reference[2]}' if folder else f'data/{reference[2]}'
            content = read_member(archive, name, largest=LARGEST_TENSORS_BYTES - read)
            read += len(content)
            dtype = np.dtype(TORCH_TYPES[kind.name])
            return np.frombuffer(content[: len(content) // dtype.itemsize * dtype.itemsize], dtype)

        content = read_member(archive, main[0], largest=LARGEST_PICKLE_BYTES)
        return read_pickle(content, storage=storage)


def tensors_of(value: Any, *, what: str) -> Mapping[str, np.ndarray]:
    """Return a state dict as float arrays by name; raise ArtifactError for anything else in it."""
    if not isinstance(value, dict):
        named = str(value.name) if isinstance(value, Foreign) else type(value).__name__
        raise ArtifactError(f'{what} holds {named} where a dictionary of tensors must be')
    for name, tensor in value.items():
        if isinstance(tensor, Foreign):
            raise ArtifactError(
                f'{what} asks for {tensor.name} to be called for {name!r}: it is not a dictionary '
                f'of tensors, and is not run'
            )
    return {str(name): tensor for name, tensor in value.items() if isinstance(tensor, np.ndarray)}
