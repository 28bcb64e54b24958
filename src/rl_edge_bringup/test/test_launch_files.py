"""The launch files, with real launch and ros2 launch; both come with a ROS 2 installation."""

import os
import re
import shutil
import signal
import subprocess

import pytest

pytest.importorskip('launch_ros', reason='launch and launch_ros are not on PyPI')

from launch.actions import DeclareLaunchArgument
from launch.launch_description_sources import get_launch_description_from_python_launch_file
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import GetParameters
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python
from rclpy.qos import ReliabilityPolicy
from rosbags.rosbag2 import Reader

from rl_edge_bringup.models import results_folder, share_folder
from rl_edge_bringup.systems import SYSTEMS, UNTRAINED
from rl_edge_compress.untrained import ensure_untrained

pytestmark = pytest.mark.timeout(300)
PENDULUM = 'environment_id:=Pendulum-v1'
needs_ros2_launch = pytest.mark.skipif(
    shutil.which('ros2') is None, reason='ros2 launch is not installed'
)


def launch(*words):
    command = ['ros2', 'launch', '--noninteractive', 'rl_edge_bringup', 'sim.launch.py', *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)


@pytest.fixture
def model():
    return f'model:={ensure_untrained("Pendulum-v1", "", results_folder() / UNTRAINED)}'


@pytest.mark.parametrize('system', SYSTEMS, ids=lambda system: system.name)
def test_a_launch_file_declares_the_arguments_of_its_system(system):
    path = share_folder() / 'launch' / f'{system.name}.launch.py'
    description = get_launch_description_from_python_launch_file(str(path))

    declared = {
        action.name: action
        for action in description.entities
        if isinstance(action, DeclareLaunchArgument)
    }

    assert list(declared) == [argument.name for argument in system.arguments]
    for argument in system.arguments:
        (default,) = declared[argument.name].default_value or ('',)
        assert getattr(default, 'text', default) == argument.default_text
        assert declared[argument.name].choices == (list(argument.choices) or None)


@needs_ros2_launch
def test_ros2_launch_runs_and_records_the_closed_loop_to_its_end(ros_domain_id, tmp_path, model):
    done = launch(PENDULUM, model, 'episodes:=1', 'record:=true', f'output_folder:={tmp_path}')

    assert done.returncode == 0, done.stdout + done.stderr
    assert 'sim has finished' in done.stdout + done.stderr
    with Reader(tmp_path / 'bag') as bag:
        topics = [connection.topic for connection, _, _ in bag.messages()]
    assert topics.count('/ant0/transition') == 200


@needs_ros2_launch
@pytest.mark.parametrize(
    ('word', 'message'),
    [
        ('epsodes:=3', "unknown argument 'epsodes' (did you mean episodes?); valid are"),
        ('episodes:=-1', "episodes is '-1', must be a whole number, 0 or more"),
        ('namespace:=ant-0', "namespace is 'ant-0'"),
    ],
)
def test_ros2_launch_refuses_what_is_not_valid(ros_domain_id, word, message):
    done = launch(word)

    assert done.returncode == 1
    assert message in done.stdout + done.stderr
    assert 'process started' not in done.stdout + done.stderr


@needs_ros2_launch
def test_ros2_launch_ends_with_the_name_and_exit_code_of_a_node_that_died(ros_domain_id):
    command = ['ros2', 'launch', '--noninteractive', 'rl_edge_bringup', 'desktop.launch.py']
    words = [PENDULUM, 'first_action_timeout_sec:=1']
    done = subprocess.run(
        [*command, *words], capture_output=True, text=True, timeout=280, check=False
    )

    assert done.returncode == 1
    assert re.search(r'sim \(pid \d+\) died with exit code 1', done.stdout + done.stderr)


INCLUDES = {
    '.py': """
from launch import LaunchDescription
from launch.actions import GroupAction, IncludeLaunchDescription
from launch_ros.actions import PushRosNamespace, SetParameter, SetRemap


def included(namespace):
    arguments = {'namespace': namespace, 'model': '@model@', 'qos': 'lossy'}
    return IncludeLaunchDescription('@edge@', launch_arguments=arguments.items())


def generate_launch_description():
    group = [
        PushRosNamespace('fleet'),
        SetParameter('status_period_sec', 0.5),
        SetRemap('observation', 'seen'),
        included('a'),
    ]
    return LaunchDescription([GroupAction(group), included('b')])
""",
    '.xml': """
<launch>
  <group>
    <push_ros_namespace namespace="fleet"/>
    <set_parameter name="status_period_sec" value="0.5"/>
    <set_remap from="observation" to="seen"/>
    <include file="@edge@">
      <arg name="namespace" value="a"/>
      <arg name="model" value="@model@"/>
      <arg name="qos" value="lossy"/>
    </include>
  </group>
  <include file="@edge@">
    <arg name="namespace" value="b"/>
    <arg name="model" value="@model@"/>
    <arg name="qos" value="lossy"/>
  </include>
</launch>
""",
    '.yaml': """
launch:
  - group:
      - push_ros_namespace: {namespace: fleet}
      - set_parameter: {name: status_period_sec, value: '0.5'}
      - set_remap: {from: observation, to: seen}
      - include:
          file: '@edge@'
          arg:
            - {name: namespace, value: a}
            - {name: model, value: '@model@'}
            - {name: qos, value: lossy}
  - include:
      file: '@edge@'
      arg:
        - {name: namespace, value: b}
        - {name: model, value: '@model@'}
        - {name: qos, value: lossy}
""",
}


class Launched:
    """`ros2 launch` with a launch file, until the block is left, and the graph that it makes."""

    def __init__(self, domain_id, folder, *words):
        self._words = words
        self._folder = folder
        self._context = Context()
        self._context.init(args=[], domain_id=domain_id)
        self.node = Node('watcher', context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self.exit_code = None

    def __enter__(self):
        self._output = (self._folder / 'launch.log').open('w+')
        command = ['ros2', 'launch', '--noninteractive', *map(str, self._words)]
        environment = {**os.environ, 'ROS_HOME': str(self._folder / 'home')}
        environment.pop('ROS_LOG_DIR', None)
        self.process = subprocess.Popen(
            command,
            cwd=self._folder,
            env=environment,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.exit_code = self.process.wait(60)
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()

    @property
    def text(self):
        return (self._folder / 'launch.log').read_text()

    def wait_for(self, condition):
        while not condition():
            assert self.process.poll() is None, self.text
            self._executor.spin_once(timeout_sec=0.05)

    def wait_for_nodes(self, *names):
        self.wait_for(
            lambda: (
                {f'{namespace.rstrip("/")}/{name}' for name, namespace in self.names()}
                >= set(names)
            )
        )

    def names(self):
        return self.node.get_node_names_and_namespaces()

    def answer(self, service_type, name, request):
        client = self.node.create_client(service_type, name)
        self.wait_for(client.service_is_ready)
        future = client.call_async(request)
        self.wait_for(future.done)
        return future.result()

    def parameter(self, node, name):
        request = GetParameters.Request(names=[name])
        (value,) = self.answer(GetParameters, f'{node}/get_parameters', request).values
        return parameter_value_to_python(value)


def installed_launch_file(name):
    return share_folder() / 'launch' / f'{name}.launch.py'


@needs_ros2_launch
@pytest.mark.parametrize('suffix', INCLUDES)
def test_two_includes_pushed_namespace_parameter_and_remapping_work_as_for_any_launch_file(
    ros_domain_id, tmp_path, model, suffix
):
    file = tmp_path / f'both.launch{suffix}'
    text = INCLUDES[suffix].replace('@edge@', str(installed_launch_file('edge')))
    file.write_text(text.replace('@model@', model.removeprefix('model:=')))

    with Launched(ros_domain_id, tmp_path, file) as run:
        run.wait_for_nodes('/fleet/a/policy', '/b/policy')
        assert run.parameter('/fleet/a/policy', 'status_period_sec') == 0.5
        assert run.parameter('/b/policy', 'status_period_sec') == 1.0
        for policy in ('/fleet/a/policy', '/b/policy'):
            assert run.parameter(policy, 'model') == model.removeprefix('model:=')
        for topic in ('/fleet/a/seen', '/b/observation'):
            run.wait_for(lambda topic=topic: run.node.get_subscriptions_info_by_topic(topic))
            (info,) = run.node.get_subscriptions_info_by_topic(topic)
            assert info.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
        assert not run.node.get_subscriptions_info_by_topic('/fleet/a/observation')

    assert run.exit_code == 0, run.text
    assert 'there are now at least' not in run.text
    folders = list((tmp_path / 'home' / 'log' / 'rl_edge').iterdir())
    assert len(folders) == 2  # each include has its own
    assert {path.name for path in tmp_path.iterdir()} == {'home', 'launch.log', file.name}


@needs_ros2_launch
def test_a_launch_file_that_includes_ours_has_arguments_of_its_own(ros_domain_id, tmp_path, model):
    """One of them is called output, as in many launch files: it is not an argument of ours."""
    parent = tmp_path / 'parent.launch.py'
    parent.write_text(
        f"""
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.substitutions import LaunchConfiguration


def generate_launch_description():
    arguments = {{'episodes': LaunchConfiguration('rounds')}}
    file = {str(installed_launch_file('sim'))!r}
    return LaunchDescription(
        [
            DeclareLaunchArgument('rounds'),
            DeclareLaunchArgument('output', default_value='screen'),
            IncludeLaunchDescription(file, launch_arguments=arguments.items()),
        ]
    )
"""
    )

    with Launched(ros_domain_id, tmp_path, parent, 'rounds:=1', PENDULUM, model) as run:
        run.process.wait(200)

    assert run.exit_code == 0, run.text
    assert 'sim has finished' in run.text
    assert {path.name for path in tmp_path.iterdir()} == {'home', 'launch.log', parent.name}


@needs_ros2_launch
def test_arguments_of_an_including_file_reach_ours_by_name_unless_it_keeps_them(
    ros_domain_id, tmp_path, model
):
    """As for any launch file; what reached ours is said in its first lines."""
    parent = tmp_path / 'parent.launch.py'
    parent.write_text(
        f"""
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, GroupAction, IncludeLaunchDescription

FILE = {str(installed_launch_file('sim'))!r}
GIVEN = {{'episodes': '1', 'environment_id': 'Pendulum-v1', 'model': {model.split(':=')[1]!r}}}


def included(namespace):
    arguments = {{**GIVEN, 'namespace': namespace, 'on_node_exit': 'ignore'}}
    return IncludeLaunchDescription(FILE, launch_arguments=arguments.items())


def generate_launch_description():
    return LaunchDescription(
        [
            DeclareLaunchArgument('seed', default_value='7'),
            GroupAction([included('open')]),
            GroupAction([included('closed')], scoped=True, forwarding=False),
        ]
    )
"""
    )

    with Launched(ros_domain_id, tmp_path, parent) as run:
        run.wait_for(lambda: run.text.count('sim has finished') == 2)

    said = re.findall(r'arguments: (.*)', run.text)
    assert ['seed:=7' in line.split() for line in said] == [True, False]
    assert all('episodes:=1' in line.split() for line in said)
    found = re.findall(r'episode 0 \(seed (\d)\)', run.text)
    assert sorted(found) == ['0', '7']


@needs_ros2_launch
def test_a_policy_that_is_told_to_shut_down_ends_the_launch_cleanly(
    ros_domain_id, tmp_path, model
):
    words = ('rl_edge_bringup', 'edge.launch.py', model, 'namespace:=ant0')
    with Launched(ros_domain_id, tmp_path, *words) as run:
        run.wait_for_nodes('/ant0/policy')
        request = ChangeState.Request()
        request.transition.label = 'shutdown'  # as `ros2 lifecycle set /ant0/policy shutdown`
        client = run.node.create_client(ChangeState, '/ant0/policy/change_state')
        run.wait_for(client.service_is_ready)
        client.call_async(request)
        run.process.wait(60)

    assert run.exit_code == 0, run.text
    assert 'policy (pid' in run.text
    assert 'Traceback' not in run.text
    assert '[ERROR]' not in run.text


@needs_ros2_launch
def test_a_launch_goes_on_where_exits_are_ignored(ros_domain_id, tmp_path, model):
    own = (PENDULUM, model, 'episodes:=1', 'on_node_exit:=ignore')
    with Launched(ros_domain_id, tmp_path, 'rl_edge_bringup', 'sim.launch.py', *own) as run:
        run.wait_for(lambda: 'sim has finished' in run.text)
        names = [f'{namespace}/{name}' for name, namespace in run.names()]
        assert '/ant0/policy' in names
        assert run.process.poll() is None

    assert run.exit_code == 0, run.text


@needs_ros2_launch
def test_a_policy_that_is_started_again_keeps_its_name(ros_domain_id, tmp_path, model):
    words = ('rl_edge_bringup', 'edge.launch.py', model, 'on_node_exit:=respawn')
    with Launched(ros_domain_id, tmp_path, *words) as run:
        run.wait_for_nodes('/ant0/policy')
        (pid,) = re.findall(r'\[policy-1\]: process started with pid \[(\d+)\]', run.text)
        os.kill(int(pid), signal.SIGKILL)
        run.wait_for(lambda: run.text.count('[policy-1]: process started with pid') == 2)

    assert 'was killed by SIGKILL (exit code 137); restart 1 of 5 in 1 s' in run.text
    assert 'there are now at least' not in run.text


@needs_ros2_launch
def test_the_description_of_a_launch_file_names_its_nodes():
    command = ['ros2', 'launch', '--print-description', 'rl_edge_bringup', 'sim.launch.py']
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)

    assert 'Node(package=rl_edge_sim, executable=sim_node, name=/ant0/sim)' in done.stdout
    assert 'Node(package=rl_edge_policy, executable=policy_node, name=/ant0/policy)' in done.stdout
