"""`rl_edge topic` beside a node that publishes, in a domain of their own."""

import re
import threading

import pytest
import rclpy
import yaml
from rclpy.context import Context
from rclpy.node import Node
from std_msgs.msg import Float64MultiArray, String

from rl_edge_core.errors import ConfigurationError
from rl_edge_core.ros import qos, topics


@pytest.fixture
def robot(ros_domain_id):
    """A node that publishes joints 50 times per second, and its name once, transient local."""
    context = Context()
    rclpy.init(context=context, domain_id=ros_domain_id)
    node = Node('robot', context=context, namespace='ant0')
    name = node.create_publisher(String, 'name', qos.environment())
    name.publish(String(data='ant'))
    joints = node.create_publisher(Float64MultiArray, 'joints', qos.image())
    stop = threading.Event()

    def publish():
        while not stop.wait(0.02):
            joints.publish(Float64MultiArray(data=[0.5] * 70))

    thread = threading.Thread(target=publish)
    thread.start()
    yield node
    stop.set()
    thread.join()
    node.destroy_node()
    context.try_shutdown()


def test_topics_are_listed_with_types_and_ends(robot, capsys):
    assert topics.main(['list']) == 0
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}
    ends = ['1', 'publisher,', '0', 'subscriptions']
    assert rows['/ant0/joints'] == ['std_msgs/msg/Float64MultiArray', *ends]
    assert '/ant0/name' in rows


def test_the_last_message_of_a_transient_local_topic_is_printed_by_its_short_name(robot, capsys):
    assert topics.main(['echo', 'name', '--count', '1']) == 0
    assert capsys.readouterr().out == 'data: ant\n---\n'


def test_messages_of_best_effort_topics_come_too_and_long_arrays_are_cut(robot, capsys):
    assert topics.main(['echo', '/ant0/joints', '--count', '2']) == 0
    first, second = list(yaml.safe_load_all(capsys.readouterr().out))[:2]
    assert first == second
    assert first['data'] == [0.5] * topics.SHOWN + ['... 70 in all']


def test_the_rate_is_that_of_what_arrives(robot, capsys):
    assert topics.main(['hz', 'joints', '--count', '10']) == 0
    assert '(mean of 9:' in capsys.readouterr().out


def test_a_topic_that_is_not_there_is_named_with_one_like_it(robot, monkeypatch, capsys):
    monkeypatch.setattr(topics, 'SEARCH_SEC', 2.0)
    meant = r"nobody publishes 'joint' \(did you mean /ant0/joints\?\)"
    with pytest.raises(ConfigurationError, match=meant + '; `rl_edge topic list`'):
        topics.main(['echo', 'joint'])
    assert re.match(meant + ': waiting for 2 s\n', capsys.readouterr().err)


def test_a_topic_without_a_publisher_is_not_waited_for_without_end(robot, monkeypatch):
    monkeypatch.setattr(topics, 'SEARCH_SEC', 2.0)
    robot.create_subscription(String, 'command', lambda _: None, 1)
    with pytest.raises(ConfigurationError, match='nobody publishes /ant0/command; '):
        topics.main(['echo', 'command'])
