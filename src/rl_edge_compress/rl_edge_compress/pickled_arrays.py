"""Read arrays out of pickles without running them: nothing is imported and nothing is called.

Stable-Baselines3, rsl_rl and TorchScript keep weights and statistics in pickles, and a pickle is a
program. This reader follows its instructions with data alone: what it names stays a name. Only
NumPy's arrays and PyTorch's tensors are built, as NumPy arrays from bytes in the file; every other
object becomes a `Foreign` that holds what it was to be made from.
"""

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rl_edge_core.errors import ArtifactError

LARGEST_PICKLE_BYTES = 100_000_000
MOST_STEPS = 2_000_000
_NUMERIC_KINDS = 'biufc'
_MARK = object()


@dataclass(frozen=True)
class Name:
    """What a pickle refers to by module and name; it is never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        """Return it as ``module.name``."""
        return f'{self.module}.{self.name}'


@dataclass
class Foreign:
    """An object that was not made."""

    name: Name
    arguments: tuple[Any, ...] = ()
    state: dict[str, Any] = field(default_factory=dict)


"""Persistent id of a pickle -> the numbers that it stands for, flat."""

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
        return _Reader(storage).read(content)
    except ArtifactError:
        raise
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError) as error:
        raise ArtifactError(f'not a pickle that can be read without running it: {error}') from None


class _Reader:
    """The stack machine of a pickle, without the power to import or call."""

    def __init__(self, storage: Storage | None) -> None:
        self._storage = storage
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def read(self, content: bytes) -> Any:
        for number, (operation, argument, _) in enumerate(pickletools.genops(content)):
            if number > MOST_STEPS:
                raise ArtifactError(
                    f'a pickle of more than {MOST_STEPS} steps is none of a policy'
                )
            if operation.name == 'STOP':
                return self._pop()
            self._step(operation.name, argument)
        raise ArtifactError('a pickle without an end: the file is truncated')

    def _step(self, name: str, argument: Any) -> None:
        stack = self._stack
        if name in _PUSHED:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name]())
        elif name in ('PROTO', 'FRAME'):
            pass
        elif name == 'MARK':
            stack.append(_MARK)
        elif name in ('PUT', 'BINPUT', 'LONG_BINPUT'):
            self._memo[argument] = stack[-1]
        elif name == 'MEMOIZE':
            self._memo[len(self._memo)] = stack[-1]
        elif name in ('GET', 'BINGET', 'LONG_BINGET'):
            stack.append(self._memo[argument])
        elif name == 'GLOBAL':
            stack.append(Name(*argument.split(' ', 1)))
        elif name == 'STACK_GLOBAL':
            attribute, module = self._pop(), self._pop()
            stack.append(Name(str(module), str(attribute)))
        elif name == 'POP':
            self._pop()
        elif name == 'POP_MARK':
            self._to_mark()
        elif name == 'DUP':
            stack.append(stack[-1])
        elif name in _COMBINE:
            _COMBINE[name](self)
        else:
            raise ArtifactError(f'a pickle with the instruction {name} is none of a policy')

    def _pop(self) -> Any:
        return self._stack.pop()

    def _to_mark(self) -> list[Any]:
        items: list[Any] = []
        while (item := self._stack.pop()) is not _MARK:
            items.append(item)
        return items[::-1]

    def _tuple(self, count: int | None) -> None:
        if count is None:
            self._stack.append(tuple(self._to_mark()))
        else:
            items = tuple(self._stack[len(self._stack) - count :])
            del self._stack[len(self._stack) - count :]
            self._stack.append(items)

    def _append(self, items: list[Any]) -> None:
        if isinstance(self._stack[-1], list):
            self._stack[-1].extend(items)

    def _add(self, items: list[Any]) -> None:
        if isinstance(self._stack[-1], set):
            self._stack[-1].update(item for item in items if isinstance(item, str | int | float))

    def _set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if isinstance(target, dict):
            for key, value in zip(items[::2], items[1::2], strict=True):
                target[key if isinstance(key, str | int | float | bool) else str(key)] = value

    def _call(self) -> None:
        arguments, function = self._pop(), self._pop()
        self._stack.append(self._made(function, arguments))

    def _new_object(self) -> None:
        arguments, function = self._pop(), self._pop()
        self._stack.append(Foreign(function, tuple(arguments)))

    def _new_object_with_keywords(self) -> None:
        self._pop()
        self._new_object()

    def _build(self) -> None:
        state = self._pop()
        target = self._stack[-1]
        if isinstance(target, _ArrayToFill):
            self._replace_top(target, target.filled(state))
        elif isinstance(target, np.dtype) and isinstance(state, tuple):
            if state[1] == '>':
                self._replace_top(target, target.newbyteorder('>'))
        elif isinstance(target, Foreign):
            parts = state if isinstance(state, tuple) else (state,)
            for part in parts:
                if isinstance(part, dict):
                    target.state.update(part)

    def _replace_top(self, old: Any, new: Any) -> None:
        self._stack[-1] = new
        for key, value in self._memo.items():
            if value is old:
                self._memo[key] = new

    def _persistent(self) -> None:
        if self._storage is None:
            raise ArtifactError('a pickle refers to data outside it, and there is none')
        self._stack.append(self._storage(self._pop()))

    def _made(self, function: Any, arguments: Any) -> Any:
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            return Foreign(Name('', str(function)), ())
        make = _MAKERS.get((function.module, function.name))
        return make(*arguments) if make else Foreign(function, arguments)


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


def _scalar(dtype: Any, content: Any) -> Any:
    return _array(content, dtype, ())[()]


def _from_buffer(content: Any, dtype: Any, shape: Any, order: str = 'C') -> np.ndarray:
    return _array(content, dtype, shape, order)


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


def _first(value: Any, *_: Any) -> Any:
    return value


def _ordered(items: Any = (), *_: Any) -> dict[Any, Any]:
    return dict(items)


def _encoded(text: str, *_: Any) -> bytes:
    return text.encode('latin1')


_MAKERS: Mapping[tuple[str, str], Callable[..., Any]] = {
    ('collections', 'OrderedDict'): _ordered,
    ('_codecs', 'encode'): _encoded,
    ('builtins', 'bytearray'): lambda content=b'', *_: bytes(content),
    ('torch._utils', '_rebuild_tensor'): _tensor,
    ('torch._utils', '_rebuild_tensor_v2'): _tensor,
    ('torch._utils', '_rebuild_parameter'): _first,
    ('numpy', 'dtype'): _dtype,
    **{
        (f'numpy.{core}.{module}', function): make
        for core in ('core', '_core')
        for module, function, make in (
            ('multiarray', '_reconstruct', _ArrayToFill),
            ('multiarray', 'scalar', _scalar),
            ('numeric', '_frombuffer', _from_buffer),
        )
    },
}
"""What is built, by its name in the pickle; all functions of ours."""

_PUSHED = {
    *('INT', 'BININT', 'BININT1', 'BININT2', 'LONG', 'LONG1', 'LONG4', 'FLOAT', 'BINFLOAT'),
    *('STRING', 'BINSTRING', 'SHORT_BINSTRING', 'UNICODE', 'BINUNICODE', 'SHORT_BINUNICODE'),
    *('BINUNICODE8', 'BINBYTES', 'SHORT_BINBYTES', 'BINBYTES8', 'BYTEARRAY8'),
}
_CONSTANTS: Mapping[str, Callable[[], Any]] = {
    'NONE': lambda: None,
    'NEWTRUE': lambda: True,
    'NEWFALSE': lambda: False,
    'EMPTY_LIST': list,
    'EMPTY_DICT': dict,
    'EMPTY_TUPLE': tuple,
    'EMPTY_SET': set,
}
_COMBINE: Mapping[str, Callable[[Any], None]] = {
    'TUPLE': lambda r: r._tuple(None),
    'TUPLE1': lambda r: r._tuple(1),
    'TUPLE2': lambda r: r._tuple(2),
    'TUPLE3': lambda r: r._tuple(3),
    'LIST': lambda r: r._stack.append(r._to_mark()),
    'DICT': lambda r: r._stack.append(
        dict(zip((items := r._to_mark())[::2], items[1::2], strict=True))
    ),
    'FROZENSET': lambda r: r._stack.append(frozenset(map(str, r._to_mark()))),
    'APPEND': lambda r: r._append([r._pop()]),
    'APPENDS': lambda r: r._append(r._to_mark()),
    'ADDITEMS': lambda r: r._add(r._to_mark()),
    'SETITEM': lambda r: r._set_items([r._pop(), r._pop()][::-1]),
    'SETITEMS': lambda r: r._set_items(r._to_mark()),
    'REDUCE': _Reader._call,
    'NEWOBJ': _Reader._new_object,
    'NEWOBJ_EX': _Reader._new_object_with_keywords,
    'BUILD': _Reader._build,
    'BINPERSID': _Reader._persistent,
}
