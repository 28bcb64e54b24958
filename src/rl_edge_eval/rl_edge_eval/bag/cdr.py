"""Decode any message from CDR by its definition (OMG CDR, XCDR1, both byte orders).

rosbags' own deserializer (0.11.9) expects padding behind empty sequences of 8-byte values, which
no middleware writes, so it refuses messages such as an EpisodeSummary without reward terms.
"""

import struct
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
from rosbags.interfaces import Nodetype

_BODY = 4
"""Alignment counts from behind the encapsulation header."""
_FORMATS = {
    'bool': '?',
    'byte': 'B',
    'octet': 'B',
    'char': 'B',
    'int8': 'b',
    'uint8': 'B',
    'int16': 'h',
    'uint16': 'H',
    'int32': 'i',
    'uint32': 'I',
    'int64': 'q',
    'uint64': 'Q',
    'float32': 'f',
    'float64': 'd',
}

Types = Mapping[str, Any]
"""What rosbags' parsers return: for each type name, (constants, fields)."""


def decode(data: bytes, message_type: str, types: Types) -> SimpleNamespace:
    """Return the fields of a serialized message; arrays of numbers as NumPy arrays.

    Raise ValueError when the bytes end before the message does.
    """
    try:
        return _Reader(data, types).message(message_type)
    except (struct.error, UnicodeDecodeError, IndexError) as error:
        raise ValueError(f'no whole {message_type} in {len(data)} bytes: {error}') from error


class _Reader:
    def __init__(self, data: bytes, types: Types) -> None:
        if data[:2] not in (b'\x00\x00', b'\x00\x01'):
            raise ValueError(f'encapsulation {data[:2]!r} is not that of plain CDR')
        self._order = '<' if data[1] else '>'
        self._data, self._types, self._pos = data, types, _BODY

    def message(self, message_type: str) -> SimpleNamespace:
        _, fields = self._types[message_type]
        return SimpleNamespace(**{name: self._value(kind) for name, kind in fields})

    def _value(self, description: Any) -> Any:
        kind, content = description
        if kind is Nodetype.NAME:
            return self.message(content)
        if kind is Nodetype.BASE:
            return self._string() if content[0] == 'string' else self._number(content[0])
        element, size = content
        count = size if kind is Nodetype.ARRAY else self._number('uint32')
        if element[0] is Nodetype.BASE and element[1][0] != 'string':
            return self._numbers(element[1][0], count)
        if count > len(self._data):
            raise struct.error(f'{count} elements do not fit')
        return [self._value(element) for _ in range(count)]

    def _number(self, name: str) -> Any:
        layout = struct.Struct(self._order + _format(name))
        self._align(layout.size)
        (value,) = layout.unpack_from(self._data, self._pos)
        self._pos += layout.size
        return value

    def _numbers(self, name: str, count: int) -> np.ndarray:
        dtype = np.dtype(self._order + _format(name))
        if not count:
            return np.empty(0, dtype)
        self._align(dtype.itemsize)
        end = self._pos + count * dtype.itemsize
        if end > len(self._data):
            raise struct.error(f'{count} values of {name} do not fit')
        values = np.frombuffer(self._data, dtype, count, self._pos)
        self._pos = end
        return values

    def _string(self) -> str:
        size = self._number('uint32')
        end = self._pos + size
        if end > len(self._data):
            raise struct.error(f'a string of {size} bytes does not fit')
        text = self._data[self._pos : end].rstrip(b'\0').decode()
        self._pos = end
        return text

    def _align(self, size: int) -> None:
        self._pos = ((self._pos - _BODY + size - 1) & -size) + _BODY


def _format(name: str) -> str:
    try:
        return _FORMATS[name]
    except KeyError:
        raise ValueError(f'values of type {name} are not supported') from None
