"""Decode the messages of a topic by the definition that the bag itself carries."""

from collections.abc import Callable
from typing import Any

import numpy as np
from rosbags.interfaces import Nodetype
from rosbags.typesys import get_types_from_idl, get_types_from_msg

from rl_edge_core.errors import RlEdgeError
from rl_edge_eval.bag.cdr import Types, decode
from rl_edge_eval.bag.messages import BagTopic
from rl_edge_eval.bag.transition_decoder import (
    LITTLE_ENDIAN,
    TRANSITION_FIELDS,
    TransitionRow,
    decode_transition,
)

Decoder = Callable[[bytes], Any]


class DecodingError(RlEdgeError):
    """A topic's messages can't be decoded, for want of a definition."""


def generic_decoder(topic: BagTopic) -> Decoder:
    """Return what decodes a topic's messages into their fields.

    Raise DecodingError when neither the bag nor this computer has the type's definition.
    """
    if topic.serialization != 'cdr':
        raise DecodingError(f'{topic.name} is serialized as {topic.serialization!r}, not as cdr')
    types, name = _types_of(topic), topic.message_type
    missing = sorted(_used_by(name, types) - types.keys())
    if missing:
        raise DecodingError(f'{topic.name}: the definition of {name} lacks {", ".join(missing)}')
    return lambda data: decode(data, name, types)


def transition_decoder(topic: BagTopic) -> Callable[[bytes], TransitionRow]:
    """Return what decodes transitions: fast where the layout is ours, else field by field.

    Raise DecodingError for want of a definition or of a field.
    """
    generic = generic_decoder(topic)
    if _fields_of(topic) == TRANSITION_FIELDS:
        return lambda data: (
            decode_transition(data)
            if data[:2] == LITTLE_ENDIAN
            else GenericTransitionRow.of(generic(data))
        )
    missing = {name for name, _ in TRANSITION_FIELDS} - {name for name, _ in _fields_of(topic)}
    if missing:
        raise DecodingError(
            f'{topic.name}: its Transition has no {", ".join(sorted(missing))}; '
            f'it was recorded by another version'
        )
    return lambda data: GenericTransitionRow.of(generic(data))


class GenericTransitionRow(TransitionRow):
    """A transition whose arrays are taken from a decoded message."""

    message: Any

    @classmethod
    def of(cls, message: Any) -> 'GenericTransitionRow':
        """Take the fields of a message that rosbags decoded."""
        stamp = message.header.stamp
        row = cls(
            stamp.sec + stamp.nanosec * 1e-9,
            message.run_id,
            message.episode,
            message.step,
            len(message.observation),
            len(message.action),
            message.reward,
            tuple(message.reward_terms),
            message.terminated,
            message.truncated,
            message.safe_action,
            message.model_hash,
            message.forward_position,
            message.response_time_us,
            message.inference_time_us,
            0,
            0,
        )
        row.message = message
        return row

    def observation(self, data: bytes) -> np.ndarray:
        """Return the observation, shape (observation_size,)."""
        return np.asarray(self.message.observation, np.float32)

    def action(self, data: bytes) -> np.ndarray:
        """Return the applied action, shape (action_size,)."""
        return np.asarray(self.message.action, np.float32)


def _types_of(topic: BagTopic) -> Types:
    text = topic.definition or _installed_definition(topic)
    try:
        if topic.definition and topic.definition_format in ('ros2idl', 'omgidl'):
            return get_types_from_idl(text)
        return get_types_from_msg(text, topic.message_type)
    except Exception as error:  # rosbags raises several types for damaged definitions
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DecodingError(
            f'{topic.name}: the definition of {topic.message_type} cannot be used: {reason}'
        ) from error


def _used_by(name: str, types: Types) -> set[str]:
    """Return the names of all types that ``name`` is made of, its own included."""
    used, waiting = {name}, [name]
    while waiting:
        _, fields = types.get(waiting.pop(), ((), ()))
        for _, (kind, content) in fields:
            inner = content if kind in (Nodetype.BASE, Nodetype.NAME) else content[0][1]
            if isinstance(inner, str) and inner not in used:
                used.add(inner)
                waiting.append(inner)
    return used


def _installed_definition(topic: BagTopic) -> str:
    # Bags of ROS 2 before Iron carry no definitions.
    try:
        from rl_edge_eval.recording.message_definitions import message_definition

        return message_definition(topic.message_type).text
    except (ImportError, RlEdgeError) as error:
        raise DecodingError(
            f'{topic.name}: neither the bag nor this computer has the definition of '
            f'{topic.message_type}'
        ) from error


def _fields_of(topic: BagTopic) -> tuple[tuple[str, str], ...]:
    fields = _types_of(topic)[topic.message_type][1]
    return tuple((name, _type_text(description)) for name, description in fields)


def _type_text(description: Any) -> str:
    kind, content = description
    if kind is Nodetype.BASE:
        return content[0]
    if kind is Nodetype.NAME:
        return content
    element, bound = content
    size = bound if kind is Nodetype.ARRAY else f'<={bound}' if bound else ''
    return f'{_type_text(element)}[{size}]'
