"""Bags of any length with real serialized messages, for benchmarks and tests."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.interfaces import Connection
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from rl_edge_eval.recording.bag_file import BagFile
from rl_edge_eval.recording.message_definitions import message_definition

PACKAGE = 'rl_edge_interfaces/msg/'
TOPICS = {
    'environment': 'Environment',
    'transition': 'Transition',
    'episode': 'EpisodeSummary',
    'policy_status': 'PolicyStatus',
    'resource_usage/sim': 'ResourceUsage',
}


class Serializer:
    """Serialize messages of the control loop from plain values, without ROS."""

    def __init__(self) -> None:
        """Read the installed message definitions."""
        self._store: Typestore = get_typestore(Stores.ROS2_JAZZY)
        types: dict[str, Any] = {}
        for name in {*TOPICS.values(), 'TrainingMetrics'}:
            full = PACKAGE + name
            types |= get_types_from_msg(message_definition(full).text, full)
        known = self._store.fielddefs
        self._store.register({name: one for name, one in types.items() if name not in known})

    def serialize(
        self,
        name: str,
        values: Mapping[str, Any],
        *,
        sim_time_sec: float = 0.0,
        little_endian: bool = True,
    ) -> bytes:
        """Return the CDR of a message of rl_edge_interfaces; fields that are left out are 0."""
        full = PACKAGE + name
        message = self._message(full, {'header': self._header(sim_time_sec), **values})
        return bytes(self._store.serialize_cdr(message, full, little_endian=little_endian))

    def deserialize(self, data: bytes, name: str) -> Any:
        """Return what rosbags makes of the CDR of a message of rl_edge_interfaces."""
        return self._store.deserialize_cdr(data, PACKAGE + name)

    def _header(self, sim_time_sec: float) -> Any:
        nanoseconds = round(sim_time_sec * 1e9)
        stamp = self._store.types['builtin_interfaces/msg/Time'](
            sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9
        )
        return self._store.types['std_msgs/msg/Header'](stamp=stamp, frame_id='')

    def _message(self, full: str, values: Mapping[str, Any]) -> Any:
        _, fields = self._store.fielddefs[full]
        return self._store.types[full](
            **{name: values.get(name, _zero(description)) for name, description in fields}
        )


@dataclass
class BagWriter:
    """A bag that messages are added to at chosen times."""

    folder: Path
    storage: str = 'mcap'
    serializer: Serializer = field(default_factory=Serializer)

    def __post_init__(self) -> None:
        """Create the bag."""
        self._bag = BagFile(self.folder, self.storage)
        self._topics: dict[str, Connection] = {}

    def add(self, topic: str, name: str, values: Mapping[str, Any], *, time_sec: float) -> None:
        """Add one message, whose header and recording have the same time."""
        data = self.serializer.serialize(name, values, sim_time_sec=time_sec)
        self.add_raw(topic, PACKAGE + name, data, time_sec=time_sec)

    def add_raw(self, topic: str, message_type: str, data: bytes, *, time_sec: float) -> None:
        """Add serialized bytes as they are."""
        if topic not in self._topics:
            self._topics[topic] = self._bag.add_topic(
                topic, message_type, message_definition(message_type), ()
            )
        self._bag.write(self._topics[topic], round(time_sec * 1e9), data)

    def flush(self) -> None:
        """Hand all messages to the operating system."""
        self._bag.flush()

    def close(self) -> None:
        """Finish the bag."""
        self._bag.close()


def write_walk(
    folder: Path, *, steps: int, storage: str = 'mcap', episode_steps: int = 1000
) -> None:
    """Write a bag as the default topics of an Ant-v5 run of ``steps`` steps at 20 Hz fill it."""
    writer = BagWriter(folder, storage)
    generator = np.random.default_rng(0)
    for step, time_sec, values in _walk(steps, episode_steps, generator):
        writer.add('/ant0/transition', 'Transition', values, time_sec=time_sec)
        if step % 20 == 0:
            usage = {'node': '/ant0/sim', 'pid': 1, 'cpu_seconds': time_sec / 2}
            writer.add('/ant0/resource_usage/sim', 'ResourceUsage', usage, time_sec=time_sec)
        if values['truncated']:
            summary = {
                'run_id': 1,
                'episode': values['episode'],
                'seed': values['episode'],
                'length': episode_steps,
                'ended_by': 1,
                'episode_return': float(episode_steps),
                'reward_terms': np.full(4, 0.25 * episode_steps),
            }
            writer.add('/ant0/episode', 'EpisodeSummary', summary, time_sec=time_sec)
            writer.flush()
    writer.close()


def _walk(
    steps: int, episode_steps: int, generator: np.random.Generator
) -> Iterator[tuple[int, float, dict[str, Any]]]:
    for step in range(steps):
        values = {
            'run_id': 1,
            'episode': step // episode_steps,
            'step': step % episode_steps,
            'observation': generator.standard_normal(105, np.float32),
            'action': generator.standard_normal(8, np.float32),
            'reward': 1.0,
            'reward_terms': np.full(4, 0.25),
            'next_observation': generator.standard_normal(105, np.float32),
            'truncated': step % episode_steps == episode_steps - 1,
            'model_hash': 'ab' * 32,
            'forward_position': 0.05 * (step % episode_steps),
            'response_time_us': float(generator.gamma(4.0, 60.0)),
            'inference_time_us': float(generator.gamma(4.0, 2.0)),
        }
        yield step, 0.05 * (step + 1), values


def _zero(description: Any) -> Any:
    kind, content = description
    if kind.name == 'SEQUENCE':
        element = content[0][1][0]
        return [] if element == 'string' else np.zeros(0, element)
    return {'string': '', 'bool': False}.get(content[0], 0)
