"""``rl_edge view BAG --save FILE.mcap``: a bag for viewers that draw a URDF, such as Lichtblick.

Beside all that was recorded it has the robot's URDF, and where its links are after each step.
"""

import heapq
import operator
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import mujoco
import numpy as np
from mcap.writer import CompressionType, Writer

from rl_edge_core.errors import RlEdgeError
from rl_edge_core.files import ensure_folder, write_atomically
from rl_edge_eval.bag.bag import Bag
from rl_edge_eval.bag.decode import DecodingError, definition_of
from rl_edge_eval.bag.messages import BagMessage, BagTopic
from rl_edge_eval.recorded_robot import RecordedRobot, read_robot, simulation_of
from rl_edge_sim.mujoco_names import body_name
from rl_edge_sim.urdf import urdf_of

_ODOM = 'odom'
_FREE = mujoco.mjtJoint.mjJNT_FREE
_TF = '/tf'
_DESCRIPTION = 'robot_description'
_PARTS = {
    'geometry_msgs/TransformStamped': (
        'std_msgs/Header header\nstring child_frame_id\ngeometry_msgs/Transform transform'
    ),
    'std_msgs/Header': 'builtin_interfaces/Time stamp\nstring frame_id',
    'builtin_interfaces/Time': 'int32 sec\nuint32 nanosec',
    'geometry_msgs/Transform': (
        'geometry_msgs/Vector3 translation\ngeometry_msgs/Quaternion rotation'
    ),
    'geometry_msgs/Vector3': 'float64 x\nfloat64 y\nfloat64 z',
    'geometry_msgs/Quaternion': 'float64 x\nfloat64 y\nfloat64 z\nfloat64 w',
}
_TF_DEFINITION = 'geometry_msgs/TransformStamped[] transforms\n' + ''.join(
    f'{"=" * 80}\nMSG: {name}\n{text}\n' for name, text in _PARTS.items()
)
"""tf2_msgs is not among the wheels, and this needs no ROS."""


class Link(NamedTuple):
    """A link, as our URDF has it: a body, with its origin at the last of its joints."""

    name: str
    body: int
    origin: np.ndarray
    """In the body's frame, in m."""


def links_of(model: Any) -> list[Link]:
    """Return the links of a model; those that only join two joints of a body are left out."""
    links = []
    for body in range(1, model.nbody):
        last = model.body_jntadr[body] + model.body_jntnum[body] - 1
        has_origin = model.body_jntnum[body] and model.jnt_type[last] != _FREE
        origin = model.jnt_pos[last] if has_origin else np.zeros(3)
        links.append(Link(body_name(model, body), body, origin))
    return links


def save_mcap(path: Path, out: Path, *, robot: str | None = None) -> list[str]:
    """Write a copy of a bag with its robot in it; return what could not be done.

    Raise what `read_robot` raises.
    """
    recorded = read_robot(path, robot)
    names, begin_ns = set[str](), recorded.time_ns[0]
    for topic, time_ns, _ in Bag(path):
        names.add(topic.name)
        begin_ns = min(begin_ns, time_ns)
    if _TF in names:
        added, problems = [], [f'its own {_TF} is left as it is']
    else:
        try:
            added, problems = _messages_of(recorded, begin_ns), []
        except RlEdgeError as error:
            added, problems = [], [f'no robot in 3D: {error}']
    replaced = {topic.name for topic, _, _ in added}
    copied = (message for message in Bag(path) if message.topic.name not in replaced)
    ensure_folder(out.parent)
    write_atomically(
        out,
        lambda new: problems.extend(_write(new, heapq.merge(copied, added, key=_time_of))),
    )
    return problems


_time_of = operator.attrgetter('time_ns')


def _write(path: Path, messages: Iterable[BagMessage]) -> list[str]:
    """Write messages; return which topics were left out."""
    left_out: list[str] = []
    channels: dict[BagTopic, int | None] = {}
    with path.open('wb') as file:
        writer = Writer(file, compression=CompressionType.NONE)
        writer.start('ros2', 'rl_edge')
        for topic, time_ns, data in messages:
            if topic not in channels:
                try:
                    channels[topic] = _channel(writer, topic)
                except DecodingError as error:
                    channels[topic] = None
                    left_out.append(f'left out: {error}')
            channel = channels[topic]
            if channel is not None:
                writer.add_message(channel, time_ns, data, time_ns)
        writer.finish()
    return left_out


def _channel(writer: Writer, topic: BagTopic) -> int:
    text = definition_of(topic).encode()
    schema = writer.register_schema(topic.message_type, 'ros2msg', text)
    return writer.register_channel(topic.name, topic.serialization, schema)


def _messages_of(recorded: RecordedRobot, begin_ns: int) -> list[BagMessage]:
    """Return the messages that viewers draw a robot from, in the order of time.

    From ``begin_ns`` to its first step the robot stands where that led to.
    """
    simulation, found = simulation_of(recorded)
    try:
        model, data = simulation.model, simulation.data
        urdf, _ = urdf_of(model, recorded.spec.environment_id.replace('-', '_'))
        links = links_of(model)
        is_free = model.njnt and model.jnt_type[0] == _FREE
        frame = _ODOM if is_free else body_name(model, 0)
        places = []
        for qpos in (found[0], *found):
            data.qpos[:] = qpos
            mujoco.mj_kinematics(model, data)
            places.append([*places_of(data, links)])
    finally:
        simulation.close()
    description = BagTopic(
        f'{recorded.name}/{_DESCRIPTION}', 'std_msgs/msg/String', 'string data\n', 'ros2msg'
    )
    tf = BagTopic(_TF, 'tf2_msgs/msg/TFMessage', _TF_DEFINITION, 'ros2msg')
    messages = [BagMessage(description, begin_ns, _cdr(_string(urdf)))]
    for time_ns, of_links in zip([begin_ns, *recorded.time_ns], places, strict=True):
        messages.append(BagMessage(tf, time_ns, _tf_message(time_ns, frame, links, of_links)))
    return messages


def places_of(data: Any, links: Sequence[Link]) -> Iterator[np.ndarray]:
    """Yield where each link is: position (x, y, z), in m, and quaternion (x, y, z, w)."""
    for _, body, origin in links:
        w, *xyz = data.xquat[body]
        yield np.array([*(data.xpos[body] + data.xmat[body].reshape(3, 3) @ origin), *xyz, w])


def _tf_message(
    time_ns: int, frame: str, links: Sequence[Link], places: Sequence[np.ndarray]
) -> bytes:
    seconds, nanoseconds = divmod(time_ns, 10**9)

    def fields() -> Iterator[tuple[int, bytes]]:
        yield 4, struct.pack('<I', len(links))
        for link, place in zip(links, places, strict=True):
            yield 4, struct.pack('<iI', seconds, nanoseconds)
            yield from (*_string(frame), *_string(link.name))
            yield 8, struct.pack('<7d', *place)

    return _cdr(fields())


def _string(text: str) -> tuple[tuple[int, bytes], ...]:
    data = text.encode() + b'\0'
    return ((4, struct.pack('<I', len(data))), (1, data))


def _cdr(fields: Iterator[tuple[int, bytes]] | Sequence[tuple[int, bytes]]) -> bytes:
    """Return the little-endian CDR of (alignment, bytes) in turn."""
    data = bytearray()
    for alignment, part in fields:
        data += b'\0' * (-len(data) % alignment) + part
    return b'\0\1\0\0' + bytes(data)
