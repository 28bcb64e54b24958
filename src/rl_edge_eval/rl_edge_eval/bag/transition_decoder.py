"""Decode rl_edge_interfaces/msg/Transition from CDR without building a message object.

An evaluation looks at a few numbers of each transition and at a thousand transitions a second;
its observations are only looked at in a replay. Layout: OMG CDR (XCDR1), little endian, as every
ROS 2 middleware on today's computers writes it.
"""

import struct
from typing import NamedTuple

import numpy as np

TRANSITION_TYPE = 'rl_edge_interfaces/msg/Transition'
TRANSITION_FIELDS = (
    ('header', 'std_msgs/msg/Header'),
    ('run_id', 'uint64'),
    ('episode', 'uint32'),
    ('step', 'uint32'),
    ('observation', 'float32[]'),
    ('action', 'float32[]'),
    ('reward', 'float64'),
    ('reward_terms', 'float64[]'),
    ('next_observation', 'float32[]'),
    ('terminated', 'bool'),
    ('truncated', 'bool'),
    ('safe_action', 'bool'),
    ('model_hash', 'string'),
    ('forward_position', 'float64'),
    ('response_time_us', 'float32'),
    ('inference_time_us', 'float32'),
)
"""The layout that `decode_transition` is written for."""

LITTLE_ENDIAN = b'\x00\x01'
_BODY = 4
"""Alignment counts from behind the encapsulation header."""

_HEADER = struct.Struct('<iII')
_ADDRESS = struct.Struct('<QIII')
_REWARD = struct.Struct('<dI')
_TAIL = struct.Struct('<dff')
_U32 = struct.Struct('<I')


class TransitionRow(NamedTuple):
    """What an evaluation needs of one transition."""

    sim_time_sec: float
    run_id: int
    episode: int
    step: int
    observation_size: int
    action_size: int
    reward: float
    reward_terms: tuple[float, ...]
    terminated: bool
    truncated: bool
    safe_action: bool
    model_hash: str
    forward_position: float
    response_time_us: float
    inference_time_us: float
    observation_start: int
    """Where the float32 values of the observation begin in the serialized message."""
    action_start: int

    def observation(self, data: bytes) -> np.ndarray:
        """Return the observation in the serialized message ``data``, shape (observation_size,)."""
        return np.frombuffer(data, '<f4', self.observation_size, self.observation_start)

    def action(self, data: bytes) -> np.ndarray:
        """Return the applied action in the serialized message ``data``, shape (action_size,)."""
        return np.frombuffer(data, '<f4', self.action_size, self.action_start)


def decode_transition(data: bytes) -> TransitionRow:
    """Decode a little-endian message; raise ValueError when it is cut off or inconsistent."""
    try:
        return _decode(data)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise ValueError(f'no whole Transition in {len(data)} bytes: {error}') from error


def _decode(data: bytes) -> TransitionRow:
    sec, nanosec, frame_size = _HEADER.unpack_from(data, _BODY)
    pos = _aligned(_BODY + _HEADER.size + frame_size, 8)
    run_id, episode, step, observation_size = _ADDRESS.unpack_from(data, pos)
    observation_start = pos + _ADDRESS.size
    pos = observation_start + 4 * observation_size
    (action_size,) = _U32.unpack_from(data, pos)
    action_start = pos + 4
    pos = _aligned(action_start + 4 * action_size, 8)
    reward, term_count = _REWARD.unpack_from(data, pos)
    pos += _REWARD.size
    terms: tuple[float, ...] = ()
    if term_count:
        pos = _aligned(pos, 8)
        if pos + 8 * term_count > len(data):
            raise struct.error(f'{term_count} reward terms do not fit')
        terms = struct.unpack_from(f'<{term_count}d', data, pos)
        pos += 8 * term_count
    (next_size,) = _U32.unpack_from(data, pos)
    pos += 4 + 4 * next_size
    terminated, truncated, safe_action = data[pos], data[pos + 1], data[pos + 2]
    pos = _aligned(pos + 3, 4)
    (hash_size,) = _U32.unpack_from(data, pos)
    pos += 4
    model_hash = data[pos : pos + hash_size - 1].decode()
    pos = _aligned(pos + hash_size, 8)
    forward_position, response_time_us, inference_time_us = _TAIL.unpack_from(data, pos)
    return TransitionRow(
        sec + nanosec * 1e-9,
        run_id,
        episode,
        step,
        observation_size,
        action_size,
        reward,
        terms,
        bool(terminated),
        bool(truncated),
        bool(safe_action),
        model_hash,
        forward_position,
        response_time_us,
        inference_time_us,
        observation_start,
        action_start,
    )


def _aligned(pos: int, size: int) -> int:
    return ((pos - _BODY + size - 1) & -size) + _BODY
