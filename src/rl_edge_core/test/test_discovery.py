"""The Fast DDS profile of our nodes: used unless the user has one, and accepted by Fast DDS."""

import os
import subprocess
import sys

import pytest

from rl_edge_core.ros.start import announce_often, profile, profiles_variable

ONE_NODE = """
import rclpy
from rclpy.node import Node
rclpy.init()
node = Node('alone')
node.destroy_node()
rclpy.shutdown()
"""


def test_nodes_announce_often_where_the_user_has_no_profiles(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    variables = {}

    announce_often(variables)

    assert variables == {'FASTRTPS_DEFAULT_PROFILES_FILE': str(profile({}))}


@pytest.mark.parametrize(
    ('distribution', 'name', 'file'),
    [
        ('jazzy', 'FASTRTPS_DEFAULT_PROFILES_FILE', 'fast_dds.xml'),
        ('kilted', 'FASTDDS_DEFAULT_PROFILES_FILE', 'fast_dds_3.xml'),
    ],
)
def test_variable_and_profile_are_those_that_the_distribution_reads(
    tmp_path, monkeypatch, distribution, name, file
):
    monkeypatch.chdir(tmp_path)
    variables = {'ROS_DISTRO': distribution}

    announce_often(variables)

    assert variables == {'ROS_DISTRO': distribution, name: str(profile({}).with_name(file))}
    assert profile(variables).is_file()


@pytest.mark.parametrize(
    'name', ['FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE']
)
def test_profiles_of_the_user_are_left_alone(name):
    variables = {name: '/etc/mine.xml'}

    announce_often(variables)

    assert variables == {name: '/etc/mine.xml'}


def test_profiles_in_the_current_folder_are_left_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'DEFAULT_FASTRTPS_PROFILES.xml').write_text('')
    variables = {}

    announce_often(variables)

    assert variables == {}


def test_fast_dds_accepts_the_profile(ros_domain_id):
    done = subprocess.run(
        [sys.executable, '-c', ONE_NODE],
        env={**os.environ, profiles_variable(): str(profile())},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert 'XML' not in done.stdout + done.stderr


@pytest.mark.parametrize('part', ['leaseAnnouncement', 'heartbeat'])
def test_fast_dds_would_say_what_it_does_not_accept(ros_domain_id, tmp_path, part):
    wrong = tmp_path / 'wrong.xml'
    wrong.write_text(profile().read_text().replace(part, f'{part}s'))

    done = subprocess.run(
        [sys.executable, '-c', ONE_NODE],
        env={**os.environ, profiles_variable(): str(wrong)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert 'XML' in done.stdout + done.stderr
