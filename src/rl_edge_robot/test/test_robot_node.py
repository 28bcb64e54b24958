"""The robot node between a peer that plays the robot and one that plays the policy."""

import subprocess
import sys
from array import array

import numpy as np
import pytest
import rclpy
import yaml
from nav_msgs.msg import Odometry
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Float64MultiArray
from std_srvs.srv import SetBool

from rl_edge_core.episode_result import EndedBy
from rl_edge_core.errors import ConfigurationError
from rl_edge_core.loop.control_loop import Phase
from rl_edge_core.ros import qos
from rl_edge_core.ros.conversions import set_stamp
from rl_edge_interfaces.msg import Action, Environment, EpisodeSummary, Observation, Transition
from rl_edge_robot.description import find_description
from rl_edge_robot.robot_node import RobotNode
from rl_edge_robot.safety import Motion

JOINTS = [f'{part}_{leg}' for leg in range(1, 5) for part in ('hip', 'ankle')]
HEIGHT = 0.6
MAX_AGE_SEC = 3.0


class Machine(Node):
    """Play the robot: sensors at 100 Hz, and what it was commanded."""

    def __init__(self, context):
        super().__init__('machine', context=context, namespace='ant0')
        self.joints = self.create_publisher(JointState, 'joint_states', 10)
        self.imu = self.create_publisher(Imu, 'imu', 10)
        self.odometry = self.create_publisher(Odometry, 'odometry', 10)
        self.commands = []
        self.preview = []
        self.listens = self.create_subscription(
            Float64MultiArray, 'commands', lambda m: self.commands.append(list(m.data)), 10
        )
        self.create_subscription(JointState, 'command_preview', self.preview.append, 10)
        self.silent, self.height, self.names, self.count = set(), HEIGHT, list(JOINTS), 0
        self.create_timer(0.01, self.publish)

    def publish(self):
        self.count += 1
        stamp = self.get_clock().now().nanoseconds
        joints, imu, odometry = JointState(), Imu(), Odometry()
        for message in (joints, imu, odometry):
            set_stamp(message.header.stamp, stamp)
        joints.name = self.names
        joints.position = [0.1 * JOINTS.index(n) if n in JOINTS else 9.0 for n in self.names]
        joints.velocity = [float(self.count)] * len(self.names)
        imu.orientation.w = odometry.pose.pose.orientation.w = 1.0
        odometry.pose.pose.position.x = 0.01 * self.count
        odometry.pose.pose.position.z = self.height
        for topic, publisher, message in (
            ('joint_states', self.joints, joints),
            ('imu', self.imu, imu),
            ('odometry', self.odometry, odometry),
        ):
            if topic not in self.silent:
                publisher.publish(message)


class Policy(Node):
    """Answer each observation with an action, None for silence, and keep what is published."""

    def __init__(self, context):
        super().__init__('policy', context=context, namespace='ant0')
        self.action = [0.5, -0.5, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0]
        self.observations, self.transitions, self.episodes, self.environments = [], [], [], []
        self.publisher = self.create_publisher(Action, 'action', qos.action())
        for message_type, topic, keep, profile in (
            (Observation, 'observation', self.answer, qos.observation()),
            (Transition, 'transition', self.transitions.append, qos.transition()),
            (EpisodeSummary, 'episode', self.episodes.append, qos.episode()),
            (Environment, 'environment', self.environments.append, qos.environment()),
        ):
            self.create_subscription(message_type, topic, keep, profile)

    def answer(self, message):
        self.observations.append(message)
        if self.action is not None:
            self.publisher.publish(
                Action(
                    header=message.header,
                    run_id=message.run_id,
                    episode=message.episode,
                    step=message.step,
                    model_hash='f' * 64,
                    values=array('f', self.action),
                )
            )


class Graph:
    """All three on a graph of their own."""

    def __init__(self, domain_id, description):
        self.description = str(description)
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain_id)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.nodes = []

    def start(self, **parameters):
        parameters = {'description': self.description, **parameters}
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        self.robot = RobotNode(
            context=self.context, namespace='ant0', parameter_overrides=overrides
        )
        self.machine, self.policy = Machine(self.context), Policy(self.context)
        self.nodes = [self.robot, self.machine, self.policy]
        for node in self.nodes:
            self.executor.add_node(node)

    def until(self, condition):
        while not condition():
            self.executor.spin_once(timeout_sec=0.1)

    def run(self, steps):
        """Let the robot take so many steps more."""
        wanted = len(self.policy.transitions) + steps
        self.until(lambda: len(self.policy.transitions) >= wanted)

    def call(self, service_type, service, request):
        client = self.policy.create_client(service_type, f'robot/{service}')
        self.until(client.service_is_ready)
        future = client.call_async(request)
        self.until(future.done)
        return future.result()

    def close(self):
        if self.nodes:
            self.robot.close()
        for node in self.nodes:
            node.destroy_node()
        self.executor.shutdown()
        rclpy.try_shutdown(context=self.context)


@pytest.fixture
def graph(ros_domain_id, tmp_path):
    description = yaml.safe_load(find_description('ant_v5').read_text())
    # A busy machine may keep this process from publishing for longer than the shipped 0.2 s.
    ages = description['safety']['sensor_max_age_sec']
    description['safety']['sensor_max_age_sec'] = dict.fromkeys(ages, MAX_AGE_SEC)
    path = tmp_path / 'ant_v5.yaml'
    path.write_text(yaml.safe_dump(description, sort_keys=False))
    graph = Graph(ros_domain_id, path)
    yield graph
    graph.close()


def test_it_needs_none_of_what_only_a_simulator_or_a_trainer_needs():
    code = 'import sys; import rl_edge_robot.robot_node; print(*sys.modules)'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    heavy = {'tensorflow', 'keras', 'gymnasium', 'mujoco', 'torch', 'matplotlib', 'rl_edge_sim'}
    assert 'rl_edge_robot.robot_node' in done.stdout.split()
    assert not heavy & set(done.stdout.split())


def test_two_terms_of_topics_that_nobody_publishes_are_named_one_by_one(graph):
    graph.start()
    graph.machine.silent = {'imu', 'odometry'}
    monitor = graph.robot._monitor
    graph.until(lambda: monitor.reason == 'nothing valid on imu yet')
    graph.machine.silent = {'odometry'}
    graph.until(lambda: monitor.reason == 'nothing valid on odometry yet')


def test_a_robot_that_nobody_listens_to_does_not_begin(graph):
    graph.start()
    graph.machine.destroy_subscription(graph.machine.listens)
    reason = 'nobody receives commands on /ant0/commands'
    graph.until(lambda: graph.robot._monitor.reason == reason)
    assert graph.robot._loop.phase is Phase.WAITING


def test_a_policy_drives_the_robot(graph):
    graph.start()
    graph.run(10)
    assert all(abs(value) <= 150.0 for command in graph.machine.commands for value in command)
    assert [75.0, -75.0, 0.0, 150.0, 0.0, 0.0, 0.0, 0.0] in graph.machine.commands
    (environment,) = graph.policy.environments
    names = environment.observation_names
    first, second = graph.policy.transitions[:2]
    seen = dict(zip(names, first.observation, strict=True))
    assert seen['torso.z'] == np.float32(HEIGHT)
    assert seen['ankle_4.angle'] == np.float32(0.7)
    assert list(first.next_observation) == list(second.observation)
    assert first.action[3] == 1.0
    assert list(environment.reward_term_names) == ['alive', 'forward_velocity', 'action_cost']
    assert first.reward == pytest.approx(sum(first.reward_terms))
    assert first.reward_terms[2] == pytest.approx(-0.5 * 1.5)


def test_the_order_of_joints_in_messages_does_not_matter(graph):
    graph.start()
    graph.machine.names = ['gripper', *reversed(JOINTS)]
    graph.run(1)
    names = graph.policy.environments[0].observation_names
    seen = dict(zip(names, graph.policy.transitions[0].observation, strict=True))
    for index, joint in enumerate(JOINTS):
        assert seen[f'{joint}.angle'] == np.float32(0.1 * index)


@pytest.mark.parametrize(
    'names', [JOINTS[:-1], [*JOINTS, 'hip_1'], ['hip_one', *JOINTS[1:]]], ids=str
)
def test_joints_that_lack_doubled_or_renamed_keep_it_stopped(graph, names):
    graph.start()
    graph.machine.names = list(names)
    monitor = graph.robot._monitor
    graph.until(lambda: 'joint_states' in monitor.reason and graph.machine.commands)
    assert monitor.motion is Motion.STOPPED
    assert graph.machine.commands[-1] == [0.0] * 8
    assert graph.policy.observations == []


@pytest.mark.parametrize('sensor', ['joint_states', 'imu', 'odometry'])
def test_a_silent_sensor_leads_to_the_safe_command_and_is_reported(graph, sensor):
    graph.start()
    graph.run(3)
    graph.machine.silent = {sensor}
    graph.until(lambda: graph.policy.episodes)
    (episode,) = graph.policy.episodes
    assert episode.ended_by == EndedBy.SAFETY_STOP
    assert episode.termination_reason == f'nothing valid on {sensor} for {MAX_AGE_SEC:g} s'
    graph.until(lambda: graph.machine.commands[-1] == [0.0] * 8)
    graph.machine.silent = set()
    graph.until(lambda: graph.policy.transitions[-1].episode == 1)


def test_a_fall_ends_the_episode_and_it_goes_on_when_it_stands(graph):
    graph.start()
    graph.run(3)
    graph.machine.height = 0.1
    graph.until(lambda: graph.policy.episodes)
    (episode,) = graph.policy.episodes
    assert episode.ended_by == EndedBy.TERMINATION
    assert episode.termination_reason == 'base too low'
    graph.until(lambda: graph.policy.transitions[-1].terminated)
    assert graph.policy.transitions[-1].next_observation[0] == np.float32(0.1)
    graph.machine.height = HEIGHT
    graph.until(lambda: graph.policy.transitions[-1].episode == 1)


def test_the_emergency_stop_is_a_service(graph):
    graph.start()
    graph.run(3)
    graph.call(SetBool, 'emergency_stop', SetBool.Request(data=True))
    graph.until(lambda: graph.machine.commands[-1] == [0.0] * 8)
    graph.until(lambda: graph.policy.episodes)
    assert graph.policy.episodes[0].termination_reason == 'emergency stop'
    assert graph.robot._loop.phase is Phase.WAITING
    graph.call(SetBool, 'emergency_stop', SetBool.Request(data=False))
    graph.until(lambda: graph.policy.transitions[-1].episode == 1)


def test_a_policy_that_falls_silent_is_replaced_by_the_safe_command(graph):
    graph.start(action_max_age_sec=0.1)
    graph.run(3)
    graph.policy.action = None
    graph.until(lambda: graph.machine.commands[-1] == [0.0] * 8)
    assert graph.robot._loop.is_holding_safe_action
    graph.policy.action = [0.25] * 8
    graph.until(lambda: graph.machine.commands[-1] == [37.5] * 8)


def test_a_dry_run_computes_commands_and_sends_none(graph):
    graph.start(dry_run=True)
    graph.run(5)
    assert graph.machine.commands == []
    efforts = [dict(zip(m.name, m.effort, strict=True)) for m in graph.machine.preview]
    assert any(effort['hip_4'] == 75.0 for effort in efforts)


@pytest.mark.parametrize(
    ('given', 'message'), [('', 'is empty'), ('spot', "'spot' is not a file; shipped are ant_v5")]
)
def test_a_description_that_is_not_there(graph, given, message):
    with pytest.raises(ConfigurationError, match=message):
        graph.start(description=given)


def test_values_that_are_not_finite_stop_it(graph):
    graph.start()
    graph.run(3)
    graph.machine.height = float('nan')
    graph.until(lambda: graph.policy.episodes)
    assert graph.policy.episodes[0].termination_reason == 'odometry has a value that is not finite'
    graph.until(lambda: graph.machine.commands[-1] == [0.0] * 8)
    graph.machine.height = HEIGHT
    graph.until(lambda: graph.policy.transitions[-1].episode == 1)


def test_a_second_node_that_sends_commands_is_reported(graph):
    graph.start()
    graph.run(1)
    graph.machine.create_publisher(Float64MultiArray, 'commands', 10)
    errors = graph.robot
    graph.until(lambda: 'two nodes send commands to the robot' in errors._reported.reason)
    assert '/ant0/machine, /ant0/robot' in errors._reported.reason


def test_a_run_of_some_episodes_ends_the_node(graph):
    graph.start(episodes=1)
    graph.run(3)
    graph.machine.height = 2.0
    graph.until(graph.robot.finished.done)
    assert graph.robot.finished.result() == 0
    graph.until(lambda: graph.policy.episodes)
    assert graph.policy.episodes[0].termination_reason == 'base too high'


def test_a_stop_before_the_first_action_ends_nothing(graph):
    graph.start()
    graph.policy.action = None
    graph.until(lambda: graph.policy.observations)
    graph.machine.silent = {'imu'}
    graph.until(lambda: graph.robot._loop.phase is Phase.WAITING)
    graph.policy.action = [0.0] * 8
    graph.machine.silent = set()
    graph.until(lambda: graph.policy.transitions)
    assert graph.robot._loop.dropped_periods == 0 or graph.robot._loop.phase is Phase.RUNNING
