"""The simulator as a robot behind standard topics, with a peer that plays its controller."""

import math
from array import array
from xml.etree import ElementTree

import numpy as np
import pytest
import rclpy
from nav_msgs.msg import Odometry
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Float64MultiArray, String
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from rl_edge_core.errors import ConfigurationError
from rl_edge_core.ros import qos
from rl_edge_core.ros.conversions import to_nanoseconds
from rl_edge_sim.environment import make_environment
from rl_edge_sim.mujoco_names import actuator_scales, base_of
from rl_edge_sim.sim_node import SimNode


@pytest.fixture
def robot(ros_domain_id):
    with_robot = Robot(ros_domain_id)
    yield with_robot
    with_robot.close()


class Robot:
    """The node of a simulated robot, and what it published."""

    def __init__(self, domain_id):
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain_id)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.node = None

    def start(self, **parameters):
        parameters = {'interface': 'standard', 'real_time_factor': 5.0, **parameters}
        self.node = SimNode(
            context=self.context,
            namespace='ant0',
            parameter_overrides=[
                Parameter(name, value=value) for name, value in parameters.items()
            ],
        )
        self.peer = Node('controller', context=self.context, namespace='ant0')
        self.received = {}
        for message_type, topic in (
            (JointState, 'joint_states'),
            (Imu, 'imu'),
            (Odometry, 'odometry'),
        ):
            self.received[topic] = []
            self.peer.create_subscription(message_type, topic, self.received[topic].append, 100)
        self.commands = self.peer.create_publisher(Float64MultiArray, 'commands', 10)
        self.trajectory = self.peer.create_publisher(JointTrajectory, 'joint_trajectory', 10)
        for node in (self.node, self.peer):
            self.executor.add_node(node)
        self.until(lambda: self.node._standard._commands.get_publisher_count())

    def until(self, condition):
        while not condition():
            self.executor.spin_once(timeout_sec=0.1)

    def close(self):
        if self.node is not None:
            self.node.close()
            for node in (self.node, self.peer):
                node.destroy_node()
        self.executor.shutdown()
        rclpy.try_shutdown(context=self.context)


def test_what_its_sensors_say_is_what_is_simulated(robot):
    robot.start(seed=3)
    robot.until(lambda: len(robot.received['odometry']) >= 20)
    joints, imu, odometry = (robot.received[topic] for topic in robot.received)
    data = robot.node._env.unwrapped.data
    model = robot.node._env.unwrapped.model
    robot.until(
        lambda: (
            to_nanoseconds(odometry[-1].header.stamp) == robot.node._standard._simulation.time_ns
        )
    )
    assert list(joints[-1].position) == [data.joint(name).qpos[0] for name in joints[-1].name]
    assert list(joints[-1].velocity) == [data.joint(name).qvel[0] for name in joints[-1].name]
    turn = imu[-1].orientation
    assert [turn.w, turn.x, turn.y, turn.z] == data.qpos[3:7].tolist()
    assert odometry[-1].pose.pose.position.z == data.qpos[2]
    assert odometry[-1].header.frame_id == 'odom'
    assert imu[-1].header.frame_id == odometry[-1].child_frame_id == 'torso'
    to_world = data.xmat[model.body('torso').id].reshape(3, 3)
    linear = odometry[-1].twist.twist.linear
    in_world = to_world @ [linear.x, linear.y, linear.z]
    assert in_world == pytest.approx(data.qvel[:3], abs=0.05)  # xmat is of the last sub-step


def test_transforms_say_where_the_base_is_in_the_world(robot):
    messages = pytest.importorskip('tf2_msgs.msg')
    robot.start(seed=3)
    transforms = []
    robot.peer.create_subscription(messages.TFMessage, '/tf', transforms.append, 100)
    robot.until(lambda: len(transforms) >= 20)
    (transform,) = transforms[-1].transforms
    stamp = to_nanoseconds(transform.header.stamp)

    def odometry_then():
        received = robot.received['odometry']
        return [one for one in received if to_nanoseconds(one.header.stamp) == stamp]

    robot.until(odometry_then)
    (odometry,) = odometry_then()
    assert (transform.header.frame_id, transform.child_frame_id) == ('odom', 'torso')
    place, position = transform.transform.translation, odometry.pose.pose.position
    assert [place.x, place.y, place.z] == [position.x, position.y, position.z]
    assert place.z > 0.2
    assert transform.transform.rotation == odometry.pose.pose.orientation


def test_commands_in_newton_metres_move_it(robot):
    robot.start()
    driven = robot.node._standard
    command = [75.0, 0.0, -1000.0, 0.0, 0.0, 0.0, 0.0, 30.0]
    robot.commands.publish(Float64MultiArray(data=array('d', command)))
    robot.until(lambda: driven._action.any())
    # 150 N m are an action of 1; -1000 are beyond what the motor can.
    assert driven._action.tolist() == pytest.approx([0.5, 0, -1.0, 0, 0, 0, 0, 0.2])
    robot.until(lambda: not driven._action.any())  # too old: zero again


def test_trajectories_go_by_joint_name(robot):
    robot.start()
    driven = robot.node._standard
    names = list(driven._simulation.spec.action_names)
    shuffled = [*names[3:], *names[:3]]
    efforts = [15.0 * names.index(name) for name in shuffled]
    point = JointTrajectoryPoint(effort=efforts)
    robot.trajectory.publish(JointTrajectory(joint_names=shuffled, points=[point]))
    robot.until(lambda: driven._action.any())
    assert driven._action.tolist() == pytest.approx([0.1 * index for index in range(8)])


@pytest.mark.parametrize('command', [[math.nan] * 8, [1.0] * 7, []])
def test_bad_commands_are_ignored(robot, command):
    robot.start()
    seen = []
    robot.node._standard._complain = seen.append
    robot.commands.publish(Float64MultiArray(data=array('d', command)))
    robot.until(lambda: seen)
    assert not robot.node._standard._action.any()


def test_a_robot_that_fell_is_put_back(robot):
    # It starts at 0.75 m and settles below 0.65, whatever the machine's speed makes of commands.
    robot.start(episodes=1, seed=1, environment_arguments='{healthy_z_range: [0.65, 1.0]}')

    def drive():
        robot.commands.publish(Float64MultiArray(data=array('d', np.zeros(8))))
        return robot.node.finished.done()

    robot.until(drive)
    assert robot.node.finished.result() == 0
    # The state outside the limits is shown.
    robot.until(lambda: any(m.pose.pose.position.z < 0.65 for m in robot.received['odometry']))


def test_who_comes_later_gets_its_urdf(robot):
    robot.start()
    received = []
    robot.peer.create_subscription(String, 'robot_description', received.append, qos.environment())
    robot.until(lambda: received)
    assert ElementTree.fromstring(received[0].data).find("joint[@name='ankle_4']") is not None


def test_only_mujoco_robots_have_standard_topics(robot):
    with pytest.raises(ConfigurationError, match='Pendulum-v1 is none'):
        robot.start(environment_id='Pendulum-v1')
    robot.node = None


def test_an_accelerometer_at_rest_measures_gravity_upwards():
    env = make_environment('Ant-v5', reset_noise_scale=0.0)
    env.reset(seed=0)
    for _ in range(100):
        env.step(np.zeros(8, np.float32))
    state = base_of(env).read(env)
    assert state.acceleration[2] == pytest.approx(9.81, abs=0.2)
    assert actuator_scales(env).tolist() == [150.0] * 8
