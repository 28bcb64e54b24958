"""Bags of chosen messages, serialized by rclpy."""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.serialization import serialize_message

import rl_edge_interfaces.msg
from rl_edge_eval.recording.bag_file import BagFile, Limits
from rl_edge_eval.recording.message_definitions import message_definition
from rl_edge_eval.recording.storage_writers import RecordedTopic

PACKAGE = 'rl_edge_interfaces/msg/'


def serialize(name: str, values: Mapping[str, Any], *, sim_time_sec: float = 0.0) -> bytes:
    """Return the CDR of a message of rl_edge_interfaces; fields that are left out are 0."""
    message = getattr(rl_edge_interfaces.msg, name)()
    nanoseconds = round(sim_time_sec * 1e9)
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(nanoseconds, 10**9)
    for field, value in values.items():
        is_number = isinstance(getattr(message, field), float)
        setattr(message, field, float(value) if is_number else _plain(value))
    return serialize_message(message)


def recorded(topic: str, message_type: str) -> RecordedTopic:
    """Return a topic of an installed type as a bag describes it."""
    return RecordedTopic(topic, message_type, message_definition(message_type))


@dataclass
class BagWriter:
    """A bag that messages are added to at chosen times."""

    folder: Path
    storage: str = 'mcap'
    limits: Limits | None = None

    def __post_init__(self) -> None:
        """Create the bag."""
        self.bag = BagFile(self.folder, self.storage, limits=self.limits)
        self._topics: dict[str, int] = {}

    def add(self, topic: str, name: str, values: Mapping[str, Any], *, time_sec: float) -> None:
        """Add one message, whose header and recording have the same time."""
        # What a clock shows, headers say modulo 100,000 s: their seconds are 32-bit.
        data = serialize(name, values, sim_time_sec=time_sec % 100_000)
        self.add_raw(topic, PACKAGE + name, data, time_sec=time_sec)

    def add_raw(self, topic: str, message_type: str, data: bytes, *, time_sec: float) -> None:
        """Add serialized bytes as they are."""
        if topic not in self._topics:
            repeat = topic.endswith('/environment')
            self._topics[topic] = self.bag.add_topic(recorded(topic, message_type), repeat=repeat)
        self.bag.write(self._topics[topic], round(time_sec * 1e9), data)

    def flush(self) -> None:
        """Hand all messages to the operating system."""
        self.bag.flush()

    def close(self) -> None:
        """Finish the bag."""
        self.bag.close()


def _plain(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    return array('d' if value.dtype == np.float64 else 'f', value.tolist())
