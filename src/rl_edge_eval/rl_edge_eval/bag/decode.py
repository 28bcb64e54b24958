"""Decode the messages of a bag by the definitions that it carries itself.

`mcap-ros2-support` decodes; it knows definitions in the form of .msg files, so those in IDL, as
``ros2 bag record`` stores some, are rewritten first. Plain CDR of both byte orders (XCDR1) is what
every ROS 2 middleware writes.
"""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mcap.records import Schema
from mcap_ros2.decoder import DecoderFactory

from rl_edge_core.errors import RlEdgeError, first_line
from rl_edge_eval.bag.bag import Bag
from rl_edge_eval.bag.idl import msg_of_idl
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
        schema = Schema(1, definition_of(topic).encode(), 'ros2msg', name)
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


def definition_of(topic: BagTopic) -> str:
    """Return the definition of the topic's messages, as .msg files have it.

    Raise DecodingError where neither the bag nor this computer has it.
    """
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
