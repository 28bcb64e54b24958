"""The URDF of a model puts each link where MuJoCo has the body."""

from xml.etree import ElementTree

import mujoco
import numpy as np
import pytest

from rl_edge_core.errors import ConfigurationError
from rl_edge_sim.mujoco_names import body_name, joint_name
from rl_edge_sim.urdf import load_model, main, urdf_of

TWO_HINGES = """
<mujoco><worldbody>
  <body name="base" pos="0 0 1"><freejoint/><geom type="box" size=".1 .2 .3"/>
    <body name="arm" pos="0.5 0 0" quat="0.7071 0 0 0.7071">
      <joint name="turn" axis="0 0 1" pos="0.1 0 0"/>
      <joint name="lift" axis="0 1 0" pos="0 0.2 0" range="-60 45" ref="10"/>
      <geom type="capsule" fromto="0 0 0 0.4 0 0" size=".05"/>
      <body name="tool" pos="0.4 0 0.1"><geom type="ellipsoid" size=".1 .1 .2"/>
        <joint name="slide" type="slide" axis="1 0 0" range="0 0.3" ref="0.05"/></body>
    </body>
  </body>
</worldbody></mujoco>
"""


def transform(xyz, matrix):
    whole = np.eye(4)
    whole[:3, :3], whole[:3, 3] = matrix, xyz
    return whole


def numbers(text):
    return np.array([float(word) for word in text.split()])


def rpy(roll, pitch, yaw):
    def about(axis, angle):
        quaternion, matrix = np.empty(4), np.empty(9)
        mujoco.mju_axisAngle2Quat(quaternion, np.array(axis, float), angle)
        mujoco.mju_quat2Mat(matrix, quaternion)
        return matrix.reshape(3, 3)

    return about([0, 0, 1], yaw) @ about([0, 1, 0], pitch) @ about([1, 0, 0], roll)


def origin_of(element):
    origin = element.find('origin')
    return transform(numbers(origin.get('xyz')), rpy(*numbers(origin.get('rpy'))))


def frames(robot, root, at, positions):
    """Return where each link is, by the joints of a URDF."""
    found, open_links = {root: at}, [root]
    while open_links:
        parent = open_links.pop()
        for joint in robot.findall('joint'):
            if joint.find('parent').get('link') != parent:
                continue
            frame = found[parent] @ origin_of(joint)
            value = positions.get(joint.get('name'), 0.0)
            axis = joint.find('axis')
            if axis is not None and joint.get('type') == 'prismatic':
                frame = frame @ transform(value * numbers(axis.get('xyz')), np.eye(3))
            elif axis is not None:
                quaternion, matrix = np.empty(4), np.empty(9)
                mujoco.mju_axisAngle2Quat(quaternion, numbers(axis.get('xyz')), value)
                mujoco.mju_quat2Mat(matrix, quaternion)
                frame = frame @ transform(np.zeros(3), matrix.reshape(3, 3))
            child = joint.find('child').get('link')
            found[child] = frame
            open_links.append(child)
    return found


def check_geoms(model, name, root):
    """Compare, in random poses, where shapes are in the URDF and in MuJoCo."""
    text, notes = urdf_of(model, name)
    robot = ElementTree.fromstring(text)
    data = mujoco.MjData(model)
    generator = np.random.default_rng(1)
    for _ in range(5):
        mujoco.mj_resetData(model, data)
        data.qpos[7:] = generator.uniform(-0.5, 0.5, model.nq - 7)
        mujoco.mj_forward(model, data)
        positions = {
            joint_name(model, j): data.qpos[model.jnt_qposadr[j]] for j in range(1, model.njnt)
        }
        body = model.body(root).id
        at = transform(data.xpos[body], data.xmat[body].reshape(3, 3))
        links = frames(robot, root, at, positions)
        assert {link.get('name') for link in robot.findall('link')} == set(links)
        for geom in range(model.ngeom):
            owner = int(model.geom_bodyid[geom])
            if owner == 0:
                continue
            link = robot.find(f"link[@name='{body_name(model, owner)}']")
            places = [
                (links[link.get('name')] @ origin_of(visual))[:3, 3]
                for visual in link.findall('visual')
            ]
            is_drawn = model.geom_type[geom] != mujoco.mjtGeom.mjGEOM_ELLIPSOID
            near = [np.allclose(place, data.geom_xpos[geom], atol=1e-4) for place in places]
            assert any(near) == is_drawn
    return notes


def test_the_ant():
    model, name = load_model('Ant-v5')
    notes = check_geoms(model, name, 'torso')
    assert notes == ['torso moves freely: publish a transform to it, e.g. from odom']
    robot = ElementTree.fromstring(urdf_of(model, name)[0])
    hip = robot.find("joint[@name='hip_1']")
    assert hip.get('type') == 'revolute'
    assert float(hip.find('limit').get('effort')) == 150.0
    assert float(hip.find('limit').get('upper')) == pytest.approx(np.radians(30), abs=1e-5)
    assert robot.get('name') == 'Ant_v5'


def test_a_body_with_two_joints_and_what_cannot_be_said(tmp_path, capsys):
    file = tmp_path / 'arm.xml'
    file.write_text(TWO_HINGES)
    model, name = load_model(str(file))
    notes = check_geoms(model, name, 'base')
    assert any('ellipsoid, which is left out' in note for note in notes)
    assert main([str(file), '--out', str(tmp_path / 'arm.urdf')]) == 0
    assert (tmp_path / 'arm.urdf').read_text().startswith('<?xml')
    assert 'note: base moves freely' in capsys.readouterr().err


def test_a_robot_that_is_attached_hangs_on_the_world():
    model, name = load_model('InvertedPendulum-v5')
    robot = ElementTree.fromstring(urdf_of(model, name)[0])
    slider = robot.find("joint[@name='slider']")
    assert slider.get('type') == 'prismatic'
    assert slider.find('parent').get('link') == 'world'
    assert robot.find("link[@name='world']") is not None


@pytest.mark.parametrize(
    ('source', 'message'),
    [('Pendulum-v1', 'is not a MuJoCo environment'), ('Nowhere-v0', 'no environment is named')],
)
def test_what_has_no_model_is_refused(source, message):
    with pytest.raises(ConfigurationError, match=message):
        load_model(source)


def test_a_broken_file_is_refused(tmp_path, capsys):
    (tmp_path / 'broken.xml').write_text('<mujoco><worldbody>')
    assert main([str(tmp_path / 'broken.xml')]) == 1
    assert 'is not a MuJoCo model' in capsys.readouterr().err
