"""``rl_edge view BAG --save FILE.mcap``: a bag for viewers that draw a URDF, such as Lichtblick.

Beside all that was recorded it has the robot's URDF, and where its links are after each step.
"""

import heapq
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast
from xml.etree import ElementTree

import mujoco
import numpy as np
from gymnasium.envs.mujoco import MujocoEnv
from mcap.writer import CompressionType, Writer

from rl_edge_core.errors import RlEdgeError
from rl_edge_core.files import ensure_folder
from rl_edge_eval.bag.bag import Bag
from rl_edge_eval.bag.decode import DecodingError, definition_of
from rl_edge_eval.bag.messages import BagMessage, BagTopic
from rl_edge_eval.view import RecordedRobot, poses, read_robot
from rl_edge_sim.environment import environment_of
from rl_edge_sim.mujoco_names import position_names
from rl_edge_sim.urdf import urdf_of

_WORLD = 'odom'
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


class Transform(NamedTuple):
    """Where a link is, relative to another."""

    parent: str
    child: str
    position: np.ndarray
    turn: np.ndarray
    """Quaternion (w, x, y, z)."""


class _Joint:
    """A joint of a URDF."""

    def __init__(self, element: ElementTree.Element) -> None:
        self.name, self.is_slide = element.get('name', ''), element.get('type') == 'prismatic'
        self.parent, self.child = (
            str(cast(ElementTree.Element, element.find(side)).get('link'))
            for side in ('parent', 'child')
        )
        origin, axis = element.find('origin'), element.find('axis')
        self._place, angles = (
            _numbers('0 0 0' if origin is None else origin.get(name, '0 0 0'))
            for name in ('xyz', 'rpy')
        )
        self._axis = None if axis is None else _numbers(axis.get('xyz', '1 0 0'))
        self._turn = np.empty(4)
        mujoco.mju_euler2Quat(self._turn, angles, 'XYZ')  # about the axes of the parent

    def at(self, value: float) -> Transform:
        """Return the transform of the joint at an angle or a distance."""
        place, turn = self._place, self._turn
        if self._axis is not None and self.is_slide:
            along = np.empty(3)
            mujoco.mju_rotVecQuat(along, self._axis * value, turn)
            place = place + along
        elif self._axis is not None:
            by, turned = np.empty(4), np.empty(4)
            mujoco.mju_axisAngle2Quat(by, self._axis, value)
            mujoco.mju_mulQuat(turned, turn, by)
            turn = turned
        return Transform(self.parent, self.child, place, turn)


class Links:
    """The links of a model, as its URDF has them."""

    def __init__(self, model: Any, urdf: str) -> None:
        """Find the joints, and the link that moves freely, if there is one."""
        tree = ElementTree.fromstring(urdf)
        self._joints = [_Joint(element) for element in tree.iter('joint')]
        below = {joint.child for joint in self._joints}
        links = [str(link.get('name')) for link in tree.iter('link')]
        names = [name.rpartition('.') for name in position_names(model)]
        self._columns = {
            name: index
            for index, (name, _, what) in enumerate(names)
            if what in ('angle', 'position')
        }
        is_free = model.njnt and model.jnt_type[0] == mujoco.mjtJoint.mjJNT_FREE
        self._root = next((link for link in links if link not in below), '') if is_free else ''

    def transforms(self, qpos: np.ndarray) -> list[Transform]:
        """Return where the links are, each relative to the one before it."""
        found = []
        if self._root:
            found.append(Transform(_WORLD, self._root, qpos[:3], qpos[3:7]))
        for joint in self._joints:
            column = self._columns.get(joint.name)
            found.append(joint.at(0.0 if column is None else float(qpos[column])))
        return found


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
    ensure_folder(out.parent)
    with out.open('wb') as file:
        writer = Writer(file, compression=CompressionType.NONE)
        writer.start('ros2', 'rl_edge')
        channels: dict[BagTopic, int | None] = {}
        replaced = {topic.name for topic, _, _ in added}
        copied = (message for message in Bag(path) if message.topic.name not in replaced)
        for topic, time_ns, data in heapq.merge(copied, added, key=lambda one: one.time_ns):
            if topic not in channels:
                try:
                    channels[topic] = _channel(writer, topic)
                except DecodingError as error:
                    channels[topic] = None
                    problems.append(f'left out: {error}')
            channel = channels[topic]
            if channel is not None:
                writer.add_message(channel, time_ns, data, time_ns)
        writer.finish()
    return problems


def _channel(writer: Writer, topic: BagTopic) -> int:
    text = definition_of(topic).encode()
    schema = writer.register_schema(topic.message_type, 'ros2msg', text)
    return writer.register_channel(topic.name, topic.serialization, schema)


def _messages_of(recorded: RecordedRobot, begin_ns: int) -> list[BagMessage]:
    """Return the messages that viewers draw a robot from, in the order of time.

    From ``begin_ns`` to its first step the robot stands where that led to.
    """
    env = environment_of(recorded.spec)
    try:
        simulation = cast(MujocoEnv, env.unwrapped)
        found = poses(recorded, simulation) if isinstance(simulation, MujocoEnv) else None
        if found is None:
            raise RlEdgeError(
                f'the observation of {recorded.spec.environment_id} does not say where its '
                f'joints are'
            )
        urdf, _ = urdf_of(simulation.model, recorded.spec.environment_id.replace('-', '_'))
        links = Links(simulation.model, urdf)
    finally:
        env.close()
    description = BagTopic(
        f'{recorded.name}/{_DESCRIPTION}', 'std_msgs/msg/String', 'string data\n', 'ros2msg'
    )
    tf = BagTopic(_TF, 'tf2_msgs/msg/TFMessage', _TF_DEFINITION, 'ros2msg')
    steps = zip([begin_ns, *recorded.time_ns], [found[0], *found], strict=True)
    return [
        BagMessage(description, begin_ns, _cdr(_string(urdf))),
        *(
            BagMessage(tf, time_ns, _tf_message(time_ns, links.transforms(qpos)))
            for time_ns, qpos in steps
        ),
    ]


def _tf_message(time_ns: int, transforms: Sequence[Transform]) -> bytes:
    seconds, nanoseconds = divmod(time_ns, 10**9)

    def fields() -> Iterator[tuple[int, bytes]]:
        yield 4, struct.pack('<I', len(transforms))
        for parent, child, position, turn in transforms:
            yield 4, struct.pack('<iI', seconds, nanoseconds)
            yield from (*_string(parent), *_string(child))
            yield 8, struct.pack('<7d', *position, *np.roll(turn, -1))

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


def _numbers(text: str) -> np.ndarray:
    return np.array([float(word) for word in text.split()])
