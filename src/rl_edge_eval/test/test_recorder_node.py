"""The recorder as a real process in a real graph."""

import os
import resource
import signal
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import rclpy
from geometry_msgs.msg import Twist
from loop_messages import SPEC
from rclpy.context import Context
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosbags.highlevel import AnyReader
from std_msgs.msg import String

from rl_edge_core.recording import select_topics
from rl_edge_core.ros import qos
from rl_edge_core.ros.conversions import to_environment
from rl_edge_eval.bag.bag import Bag
from rl_edge_eval.metrics_of_bag import metrics_of_bag
from rl_edge_eval.ros.recorded_topics import RecordedTopics
from rl_edge_interfaces.msg import Environment, EpisodeSummary, Transition

pytestmark = pytest.mark.system

PATIENCE_SEC = 60.0
STEPS = 60
RUN, PROBE_RUN = 1, 2


@pytest.fixture
def graph(ros_domain_id: int) -> Iterator[Node]:
    context = Context()
    rclpy.init(context=context, domain_id=ros_domain_id)
    node = Node('publisher', namespace='/ant0', context=context)
    yield node
    node.destroy_node()
    context.try_shutdown()


@contextmanager
def recorder(output: Path, *parameters: str, **kwargs) -> Iterator[subprocess.Popen]:
    """Run the recorder; kill it when the block ends, unless it has ended by then."""
    arguments = [word for name in (f'output:={output}', *parameters) for word in ('-p', name)]
    command = [sys.executable, '-m', 'rl_edge_eval.recorder_node', '--ros-args']
    names = ['-r', '__ns:=/ant0', '-r', '__node:=recorder']
    process = subprocess.Popen(
        [*command, *names, *arguments], stderr=subprocess.PIPE, text=True, **kwargs
    )
    with ExitStack() as stack:
        stack.callback(process.wait)
        stack.callback(process.kill)
        yield process


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SEC
    while not condition():
        assert time.monotonic() < deadline, f'timed out waiting for {what}'
        time.sleep(0.02)


def publish_steps(publisher: Publisher, first: int, last: int) -> None:
    for step in range(first, last):
        publisher.publish(
            Transition(run_id=RUN, step=step, observation=array('f', [1.0] * 105), reward=1.0)
        )


def connect(publisher: Publisher, probe: Any, bag: Path) -> None:
    """Publish ``probe`` until it is in the bag.

    That a publisher has a subscription does not mean that the subscription knows the publisher
    as well; until then it may miss what is published.
    """
    topic = publisher.topic_name

    def is_recorded() -> bool:
        publisher.publish(probe)
        return topic in topics_in(bag)

    wait_until(is_recorded, f'{topic} in {bag}')


def transitions_of(node: Node, bag: Path, topic: str = 'transition') -> Publisher:
    """Return a publisher whose transitions reach the bag; it holds some of another run."""
    publisher = node.create_publisher(Transition, topic, qos.transition())
    connect(publisher, Transition(run_id=PROBE_RUN), bag)
    return publisher


def recorded_steps(bag: Path) -> int:
    """Return how many steps of the run another process can read now."""
    return sum(
        episode.recorded_steps
        for robot in metrics_of_bag(bag).robots
        for episode in robot.episodes
        if episode.run_id == RUN
    )


def topics_in(bag: Path) -> set[str]:
    if not list(bag.glob('*_0.*')):
        return set()
    return {message.topic.name for message in Bag(bag)}


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_what_a_killed_recorder_leaves(tmp_path: Path, graph: Node, storage: str) -> None:
    bag = tmp_path / 'bag'
    with recorder(bag, f'storage:={storage}') as process:
        publisher = transitions_of(graph, bag)
        publish_steps(publisher, 0, STEPS)
        # Flushed without being asked to: another process sees them while it is recording.
        wait_until(lambda: recorded_steps(bag) == STEPS, 'a flush')
        publish_steps(publisher, STEPS, 2 * STEPS)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert not (bag / 'metadata.yaml').exists()
    run = metrics_of_bag(bag)
    (robot,) = run.robots
    assert STEPS <= recorded_steps(bag) <= 2 * STEPS
    assert robot.lost_transitions == 0
    assert any('metadata.yaml is missing' in note for note in run.notes)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_clean_end_records_the_last_words(tmp_path: Path, graph: Node, number: int) -> None:
    bag = tmp_path / 'bag'
    environment = graph.create_publisher(
        type(message := to_environment(SPEC, run_id=1, reward_term_names=['a'], mode='lockstep')),
        'environment',
        qos.environment(),
    )
    environment.publish(message)  # transient local: published before there is a recorder
    with recorder(bag, 'linger_sec:=60.0') as process:
        publisher = transitions_of(graph, bag)
        episodes = graph.create_publisher(EpisodeSummary, 'episode', qos.episode())
        connect(episodes, EpisodeSummary(run_id=PROBE_RUN), bag)
        process.send_signal(number)
        # A simulator that got the same signal publishes its open episode now, then leaves.
        publish_steps(publisher, 0, STEPS)
        episodes.publish(EpisodeSummary(run_id=RUN, length=STEPS, ended_by=4))
        for one in (publisher, episodes, environment):
            assert one.wait_for_all_acked(rclpy.duration.Duration(seconds=PATIENCE_SEC))
            graph.destroy_publisher(one)
        assert process.wait(PATIENCE_SEC) == 0
    with AnyReader([bag]) as reader:
        counts = {topic.topic: topic.msgcount for topic in reader.connections}
    assert counts['/ant0/environment'] == 1
    (robot,) = metrics_of_bag(bag).robots
    (episode,) = (episode for episode in robot.episodes if episode.run_id == RUN)
    assert (episode.ended_by, episode.recorded_steps) == ('shutdown', STEPS)
    assert (robot.lost_transitions, robot.environment_id) == (0, 'Test-v0')


def test_all_topics_and_publishers_that_offer_less(tmp_path: Path, graph: Node) -> None:
    bag = tmp_path / 'bag'
    best_effort = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
    with recorder(bag, 'record_topics:=all') as process:
        wait_until(lambda: bool(list(bag.glob('*.mcap'))), 'the bag')
        publishers = [
            graph.create_publisher(Transition, 'transition', best_effort),
            graph.create_publisher(String, '/chatter', 10),
            graph.create_publisher(String, '_hidden', 10),
        ]
        publishers[2].publish(String(data='nobody hears this'))
        connect(publishers[0], Transition(run_id=RUN), bag)
        connect(publishers[1], String(data='hello'), bag)
        process.send_signal(signal.SIGINT)
        for publisher in publishers:
            graph.destroy_publisher(publisher)
        assert process.wait(PATIENCE_SEC) == 0
    assert '/ant0/_hidden' not in topics_in(bag)
    with AnyReader([bag]) as reader:
        texts = [
            reader.deserialize(raw, connection.msgtype).data
            for connection, _, raw in reader.messages()
            if connection.topic == '/chatter'
        ]
    assert set(texts) == {'hello'}


def without_definition(prefix: Path, package: str) -> dict[str, str]:
    """Return variables with which ``package`` is installed, but none of its .msg files."""
    index = prefix / 'share' / 'ament_index' / 'resource_index' / 'packages'
    index.mkdir(parents=True)
    (index / package).touch()
    (prefix / 'share' / package / 'msg').mkdir(parents=True)
    return {**os.environ, 'AMENT_PREFIX_PATH': f'{prefix}:{os.environ["AMENT_PREFIX_PATH"]}'}


def test_a_type_without_a_msg_file_is_refused_and_the_others_are_recorded(
    tmp_path: Path, graph: Node
) -> None:
    bag = tmp_path / 'bag'
    variables = without_definition(tmp_path / 'prefix', 'std_msgs')
    # Header.msg is missing with the rest of std_msgs, so that nothing with a header is recorded.
    with recorder(bag, 'record_topics:=all', env=variables) as process:
        wait_until(lambda: bool(list(bag.glob('*.mcap'))), 'the bag')
        chatter = graph.create_publisher(String, '/chatter', 10)
        twist = graph.create_publisher(Twist, '/cmd_vel', 10)
        connect(twist, Twist(), bag)
        process.send_signal(signal.SIGINT)
        graph.destroy_publisher(chatter)
        graph.destroy_publisher(twist)
        _, error = process.communicate(timeout=PATIENCE_SEC)
        assert process.returncode == 0
    assert '/chatter is not recorded: std_msgs/msg/String cannot be recorded' in error
    assert '/cmd_vel' in topics_in(bag)
    assert '/chatter' not in topics_in(bag)


class NodeThatSeesForeigners(Node):
    """A node in whose graph other DDS programs publish, too."""

    FOREIGN: ClassVar = {
        '/square': ['ShapeType'],
        '/typeless': [''],
        '/action': ['a/action/B_FeedbackMessage'],
        '/event': ['std_srvs/srv/SetBool_Event'],
    }

    def get_topic_names_and_types(self, *_: Any) -> list[tuple[str, list[str]]]:
        return [*self.FOREIGN.items(), *super().get_topic_names_and_types()]

    def get_publishers_info_by_topic(self, name: str, *_: Any) -> list[Any]:
        if name in self.FOREIGN:
            return [SimpleNamespace(qos_profile=QoSProfile(depth=1))]
        return super().get_publishers_info_by_topic(name)


def test_topics_without_a_ros_type_are_refused(graph: Node) -> None:
    node = NodeThatSeesForeigners('listener', context=graph.context)
    publisher = graph.create_publisher(String, '/chatter', 10)
    topics = RecordedTopics(node, select_topics('all', ['/']))

    def discovered() -> bool:
        topics.discover()
        return '/chatter' in topics.names

    wait_until(discovered, 'the topic of ROS')
    assert not set(topics.names) & set(NodeThatSeesForeigners.FOREIGN)
    assert publisher.topic_name in topics.names
    node.destroy_node()


def test_bag_is_split_while_it_is_recorded(tmp_path: Path, graph: Node) -> None:
    bag = tmp_path / 'bag'
    settings = ('max_file_duration_sec:=0.3', 'flush_period_sec:=0.05')
    environment = graph.create_publisher(Environment, 'environment', qos.environment())
    environment.publish(Environment(environment_id='Test-v0'))
    with recorder(bag, *settings) as process:
        publisher = transitions_of(graph, bag)
        step = 0
        while len(list(bag.glob('*.mcap'))) < 4:
            publish_steps(publisher, step, step + 1)
            step += 1
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert publisher.wait_for_all_acked(rclpy.duration.Duration(seconds=PATIENCE_SEC))
        graph.destroy_publisher(publisher)
        graph.destroy_publisher(environment)
        assert process.wait(PATIENCE_SEC) == 0
    assert recorded_steps(bag) == step
    run = metrics_of_bag(bag)
    assert run.robot.lost_transitions == 0
    last = max(bag.glob('*.mcap'), key=lambda path: int(path.stem.rpartition('_')[2]))
    assert '/ant0/environment' in {message.topic.name for message in Bag(last)}


def test_several_robots(tmp_path: Path, graph: Node) -> None:
    bag = tmp_path / 'bag'
    with recorder(bag, "namespaces:='/ant0, /ant1'") as process:
        for name in ('ant0', 'ant1'):
            publisher = transitions_of(graph, bag, f'/{name}/transition')
            publish_steps(publisher, 0, 5)
            assert publisher.wait_for_all_acked(rclpy.duration.Duration(seconds=PATIENCE_SEC))
            graph.destroy_publisher(publisher)
        wait_until(lambda: recorded_steps(bag) == 10, 'a flush')
        scheduling = os.sched_getscheduler(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_SEC) == 0
    ours = os.sched_getscheduler(0)
    assert scheduling == (os.SCHED_BATCH if ours == os.SCHED_OTHER else ours)
    robots = {
        robot.namespace: [e.recorded_steps for e in robot.episodes if e.run_id == RUN]
        for robot in metrics_of_bag(bag).robots
    }
    assert robots == {'/ant0': [5], '/ant1': [5]}


def test_full_disk_ends_the_recorder_with_a_reason(tmp_path: Path, graph: Node) -> None:
    bag = tmp_path / 'bag'

    def small_disk() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    with recorder(bag, preexec_fn=small_disk) as process:
        publisher = transitions_of(graph, bag)
        publish_steps(publisher, 0, 20)
        wait_until(lambda: recorded_steps(bag) == 20, 'a flush')
        publish_steps(publisher, 20, 400)
        _, error = process.communicate(timeout=PATIENCE_SEC)
        assert process.returncode == 1
    assert f'{bag} cannot be written' in error
    (robot,) = metrics_of_bag(bag).robots
    assert 20 <= recorded_steps(bag) < 400
    assert robot.lost_transitions == 0


@pytest.mark.parametrize(
    ('parameters', 'words'),
    [
        (('storage:=tape',), 'must be one of mcap, sqlite3'),
        (('record_topics:=a$b',), 'is not a topic name'),
        (('flush_period_sec:=5.0',), 'flush_period_sec'),
    ],
)
def test_parameters_that_are_not_valid(
    tmp_path: Path, ros_domain_id: int, parameters: tuple[str, ...], words: str
) -> None:
    with recorder(tmp_path / 'bag', *parameters) as process:
        _, error = process.communicate(timeout=PATIENCE_SEC)
        assert process.returncode == 1
    assert words in error
    assert not (tmp_path / 'bag').exists()


def test_folder_that_exists(tmp_path: Path, ros_domain_id: int) -> None:
    with recorder(tmp_path) as process:
        _, error = process.communicate(timeout=PATIENCE_SEC)
        assert process.returncode == 1
    assert 'never overwritten' in error


def test_folder_that_exists_is_passed_over_where_that_is_asked_for(
    tmp_path: Path, ros_domain_id: int
) -> None:
    (tmp_path / 'bag').mkdir()
    with recorder(tmp_path / 'bag', 'if_exists:=number') as process:
        wait_until((tmp_path / 'bag_2' / 'bag_2_0.mcap').exists, 'the second bag')
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_SEC)
    assert (tmp_path / 'bag_2' / 'metadata.yaml').exists()
    assert not list((tmp_path / 'bag').iterdir())
