"""Bags with their robot in them: links are where MuJoCo has them, and the rest is as recorded."""

from xml.etree import ElementTree

import mujoco
import numpy as np
import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from test_view import STEPS, ant_bag

from rl_edge_eval import view_mcap
from rl_edge_eval.__main__ import main
from rl_edge_eval.bag.bag import Bag
from rl_edge_eval.bag.decode import DecodingError
from rl_edge_eval.recorded_robot import poses, read_robot
from rl_edge_eval.view_mcap import links_of, places_of, save_mcap
from rl_edge_sim.environment import make_environment
from rl_edge_sim.mujoco_names import position_names
from rl_edge_sim.urdf import urdf_of


def messages_of(path):
    """Return (topic, time, message) of an .mcap file, as another reader has them."""
    with path.open('rb') as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        return [
            (channel.topic, message.log_time, decoded)
            for _, channel, message, decoded in reader.iter_decoded_messages()
        ]


def urdf_places(urdf, angles):
    """Return position and quaternion (w, x, y, z) of each link of a URDF, by its joints."""
    places = {}
    for joint in ElementTree.fromstring(urdf).iter('joint'):  # parents come first
        parent, child = (joint.find(side).get('link') for side in ('parent', 'child'))
        origin = joint.find('origin')
        offset, angle = (np.array(origin.get(k).split(), float) for k in ('xyz', 'rpy'))
        moves = joint.find('axis')  # missing where it is fixed
        axis = np.array([1.0, 0, 0] if moves is None else moves.get('xyz').split(), float)
        turn, by, moved = np.empty(4), np.empty(4), np.empty(3)
        mujoco.mju_euler2Quat(turn, angle, 'XYZ')
        value = 0.0 if moves is None else angles[joint.get('name')]
        if joint.get('type') == 'prismatic':
            mujoco.mju_rotVecQuat(moved, axis * value, turn)
            offset = offset + moved
            by = np.array([1.0, 0.0, 0.0, 0.0])
        else:
            mujoco.mju_axisAngle2Quat(by, axis, value)
        above, above_turn = places.get(parent, (np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0])))
        mujoco.mju_rotVecQuat(moved, offset, above_turn)
        turned, whole = np.empty(4), np.empty(4)
        mujoco.mju_mulQuat(turned, turn, by)
        mujoco.mju_mulQuat(whole, above_turn, turned)
        places[child] = above + moved, whole
    return places


@pytest.mark.parametrize(
    'environment_id', ['HalfCheetah-v5', 'Hopper-v5', 'Pusher-v5', 'Reacher-v5']
)
def test_links_are_where_the_urdf_has_them(environment_id):
    env = make_environment(environment_id)
    model, data = env.unwrapped.model, env.unwrapped.data
    env.reset(seed=1)
    for _ in range(5):
        env.step(env.action_space.sample())
    mujoco.mj_kinematics(model, data)
    names = [name.rpartition('.')[0] for name in position_names(model)]
    expected = urdf_places(urdf_of(model, 'robot')[0], dict(zip(names, data.qpos, strict=True)))
    links = links_of(model)

    for link, (*position, x, y, z, w) in zip(links, places_of(data, links), strict=True):
        assert position == pytest.approx(expected[link.name][0], abs=1e-5)
        assert abs(expected[link.name][1] @ [w, x, y, z]) == pytest.approx(1.0, abs=1e-6)
    assert len(links) == model.nbody - 1
    env.close()


def test_the_copy_has_the_bag_and_where_its_robot_is_at_each_step(tmp_path):
    ant_bag(tmp_path / 'bag')
    assert save_mcap(tmp_path / 'bag', tmp_path / 'new' / 'run.mcap') == []

    recorded = [(topic.name, time_ns) for topic, time_ns, _ in Bag(tmp_path / 'bag')]
    found = messages_of(tmp_path / 'new' / 'run.mcap')
    added = {'/tf', '/ant0/robot_description'}
    assert [(topic, time) for topic, time, _ in found if topic not in added] == recorded
    (urdf,) = [message.data for topic, _, message in found if topic == '/ant0/robot_description']
    assert '<link name="torso">' in urdf
    steps = [time for topic, time, _ in found if topic == '/ant0/transition']
    frames = [(time, message) for topic, time, message in found if topic == '/tf']
    assert [time for time, _ in frames][1:] == steps
    assert frames[0][0] <= min(time for _, time, _ in found)
    robot = read_robot(tmp_path / 'bag')
    env = make_environment('Ant-v5')
    for (time, message), qpos in zip(frames[1:], poses(robot, env.unwrapped), strict=True):
        torso = message.transforms[0]
        assert (torso.header.frame_id, torso.child_frame_id) == ('odom', 'torso')
        assert torso.header.stamp.sec * 10**9 + torso.header.stamp.nanosec == time
        place, turn = torso.transform.translation, torso.transform.rotation
        assert [place.x, place.y, place.z] == pytest.approx(qpos[:3])
        assert [turn.w, turn.x, turn.y, turn.z] == pytest.approx(qpos[3:7])
        assert len(message.transforms) == len(links_of(env.unwrapped.model)) == 13
    env.close()
    assert len(frames) == STEPS + 1


def test_a_robot_whose_joints_are_not_observed_is_copied_all_the_same(tmp_path):
    ant_bag(tmp_path / 'bag', environment_id='Pendulum-v1')
    (problem,) = save_mcap(tmp_path / 'bag', tmp_path / 'run.mcap')
    assert 'does not say where its joints are' in problem
    assert len(
        [1 for name, _, _ in messages_of(tmp_path / 'run.mcap') if '/transition' in name]
    ) == (STEPS)


def test_messages_without_a_definition_are_left_out_and_named(tmp_path, monkeypatch):
    ant_bag(tmp_path / 'bag')

    def definition_of(topic):
        if topic.name == '/ant0/episode':
            raise DecodingError('/ant0/episode: nobody has the definition')
        return topic.definition

    monkeypatch.setattr(view_mcap, 'definition_of', definition_of)
    assert save_mcap(tmp_path / 'bag', tmp_path / 'run.mcap') == [
        'left out: /ant0/episode: nobody has the definition'
    ]
    assert '/ant0/episode' not in {topic for topic, _, _ in messages_of(tmp_path / 'run.mcap')}


def test_the_ending_of_the_file_says_for_which_viewer_it_is(tmp_path, capsys):
    ant_bag(tmp_path / 'bag')
    assert main(['view', str(tmp_path / 'bag'), '--save', str(tmp_path / 'run.mcap')]) == 0
    assert 'open it in Lichtblick or Foxglove' in capsys.readouterr().out.replace('\n', ' ')
    assert '/tf' in {topic for topic, _, _ in messages_of(tmp_path / 'run.mcap')}
