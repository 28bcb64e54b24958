"""The train node with robots that misbehave and processes that are killed, on its own graph."""

import itertools
import os
import signal
import subprocess
import sys
from array import array
from pathlib import Path

import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool

from rl_edge_core.episode_result import EndedBy
from rl_edge_core.errors import ConfigurationError
from rl_edge_core.ros import qos
from rl_edge_core.ros.conversions import to_environment
from rl_edge_interfaces.msg import Environment, EpisodeSummary, TrainingMetrics, Transition
from rl_edge_interfaces.srv import SaveCheckpoint
from rl_edge_train import checkpoint
from rl_edge_train.ros import robot_link
from rl_edge_train.train_node import PAUSE_MARKER, TrainNode

# Networks are compiled, and TensorFlow is started once more to check what is exported.
pytestmark = pytest.mark.timeout(900)

PRESET = """
algorithm: ddpg
total_steps: 1000
loop: {environments: 1, updates_per_iteration: 10, batch_size: 64, warmup_steps: 0}
agent: {actor: {widths: [256, 256]}, critic: {widths: [256, 256]}}
"""


class Robot(Node):
    """Publish what a simulator would, in the order that a test wants."""

    def __init__(self, context, namespace):
        super().__init__('sim', context=context, namespace=namespace)
        self.environment = self.create_publisher(Environment, 'environment', qos.environment())
        self.transition = self.create_publisher(Transition, 'transition', qos.transition())
        self.episode = self.create_publisher(EpisodeSummary, 'episode', qos.episode())
        self.pauses = []
        self.killed_when_paused = None
        self.create_service(SetBool, '~/pause', self._on_pause)

    def _on_pause(self, request, response):
        self.pauses.append(request.data)
        if request.data and self.killed_when_paused:
            os.kill(self.killed_when_paused, signal.SIGKILL)
        response.success = True
        return response

    def announce(self, spec):
        self.environment.publish(to_environment(spec, run_id=1, reward_term_names=(), mode=''))

    def send(self, step, *, episode=0, reward=1.0):
        values = array('f', (0.1, 0.01 * step))
        self.transition.publish(
            Transition(
                run_id=1,
                episode=episode,
                step=step,
                observation=values,
                action=array('f', (0.5,)),
                reward=reward,
                next_observation=values,
            )
        )

    def end_episode(self, length, *, episode=0):
        self.episode.publish(
            EpisodeSummary(
                run_id=1,
                episode=episode,
                length=length,
                episode_return=7.0,
                ended_by=EndedBy.TERMINATION.value,
            )
        )

    @property
    def is_received(self):
        return self.transition.get_subscription_count() and self.episode.get_subscription_count()


class Graph:
    """A ROS graph with a train node, and a loop that serves it until something has happened."""

    def __init__(self, domain_id, folder):
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain_id)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.nodes, self.folder, self.train = [], folder, None
        self.processes = []
        self.metrics, self.diagnostics = [], []

    def add(self, node):
        self.nodes.append(node)
        self.executor.add_node(node)
        return node

    def watch(self):
        watcher = self.add(Node('watcher', context=self.context))
        watcher.create_subscription(
            TrainingMetrics, 'training_metrics', self.metrics.append, qos.training_metrics()
        )
        watcher.create_subscription(
            DiagnosticArray, '/diagnostics', lambda m: self.diagnostics.extend(m.status), 100
        )

    def _parameters(self, parameters):
        preset = self.folder / 'preset.yaml'
        preset.write_text(PRESET)
        return {'preset': str(preset), 'output': str(self.folder / 'run')} | parameters

    def start_process(self, **parameters):
        """Start the train node in a process of its own, which the fixture ends."""
        given = [f'{name}:={value}' for name, value in self._parameters(parameters).items()]
        words = [word for setting in given for word in ('-p', setting)]
        program = 'from rl_edge_train.train_parameters import main; main()'
        command = [sys.executable, '-c', program, '--ros-args', *words]
        self.processes.append(subprocess.Popen(command))
        return self.processes[-1]

    def start(self, **parameters):
        given = self._parameters(parameters)
        overrides = [Parameter(name, value=value) for name, value in given.items()]
        self.watch()
        node = TrainNode(context=self.context, parameter_overrides=overrides)
        self.train = self.add(node)
        return self.train

    def until(self, condition):
        while not condition():
            self.executor.spin_once(timeout_sec=0.1)

    def close_train(self):
        train, self.train = self.train, None
        if train is not None:
            self.nodes.remove(train)
            self.executor.remove_node(train)
            train.close()
            train.destroy_node()

    def close(self):
        self.close_train()
        for process in self.processes:
            process.kill()
            process.wait()
        for node in self.nodes:
            node.destroy_node()
        self.executor.shutdown()
        rclpy.try_shutdown(context=self.context)


@pytest.fixture
def graph(ros_domain_id, tmp_path):
    graph = Graph(ros_domain_id, tmp_path)
    yield graph
    graph.close()


def test_lost_doubled_and_reordered_transitions_are_counted_and_used_once(graph, spec):
    robot = graph.add(Robot(graph.context, 'ant0'))
    graph.start()
    robot.announce(spec)
    graph.until(lambda: robot.is_received)

    for step in (0, 1, 3, 3, 2, 5):
        robot.send(step)
    robot.send(6, reward=float('nan'))
    robot.end_episode(8)

    def arrived():
        return graph.metrics and graph.metrics[-1].episodes and graph.metrics[-1].transitions == 5

    graph.until(arrived)
    latest = graph.metrics[-1]
    # Steps 4 and 7 never came, and step 6 was no number.
    assert latest.lost_transitions == 3
    assert latest.duplicate_transitions == 1
    assert latest.reordered_transitions == 1
    assert latest.rejected_transitions == 1
    assert latest.episode_return == 7.0


def test_a_robot_that_is_ahead_of_learning_is_paused_until_most_is_learned(graph, spec):
    robot = graph.add(Robot(graph.context, 'ant0'))
    graph.start(most_updates_behind=100)
    robot.announce(spec)
    graph.until(lambda: robot.is_received)
    assert graph.train._thread.metrics.policy is not None
    assert robot.pauses == []

    for step in range(150):
        robot.send(step)

    graph.until(lambda: robot.pauses == [True, False])
    # 150 transitions call for 1,500 updates, of which no more than 1,000 may be owed at a time.
    graph.until(lambda: graph.metrics[-1].updates >= 900)
    assert graph.metrics[-1].transitions == 150
    assert graph.metrics[-1].lost_transitions == 0


def test_a_robot_of_another_environment_is_refused_and_the_others_are_learned_from(
    graph, spec, spec_for
):
    first, second = (graph.add(Robot(graph.context, name)) for name in ('ant0', 'ant1'))
    graph.start(robots=['ant0', 'ant1'])
    first.announce(spec)
    graph.until(lambda: graph.train._thread is not None)
    second.announce(spec_for(observations=3))
    graph.until(lambda: first.is_received)

    def is_reported():
        return any(
            'ant1 is another environment' in status.message
            for status in graph.diagnostics
            if status.level == DiagnosticStatus.ERROR
        )

    graph.until(is_reported)
    assert not second.is_received


def test_a_checkpoint_is_written_when_asked_for_and_at_the_end(graph, spec):
    robot = graph.add(Robot(graph.context, 'ant0'))
    train = graph.start()
    client = robot.create_client(SaveCheckpoint, '/train/save_checkpoint')
    graph.until(client.service_is_ready)

    def save():
        future = client.call_async(SaveCheckpoint.Request())
        graph.until(future.done)
        return future.result()

    refused = save()
    assert not refused.success
    assert 'no robot has announced' in refused.message

    robot.announce(spec)
    graph.until(lambda: robot.is_received)
    robot.send(0)
    graph.until(lambda: train._thread.metrics.transitions == 1)
    saved = save()
    assert saved.success
    assert Path(saved.path).is_dir()
    assert checkpoint.read_newest(graph.folder / 'run' / 'checkpoints')[0].steps == 1

    robot.send(1)
    graph.until(lambda: train._thread.metrics.transitions == 2)
    graph.close_train()
    assert checkpoint.read_newest(graph.folder / 'run' / 'checkpoints')[0].steps == 2


@pytest.mark.parametrize(
    ('parameters', 'message'),
    [
        ({'preset': 'ppo'}, 'ppo learns on-policy'),
        ({'preset': 'actor_critic'}, 'log-probability'),
        ({'preset': 'sack'}, 'study_ppo'),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(graph, parameters, message):
    with pytest.raises(ConfigurationError, match=message):
        graph.start(**parameters)


def test_a_folder_with_an_earlier_run_in_it_is_not_overwritten(graph):
    (graph.folder / 'run' / 'checkpoints' / 'step_000000000001').mkdir(parents=True)
    with pytest.raises(ConfigurationError, match='set resume'):
        graph.start(resume=False)


def test_with_a_clock_that_stands_still_robots_are_heard_all_the_same(graph, spec):
    robot = graph.add(Robot(graph.context, 'ant0'))
    graph.start(use_sim_time=True)
    robot.announce(spec)
    graph.until(lambda: robot.is_received and graph.metrics)
    assert graph.metrics[-1].header.stamp.sec > 1_700_000_000  # wall time


@pytest.mark.parametrize('has_checkpoint', [True, False])
def test_a_killed_trainer_goes_on_in_its_folder_and_lifts_the_pause_it_left(
    graph, spec, has_checkpoint
):
    robot = graph.add(Robot(graph.context, 'ant0'))
    graph.watch()
    period = 1.0 if has_checkpoint else 1e6
    parameters = {'most_updates_behind': 100, 'checkpoint_period_sec': period}
    first = graph.start_process(**parameters)
    robot.announce(spec)
    graph.until(lambda: robot.is_received)
    robot.send(0)
    folder = graph.folder / 'run' / 'checkpoints'
    if has_checkpoint:
        graph.until(lambda: checkpoint.paths(folder))
        graph.until(lambda: checkpoint.steps_of(checkpoint.paths(folder)[-1]) == 1)
    robot.killed_when_paused = first.pid
    steps = itertools.count(1)

    def is_killed():  # sooner or later it is behind, and has found the service that pauses
        for step in itertools.islice(steps, 150):
            robot.send(step)
        return first.poll() is not None

    graph.until(is_killed)
    assert first.returncode == -signal.SIGKILL
    assert robot.pauses == [True]

    robot.killed_when_paused = None
    graph.metrics.clear()
    second = graph.start_process(**parameters)
    graph.until(lambda: robot.pauses == [True, False] or second.poll() is not None)
    assert second.poll() is None

    def is_learned_from():
        robot.send(next(steps))  # what came before it started is not sent again
        return graph.metrics and graph.metrics[-1].transitions > has_checkpoint

    graph.until(is_learned_from)
    graph.until(lambda: not (graph.folder / 'run' / PAUSE_MARKER).exists())


POLICY = """
import sys, time
from pathlib import Path
import rclpy
from rclpy.node import Node
from rl_edge_core.ros import qos
from rl_edge_interfaces.msg import PolicyStatus
from rl_edge_interfaces.srv import LoadModel

class Policy(Node):
    def __init__(self):
        super().__init__('policy', namespace='ant0')
        self.status = self.create_publisher(PolicyStatus, 'policy_status', qos.policy_status())
        active = PolicyStatus(state=PolicyStatus.ACTIVE)
        self.create_timer(0.2, lambda: self.status.publish(active))
        self.create_service(LoadModel, '~/load_model', self.load)

    def load(self, request, response):
        Path(sys.argv[2]).write_text(request.sha256)
        if sys.argv[1] == 'hangs':
            time.sleep(1e6)
        response.success = True
        return response

rclpy.init()
rclpy.spin(Policy())
"""


@pytest.mark.parametrize('does', ['hangs', 'answers'])
def test_a_policy_that_is_killed_and_starts_anew_is_sent_the_policy_again(
    graph, spec, does, monkeypatch
):
    monkeypatch.setattr(robot_link, 'ANSWER_TIMEOUT_SEC', 1e9)
    robot = graph.add(Robot(graph.context, 'ant0'))
    asked = [graph.folder / 'first', graph.folder / 'second']

    def start_policy(does, file):
        process = subprocess.Popen([sys.executable, '-c', POLICY, does, str(file)])
        graph.processes.append(process)
        return process

    first = start_policy(does, asked[0])
    train = graph.start()
    # The graph knows the policy before the trainer has anything to send.
    graph.until(lambda: train.count_publishers('/ant0/policy_status'))
    robot.announce(spec)
    graph.until(asked[0].exists)
    first.kill()
    first.wait()
    start_policy('answers', asked[1])
    graph.until(asked[1].exists)
    assert asked[1].read_text() == asked[0].read_text()
    graph.until(lambda: robot.is_received)
