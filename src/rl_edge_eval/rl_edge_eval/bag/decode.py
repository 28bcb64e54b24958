"""Decode the messages of a bag by the definitions that it carries itself.

`mcap-ros2-support` decodes; it knows definitions in the form of .msg files, so those in IDL, as
``ros2 bag record`` stores some, are rewritten first. Understood is what rosidl generates (OMG IDL
4.2: modules, structs, typedefs, constants, enums, annotations), in one text or in parts that begin
with ``IDL: package/msg/Name``. Plain CDR of both byte orders (XCDR1) is what every ROS 2
middleware writes.
"""

import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mcap.records import Schema
from mcap_ros2.decoder import DecoderFactory

from rl_edge_core.errors import RlEdgeError, first_line
from rl_edge_eval.bag.bag import Bag
from rl_edge_eval.bag.messages import BagError, BagTopic

IMAGE_TYPE = 'sensor_msgs/msg/Image'
Decoder = Callable[[bytes], Any]
_PLAIN_CDR = (b'\x00\x00', b'\x00\x01')


class DecodingError(RlEdgeError):
    """A topic's messages can't be decoded, for want of a definition or of a field."""


def decoder_of(topic: BagTopic, *, needs: tuple[str, ...] = ()) -> Decoder:
    """Return what decodes a topic's messages into objects with their fields.

    Raise DecodingError when neither the bag nor this computer has the type's definition. The
    decoder raises it for messages without one of the fields that are needed (another version
    recorded them), and ValueError for bytes that are no whole message.
    """
    if topic.serialization != 'cdr':
        raise DecodingError(f'{topic.name} is serialized as {topic.serialization!r}, not as cdr')
    name = topic.message_type
    try:
        schema = Schema(1, _definition_of(topic).encode(), 'ros2msg', name)
        decode = DecoderFactory().decoder_for('cdr', schema)
    except RlEdgeError:
        raise
    except Exception as error:  # the parser raises several types for damaged definitions
        raise DecodingError(
            f'{topic.name}: the definition of {name} cannot be used: {first_line(error)}'
        ) from error

    def decode_checked(data: bytes) -> Any:
        if len(data) < 4:  # the head says how the rest is encoded
            raise ValueError(f'no whole {name} in {len(data)} bytes')
        if data[:2] not in _PLAIN_CDR:
            raise ValueError(f'encapsulation {data[:2]!r} is not that of plain CDR')
        try:
            message = decode(data)  # type: ignore[misc]
        except (struct.error, UnicodeDecodeError, IndexError) as error:
            raise ValueError(f'no whole {name} in {len(data)} bytes: {error}') from error
        for field in needs:
            if not hasattr(message, field):
                raise DecodingError(
                    f'{topic.name}: its {name.rpartition("/")[2]} has no {field}; it was recorded '
                    f'by another version'
                )
        return message

    return decode_checked


def decoded(
    bag: Bag, wanted: Callable[[BagTopic], bool], *, needs: tuple[str, ...] = ()
) -> Iterator[tuple[BagTopic, int, Any]]:
    """Yield (topic, time in ns, message) of the topics that are wanted.

    Messages that can't be decoded are left out, and noted. Raise DecodingError for a topic whose
    messages are not understood at all; see `decoder_of`.
    """
    decoders: dict[BagTopic, Decoder | None] = {}
    for topic, time_ns, data in bag:
        if topic not in decoders:
            decoders[topic] = decoder_of(topic, needs=needs) if wanted(topic) else None
        decode = decoders[topic]
        if decode is None:
            continue
        try:
            message = decode(data)
        except DecodingError:
            raise
        except Exception as error:  # malformed bytes raise many types
            bag.notes.add_undecodable(topic, error)
        else:
            yield topic, time_ns, message


class Frame(NamedTuple):
    """One recorded image."""

    time_ns: int
    """When it arrived."""
    pixels: np.ndarray
    """uint8, shape (height, width, 3), RGB."""


def frames_of(path: Path) -> Iterator[Frame]:
    """Yield the images of a bag, as the simulator publishes them, in the order of recording.

    Raise BagError when there is no bag at ``path``, when its images can't be decoded, and for
    other images than RGB with 8 bits.
    """
    try:
        for _, time_ns, image in decoded(Bag(path), lambda one: one.message_type == IMAGE_TYPE):
            if image.encoding != 'rgb8':
                raise BagError(f'{path}: its images are {image.encoding!r}, must be rgb8')
            shape = (image.height, image.width, 3)
            pixels = np.frombuffer(bytes(image.data), np.uint8)
            if pixels.size != np.prod(shape):
                raise BagError(
                    f'{path}: an image of {image.width} x {image.height} has {pixels.size} bytes '
                    f'instead of {np.prod(shape)}'
                )
            yield Frame(time_ns, pixels.reshape(shape))
    except DecodingError as error:
        raise BagError(f'{path}: {error}') from error


def _definition_of(topic: BagTopic) -> str:
    if topic.definition and topic.definition_format in ('ros2idl', 'omgidl'):
        return msg_of_idl(topic.definition, topic.message_type)
    if topic.definition:
        return topic.definition
    # Bags of ROS 2 before Iron carry no definitions.
    try:
        from rl_edge_eval.recording.message_definitions import message_definition

        return message_definition(topic.message_type).text
    except (ImportError, RlEdgeError) as error:
        raise DecodingError(
            f'{topic.name}: neither the bag nor this computer has the definition of '
            f'{topic.message_type or "its type"}'
        ) from error


_NOISE = re.compile(
    r'//[^\n]*|/\*.*?\*/|^\s*\#[^\n]*|^=+$|^IDL:[^\n]*$|("(?:\\.|[^"\\])*")',
    re.DOTALL | re.MULTILINE,
)
_ANNOTATION = re.compile(r'@\w+\s*(\([^()]*\))?')
_DECLARATION = re.compile(
    r'module\s+(?P<module>\w+)\s*\{'
    r'|struct\s+(?P<struct>\w+)\s*\{(?P<members>[^{}]*)\}'
    r'|typedef\s+(?P<typedef>[^;]+);'
    r'|enum\s+(?P<enum>\w+)\s*\{[^{}]*\}|const\s[^;]*;|(?P<end>\})|;|\s+'
)
_MEMBER = re.compile(r'(?P<kind>.+?)\s*\b(?P<name>\w+)\s*(?P<size>\[\s*\d+\s*\])?', re.DOTALL)
_BASE_TYPES = {
    'boolean': 'bool',
    'octet': 'byte',
    'float': 'float32',
    'double': 'float64',
    'short': 'int16',
    'long': 'int32',
    'long long': 'int64',
    'unsigned short': 'uint16',
    'unsigned long': 'uint32',
    'unsigned long long': 'uint64',
    **{name: name for name in ('char', 'string', 'wstring')},
    **{f'{sign}int{bits}': f'{sign}int{bits}' for sign in ('', 'u') for bits in (8, 16, 32, 64)},
}
_PART = '\n' + '=' * 80 + '\nMSG: '


def msg_of_idl(text: str, message_type: str) -> str:
    """Return the definition of ``message_type`` and of all types in ``text`` as .msg files.

    Raise ValueError for what is no IDL, or without that type.
    """
    structs = _structs(text)
    if message_type not in structs:
        raise ValueError(f'it has no {message_type}, but {", ".join(structs) or "nothing"}')
    others = (
        f'{_PART}{_short(name)}\n{structs[name]}' for name in structs if name != message_type
    )
    return structs[message_type] + ''.join(others)


def _structs(text: str) -> dict[str, str]:
    """Return the members of each struct as lines of a .msg file, by the struct's full name."""
    # Strings stand in annotations alone, where they may hold anything.
    text = _ANNOTATION.sub(' ', _NOISE.sub(' ', text))
    structs: dict[str, str] = {}
    aliases: dict[str, str] = {}
    scope: list[str] = []
    at = 0
    while at < len(text):
        found = _DECLARATION.match(text, at)
        if found is None:
            raise ValueError(f'{text[at : at + 30].strip()!r} is not understood in IDL')
        at = found.end()
        if found['module']:
            scope.append(found['module'])
        elif found['end'] and scope:
            scope.pop()
        elif found['struct']:
            members = filter(str.strip, found['members'].split(';'))
            lines = [f'{kind} {name}\n' for name, kind in (_member(m, aliases) for m in members)]
            structs['/'.join([*scope, found['struct']])] = ''.join(lines)
        elif found['typedef']:
            name, kind = _member(found['typedef'], aliases)
            aliases[name] = kind
        elif found['enum']:
            aliases[found['enum']] = 'uint32'
    return structs


def _member(text: str, aliases: dict[str, str]) -> tuple[str, str]:
    """Return name and .msg type of ``type name`` or ``type name[size]``."""
    found = _MEMBER.fullmatch(text.strip())
    if found is None:
        raise ValueError(f'{text.strip()!r} is not a member of a struct')
    size = re.sub(r'\s', '', found['size'] or '')
    return found['name'], _type(found['kind'].strip(), aliases) + size


def _type(kind: str, aliases: dict[str, str]) -> str:
    if bounded := re.fullmatch(r'(sequence|w?string)\s*<(.*)>', kind, re.DOTALL):
        outer, inner = bounded.groups()
        if outer != 'sequence':
            return f'{outer}<={inner.strip()}'
        element, comma, bound = inner.rpartition(',')
        if not comma or not bound.strip().isdigit():  # the comma, if any, is one of the element
            element, bound = inner, ''
        return f'{_type(element.strip(), aliases)}[{f"<={bound.strip()}" if bound else ""}]'
    words = ' '.join(kind.split())
    return (
        _BASE_TYPES.get(words)
        or aliases.get(words.rpartition('::')[2])
        or _short(words.replace('::', '/'))
    )


def _short(name: str) -> str:
    """Return package/Name of package/msg/Name."""
    package, *_, last = name.split('/')
    return f'{package}/{last}' if last != package else last
