"""A URDF of a MuJoCo model, for RViz, Foxglove and robot_state_publisher.

Links are bodies, joints are hinges and slides, shapes are plain geoms. What a URDF cannot say is
returned as notes.
"""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import mujoco
import numpy as np

from rl_edge_core.argument_parser import ArgumentParser, output_file
from rl_edge_core.errors import ConfigurationError, RlEdgeError
from rl_edge_core.files import write_atomically
from rl_edge_sim.environment import make_environment
from rl_edge_sim.mujoco_names import body_name, is_mujoco, joint_name

_JOINT, _GEOM = mujoco.mjtJoint, mujoco.mjtGeom
_NO_LIMIT = 1e3
"""Where the model has no limit of effort or velocity, which URDF asks for."""


class _Writer:
    """Write one model; positions of a link are relative to the last joint of its body."""

    def __init__(self, model: Any, name: str) -> None:
        self.model, self.notes = model, list[str]()
        self.robot = ElementTree.Element('robot', name=name)
        self._shift: dict[int, np.ndarray] = {}
        self._effort: dict[int, float] = {}
        """The largest effort that an actuator puts on a joint, by joint."""
        for actuator in range(model.nu):
            if model.actuator_trntype[actuator] == mujoco.mjtTrn.mjTRN_JOINT:
                joint = int(model.actuator_trnid[actuator, 0])
                reach = float(np.abs(model.actuator_ctrlrange[actuator]).max()) or math.inf
                gain = model.actuator_gear[actuator, 0] * model.actuator_gainprm[actuator, 0]
                self._effort[joint] = min(reach * abs(float(gain)), _NO_LIMIT)

    def write(self) -> None:
        for body in range(1, self.model.nbody):
            self._write_body(body)

    def _write_body(self, body: int) -> None:
        model, name = self.model, body_name(self.model, body)
        parent = int(model.body_parentid[body])
        first, count = int(model.body_jntadr[body]), int(model.body_jntnum[body])
        joints = list(range(first, first + count)) if count else []
        origin = model.body_pos[body] - self._shift.get(parent, np.zeros(3))
        turn, above = model.body_quat[body], body_name(model, parent)
        at = np.zeros(3)  # of the present link, in the body's frame
        if any(model.jnt_type[joint] == _JOINT.mjJNT_FREE for joint in joints):
            self.notes.append(f'{name} moves freely: publish a transform to it, e.g. from odom')
            joints, above = [], ''
        for index, joint in enumerate(joints):
            is_last = index == len(joints) - 1
            link = name if is_last else f'{name}_{joint_name(model, joint)}'
            anchor = model.jnt_pos[joint]
            matrix = _matrix(turn)
            self._write_joint(joint, above, link, origin + matrix @ (anchor - at), turn)
            if not is_last:
                ElementTree.SubElement(self.robot, 'link', name=link)
            at, above, origin, turn = anchor, link, np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0])
        if not joints and above and (parent or 0 in self._shift):
            fixed = self._joint_element(f'{name}_fixed', 'fixed', above, name)
            fixed.append(_origin(origin, turn))
        self._shift[body] = at
        self._write_link(body, name, at)

    def _joint_element(self, name: str, kind: str, parent: str, child: str) -> ElementTree.Element:
        if parent == 'world' and self.robot.find("link[@name='world']") is None:
            self.robot.insert(0, ElementTree.Element('link', name='world'))
        element = ElementTree.SubElement(self.robot, 'joint', name=name, type=kind)
        ElementTree.SubElement(element, 'parent', link=parent)
        ElementTree.SubElement(element, 'child', link=child)
        return element

    def _write_joint(
        self, joint: int, parent: str, child: str, origin: np.ndarray, turn: np.ndarray
    ) -> None:
        model, name = self.model, joint_name(self.model, joint)
        kind, limited = int(model.jnt_type[joint]), bool(model.jnt_limited[joint])
        if kind == _JOINT.mjJNT_BALL:
            self.notes.append(f'joint {name} is a ball, which URDF does not have: fixed')
            word = 'fixed'
        elif kind == _JOINT.mjJNT_SLIDE:
            word = 'prismatic'
        else:
            word = 'revolute' if limited else 'continuous'
        element = self._joint_element(name, word, parent, child)
        if word == 'fixed':
            element.append(_origin(origin, turn))
            return
        element.append(_origin(*self._at_zero(joint, origin, turn)))
        ElementTree.SubElement(element, 'axis', xyz=_text(model.jnt_axis[joint]))
        limit = {'effort': f'{self._effort.get(joint, _NO_LIMIT):g}', 'velocity': f'{_NO_LIMIT:g}'}
        if word != 'continuous':
            low, high = model.jnt_range[joint] if limited else (-_NO_LIMIT, _NO_LIMIT)
            limit |= {'lower': f'{low:.6g}', 'upper': f'{high:.6g}'}
        ElementTree.SubElement(element, 'limit', limit)

    def _at_zero(
        self, joint: int, origin: np.ndarray, turn: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return a joint's origin where its position is 0: the model has that of its reference."""
        model, axis = self.model, self.model.jnt_axis[joint]
        reference = float(model.qpos0[model.jnt_qposadr[joint]])
        if model.jnt_type[joint] == _JOINT.mjJNT_SLIDE:
            return origin - _matrix(turn) @ axis * reference, turn
        back, turned = np.empty(4), np.empty(4)
        mujoco.mju_axisAngle2Quat(back, axis, -reference)
        mujoco.mju_mulQuat(turned, turn, back)
        return origin, turned

    def _write_link(self, body: int, name: str, at: np.ndarray) -> None:
        model = self.model
        link = ElementTree.SubElement(self.robot, 'link', name=name)
        if model.body_mass[body] > 0:
            inertial = ElementTree.SubElement(link, 'inertial')
            inertial.append(_origin(model.body_ipos[body] - at, model.body_iquat[body]))
            ElementTree.SubElement(inertial, 'mass', value=f'{model.body_mass[body]:.6g}')
            xx, yy, zz = (f'{value:.6g}' for value in model.body_inertia[body])
            ElementTree.SubElement(
                inertial, 'inertia', ixx=xx, iyy=yy, izz=zz, ixy='0', ixz='0', iyz='0'
            )
        first = int(model.body_geomadr[body])
        for geom in range(first, first + int(model.body_geomnum[body])):
            self._write_geom(link, geom, at)

    def _write_geom(self, link: ElementTree.Element, geom: int, at: np.ndarray) -> None:
        model = self.model
        size, turn = model.geom_size[geom], model.geom_quat[geom]
        place, kind = model.geom_pos[geom] - at, int(model.geom_type[geom])
        shapes: list[tuple[str, dict[str, str], np.ndarray]] = []
        if kind == _GEOM.mjGEOM_SPHERE:
            shapes = [('sphere', {'radius': f'{size[0]:.6g}'}, place)]
        elif kind == _GEOM.mjGEOM_BOX:
            shapes = [('box', {'size': _text(2 * size)}, place)]
        elif kind in (_GEOM.mjGEOM_CYLINDER, _GEOM.mjGEOM_CAPSULE):
            shapes = [
                ('cylinder', {'radius': f'{size[0]:.6g}', 'length': f'{2 * size[1]:.6g}'}, place)
            ]
            if kind == _GEOM.mjGEOM_CAPSULE:
                half = _matrix(turn)[:, 2] * size[1]
                ball = {'radius': f'{size[0]:.6g}'}
                shapes += [('sphere', ball, place + half), ('sphere', ball, place - half)]
        else:
            what = _GEOM(kind).name.removeprefix('mjGEOM_').lower()
            self.notes.append(
                f'geom {model.geom(geom).name or geom} of {link.get("name")} is a {what}, which '
                f'is left out'
            )
        color = _text(
            model.mat_rgba[model.geom_matid[geom]]
            if model.geom_matid[geom] >= 0
            else model.geom_rgba[geom]
        )
        for shape, attributes, position in shapes:
            for part in ('visual', 'collision'):
                element = ElementTree.SubElement(link, part)
                element.append(_origin(position, turn))
                geometry = ElementTree.SubElement(element, 'geometry')
                ElementTree.SubElement(geometry, shape, attributes)
                if part == 'visual':
                    material = ElementTree.SubElement(element, 'material', name=f'geom_{geom}')
                    ElementTree.SubElement(material, 'color', rgba=color)


def urdf_of(model: Any, name: str) -> tuple[str, list[str]]:
    """Return the URDF of a ``mujoco.MjModel``, and what it cannot say."""
    writer = _Writer(model, name)
    writer.write()
    ElementTree.indent(writer.robot)
    text = ElementTree.tostring(writer.robot, encoding='unicode', xml_declaration=True)
    return text + '\n', writer.notes


def load_model(source: str) -> tuple[Any, str]:
    """Return the model of an MJCF file or of a Gymnasium environment, and a name for it."""
    path = Path(source)
    if path.suffix == '.xml' or path.is_file():
        try:
            return mujoco.MjModel.from_xml_path(str(path)), path.stem
        except ValueError as error:
            raise ConfigurationError(f'{path} is not a MuJoCo model: {error}') from error
    env = make_environment(source)
    try:
        if not is_mujoco(env):
            raise ConfigurationError(f'{source} is not a MuJoCo environment: it has no model')
        return env.unwrapped.model, source.rpartition(':')[2].replace('-', '_')  # type: ignore[attr-defined]
    finally:
        env.close()


def _matrix(quaternion: np.ndarray) -> np.ndarray:
    matrix = np.empty(9)
    mujoco.mju_quat2Mat(matrix, np.asarray(quaternion, np.float64))
    return matrix.reshape(3, 3)


def _origin(position: np.ndarray, quaternion: np.ndarray) -> ElementTree.Element:
    m = _matrix(quaternion)
    pitch = math.asin(max(-1.0, min(1.0, -m[2, 0])))
    if abs(m[2, 0]) < 1.0 - 1e-9:
        roll, yaw = math.atan2(m[2, 1], m[2, 2]), math.atan2(m[1, 0], m[0, 0])
    else:  # straight up or down: roll and yaw turn about the same axis
        roll, yaw = math.atan2(-m[1, 2], m[1, 1]), 0.0
    return ElementTree.Element('origin', xyz=_text(position), rpy=_text([roll, pitch, yaw]))


def _text(values: Any) -> str:
    return ' '.join(f'{value + 0.0:.6g}' for value in values)


def main(words: Sequence[str] | None = None, prog: str = 'rl_edge') -> int:
    """Write a URDF; return the exit code."""
    parser = ArgumentParser(prog=f'{prog} urdf', description='Write a URDF of a MuJoCo model.')
    parser.add_argument('model', help='an MJCF file, or a Gymnasium environment such as Ant-v5')
    parser.add_argument(
        '--out', type=output_file, help='file to write; standard output without it'
    )
    arguments = parser.parse_args(words)
    try:
        text, notes = urdf_of(*load_model(arguments.model))
        if arguments.out is None:
            print(text, end='')
        else:
            write_atomically(arguments.out, text)
    except RlEdgeError as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    for note in notes:
        print(f'note: {note}', file=sys.stderr)
    return 0
