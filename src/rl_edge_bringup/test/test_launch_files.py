"""The launch files, with real launch and ros2 launch; both come with a ROS 2 installation."""

import re
import shutil
import subprocess

import pytest

pytest.importorskip('launch_ros', reason='launch and launch_ros are not on PyPI')

from launch.actions import DeclareLaunchArgument
from launch.launch_description_sources import get_launch_description_from_python_launch_file
from rosbags.rosbag2 import Reader

from rl_edge_bringup.locations import results_folder, share_folder
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
    done = launch(PENDULUM, model, 'episodes:=1', 'record:=true', f'output:={tmp_path}')

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


PARENT = """
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.substitutions import LaunchConfiguration


def generate_launch_description():
    return LaunchDescription(
        [
            DeclareLaunchArgument('rounds'),
            IncludeLaunchDescription(
                {included!r},
                launch_arguments={{'episodes': LaunchConfiguration('rounds')}}.items(),
            ),
        ]
    )
"""


@needs_ros2_launch
def test_a_launch_file_that_includes_ours_has_arguments_of_its_own(ros_domain_id, tmp_path, model):
    parent = tmp_path / 'parent.launch.py'
    parent.write_text(PARENT.format(included=str(share_folder() / 'launch' / 'sim.launch.py')))
    command = ['ros2', 'launch', '--noninteractive', str(parent), 'rounds:=1', PENDULUM, model]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert 'sim has finished' in done.stdout + done.stderr
