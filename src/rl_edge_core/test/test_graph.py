"""Incompatible peers are found when asked, and the executor no longer visits event handlers."""

import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo
from rclpy.type_hash import TypeHash

from rl_edge_core.ros import qos
from rl_edge_core.ros.graph import (
    ErrorLog,
    WaitingLog,
    incompatible_peers,
    namesake,
    peers_of_other_types,
    scout_name,
    stop_watching_qos_events,
)
from rl_edge_interfaces.msg import Action, Observation

BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)


@pytest.fixture
def node(ros_domain_id):
    context = Context()
    rclpy.init(context=context, domain_id=ros_domain_id)
    node = Node('probe', context=context, namespace='ant0')
    yield node
    node.destroy_node()
    rclpy.try_shutdown(context=context)


def spin_until(node, condition):
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    node.create_timer(0.01, lambda: None)
    while not condition():
        executor.spin_once()
    executor.remove_node(node)
    executor.shutdown()


def test_an_incompatible_subscriber_is_named(node):
    publisher = node.create_publisher(Observation, 'observation', BEST_EFFORT)
    stop_watching_qos_events(node)
    other = Node('picky', context=node.context, namespace='ant0')
    other.create_subscription(Observation, 'observation', lambda _: None, qos.observation())
    spin_until(node, lambda: node.count_subscribers('/ant0/observation'))
    spin_until(node, lambda: node.count_publishers('/ant0/observation'))
    (line,) = incompatible_peers(node, publisher)
    assert line.startswith('/ant0/picky exchanges nothing on /ant0/observation')
    assert 'reliab' in line.lower()
    other.destroy_node()


def test_a_compatible_subscriber_is_not_named(node):
    publisher = node.create_publisher(Observation, 'observation', qos.observation())
    other = Node('good', context=node.context, namespace='ant0')
    other.create_subscription(Observation, 'observation', lambda _: None, qos.observation())
    spin_until(node, lambda: node.count_subscribers('/ant0/observation'))
    spin_until(node, lambda: node.count_publishers('/ant0/observation'))
    assert incompatible_peers(node, publisher) == []
    other.destroy_node()


def test_an_incompatible_publisher_is_named_and_a_compatible_one_is_not(node):
    subscription = node.create_subscription(
        Observation, 'observation', lambda _: None, qos.observation()
    )
    other = Node('hasty', context=node.context)
    other.create_publisher(Observation, '/ant0/observation', BEST_EFFORT)
    good = Node('good', context=node.context)
    good.create_publisher(Observation, '/ant0/observation', qos.observation())
    spin_until(node, lambda: node.count_publishers('/ant0/observation') == 2)
    spin_until(node, lambda: node.count_subscribers('/ant0/observation'))
    (line,) = incompatible_peers(node, subscription)
    assert line.startswith('/hasty exchanges nothing')
    other.destroy_node()
    good.destroy_node()


def test_a_publisher_of_another_type_is_named(node, ros_domain_id):
    elsewhere = Context()  # one participant can't have two types on a topic
    rclpy.init(context=elsewhere, domain_id=ros_domain_id)
    subscription = node.create_subscription(
        Observation, 'observation', lambda _: None, qos.observation()
    )
    other = Node('mistaken', context=elsewhere, namespace='ant0')
    other.create_publisher(Action, 'observation', qos.observation())
    spin_until(node, lambda: node.count_publishers('/ant0/observation'))
    spin_until(node, lambda: node.count_subscribers('/ant0/observation'))
    (line,) = incompatible_peers(node, subscription)
    assert ' has rl_edge_interfaces/msg/Action on /ant0/observation' in line
    other.destroy_node()
    rclpy.try_shutdown(context=elsewhere)


def test_an_endpoint_built_from_another_version_of_the_type_is_named():
    def endpoint(name, first_byte):
        return TopicEndpointInfo(
            node_name=name,
            node_namespace='/ant0',
            topic_type='rl_edge_interfaces/msg/Action',
            topic_type_hash=TypeHash(version=1, value=bytes([first_byte, *range(31)])),
        )

    mine, same, other = endpoint('sim', 7), endpoint('good', 7), endpoint('policy', 8)

    (line,) = peers_of_other_types('/ant0/action', [mine], [mine, same, other])

    assert line.startswith('/ant0/policy has another version of rl_edge_interfaces/msg/Action')


def test_no_handler_of_qos_events_is_left(node):
    node.create_publisher(Observation, 'observation', qos.observation())
    node.create_subscription(Observation, 'other', lambda _: None, qos.observation())
    assert len(list(node.waitables)) >= 4
    stop_watching_qos_events(node)
    assert list(node.waitables) == []


class Talking:
    """A node without a graph, that keeps what is logged."""

    def __init__(self):
        self.lines = []
        self.context = self

    def get_logger(self):
        return self

    def warning(self, line):
        self.lines.append(line)

    def get_domain_id(self):
        return 42

    def get_namespace(self):
        return '/ant0'


@pytest.fixture
def waiting(monkeypatch):
    node = Talking()
    log = WaitingLog(node)
    clock = [1000.0]
    monkeypatch.setattr('rl_edge_core.ros.graph.time.monotonic', lambda: clock[0])

    def wait(seconds, what='no policy connected yet; waiting'):
        for _ in range(seconds):
            clock[0] += 1.0
            log.update(what, ['/ant0/observation', '/ant0/action'])
        return node.lines

    return wait


def test_waiting_is_silent_for_three_seconds_and_then_says_where_to_look(waiting, monkeypatch):
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    assert waiting(3) == []
    (line,) = waiting(2)
    assert line.startswith('no policy connected yet; waiting for 3 s on /ant0/observation, /ant0/')
    assert 'ROS_DOMAIN_ID (here 42) and namespace (here /ant0)' in line
    assert 'ROS_AUTOMATIC_DISCOVERY_RANGE is LOCALHOST, which finds nodes of this machine' in line


def test_waiting_is_said_ever_more_rarely_and_anew_after_it_was_over(waiting):
    assert len(waiting(3600)) <= 10
    before = len(waiting(5, ''))
    assert len(waiting(5)) == before + 1


def test_another_users_shared_memory_is_named_with_the_remedy(waiting, monkeypatch):
    monkeypatch.setattr('rl_edge_core.ros.graph._owners_of_shared_memory', lambda: ['anna'])
    (line,) = waiting(5)
    assert '/dev/shm has files of anna' in line
    assert 'FASTDDS_BUILTIN_TRANSPORTS=UDPv4 and ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET' in line


class Logger:
    def __init__(self):
        self.lines = []
        self.get_logger = lambda: self
        self.warning = self.lines.append


def test_an_error_that_lasts_is_said_once_and_one_that_goes_at_once_never():
    node = Logger()
    log = ErrorLog(node)
    for errors in ('', 'two sims', '', 'two policies', 'two policies', 'two policies', '', ''):
        log.update(errors)
    assert node.lines == ['two policies']
    for errors in ('two policies', 'two policies', 'two of both', 'two of both'):
        log.update(errors)
    assert node.lines == ['two policies', 'two policies', 'two of both']


def test_of_nodes_that_start_at_once_the_first_goes_on_and_none_beside_one_that_runs(node):
    def make(name):
        return Node(name, namespace='/ant0', context=node.context)

    first, second = make(scout_name('policy')), make(scout_name('policy'))
    assert namesake(first, 'policy') == ''
    assert 'another node /ant0/policy is running' in namesake(second, 'policy')
    running = make('policy')
    assert namesake(first, 'policy', is_there=True) == ''
    second.destroy_node()
    assert namesake(first, 'policy', is_there=True) == ''
    assert 'namespace:=ant1' in namesake(first, 'policy')  # as if it were another process's
    first.destroy_node()
    late = make(scout_name('policy'))
    assert 'another node /ant0/policy is running' in namesake(late, 'policy')
    running.destroy_node()
    late.destroy_node()
