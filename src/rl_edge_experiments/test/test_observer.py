"""The observer while what it lends comes and goes."""

import threading

import pytest
from rclpy.context import Context
from rclpy.exceptions import InvalidTopicNameException
from rclpy.node import Node
from std_srvs.srv import Trigger

from rl_edge_core.ros import qos
from rl_edge_experiments.observer import Observer
from rl_edge_interfaces.msg import EpisodeSummary

ROUNDS = 300


@pytest.fixture
def busy_robot(ros_domain_id):
    """A robot whose episodes end without a pause."""
    context = Context()
    context.init(args=[], domain_id=ros_domain_id)
    node = Node('sim', namespace='robot', context=context)
    publisher = node.create_publisher(EpisodeSummary, 'episode', qos.episode())
    ending = threading.Event()

    def run():
        while not ending.wait(0.001):
            publisher.publish(EpisodeSummary())

    thread = threading.Thread(target=run)
    thread.start()
    yield
    ending.set()
    thread.join()
    node.destroy_node()
    context.try_shutdown()


@pytest.fixture
def observer(ros_domain_id):
    with Observer('robot', domain_id=ros_domain_id) as observer:
        yield observer


def test_it_hears_on_while_subscriptions_come_and_go(busy_robot, observer):
    observer.wait_for(lambda: observer.episodes)
    heard = []
    for _ in range(ROUNDS):
        with observer.subscribed(EpisodeSummary, 'episode', heard.append, qos.episode()):
            pass
        with observer.publisher(EpisodeSummary, 'other', 1), observer.client(Trigger, 'none'):
            pass
    known = len(observer.episodes)
    assert observer.wait_for(lambda: len(observer.episodes) > known)


def test_a_subscription_lasts_as_long_as_its_block(busy_robot, observer):
    heard = []
    with observer.subscribed(EpisodeSummary, 'episode', heard.append, qos.episode()):
        observer.wait_for(lambda: heard)
    count, known = len(heard), len(observer.episodes)
    observer.wait_for(lambda: len(observer.episodes) > known + 5)
    assert len(heard) == count


def test_what_cannot_be_made_is_said_to_who_asked(observer):
    with (
        pytest.raises(InvalidTopicNameException, match='not-a-topic'),
        observer.publisher(EpisodeSummary, 'not-a-topic!', 1),
    ):
        pass


def test_an_observer_that_has_ended_says_so(observer):
    observer.close()
    with pytest.raises(RuntimeError, match='has ended'), observer.client(Trigger, 'none'):
        pass
