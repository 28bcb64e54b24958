"""The node that learns from the transitions of robots and sends them the better policy."""

from __future__ import annotations

import math
import sys
import tempfile
from array import array
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.task import Future
from std_srvs.srv import SetBool

from rl_edge_core.artifact import FULL_RECIPE
from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.errors import ConfigurationError, RlEdgeError
from rl_edge_core.files import ensure_folder, sha256_of
from rl_edge_core.ros import conversions, diagnostics, qos
from rl_edge_core.ros.node_main import run_node
from rl_edge_core.ros.parameters import declare_parameters
from rl_edge_core.ros.resource_reporter import ResourceReporter
from rl_edge_interfaces.msg import Environment, EpisodeSummary, TrainingMetrics, Transition
from rl_edge_interfaces.srv import LoadModel, SaveCheckpoint
from rl_edge_train.online.learner import OnlineLearner, check_algorithm, make_learner
from rl_edge_train.online.learner_thread import LearnerThread
from rl_edge_train.online.policy_export import ExportedPolicy, export_online_policy
from rl_edge_train.online.robot_feed import ReceivedTransition, RobotFeed
from rl_edge_train.run_config import load_preset
from rl_edge_train.train_parameters import TrainParameters


class TrainNode(Node):
    """Subscribe to transitions, learn in a thread, send exported policies to the robots.

    When the first robot has announced its environment, networks are made and compiled for it.
    Only then are transitions subscribed to, so that a sim that waits for a subscriber begins when
    nothing is lost any more; robots with another environment are refused. While updates are
    behind, the sims are paused.
    """

    def __init__(self, **kwargs: Any) -> None:
        """Declare parameters and entities; nothing is trained before a robot is heard."""
        super().__init__('train', **kwargs)
        self.parameters = declare_parameters(self, TrainParameters)
        self.run_config = load_preset(self.parameters.preset)
        check_algorithm(self.run_config.algorithm)
        if not self.parameters.robots:
            raise ConfigurationError('robots is empty: name the namespace of at least one robot')
        self.folder = self._make_folder()
        self.finished = Future()
        self._spec: EnvironmentSpec | None = None
        self._thread: LearnerThread | None = None
        self._feeds: dict[str, RobotFeed] = {}
        self._faults: dict[str, str] = {}
        self._sent_hash: dict[str, str] = {}
        self._pending: dict[str, Future] = {}
        self._subscribed: set[str] = set()
        self._paused = False
        self._failure: BaseException | None = None
        self._rates = (0, 0)
        self._create_entities()
        self._resources = ResourceReporter(self)

    def _make_folder(self) -> Path:
        if not self.parameters.output:
            return Path(tempfile.mkdtemp(prefix='rl_edge_train-'))
        folder = Path(self.parameters.output)
        if (folder / 'checkpoints').exists() and not self.parameters.resume:
            raise ConfigurationError(
                f'{folder} holds the checkpoints of an earlier run: set resume to go on with it, '
                'or name another output folder'
            )
        return ensure_folder(folder)

    def _create_entities(self) -> None:
        self._diagnostics = diagnostics.DiagnosticsPublisher(self)
        self._metrics = self.create_publisher(
            TrainingMetrics,
            'training_metrics',
            qos.training_metrics(),
            qos_overriding_options=qos.overridable(),
        )
        self._load_clients, self._pause_clients = {}, {}
        for robot in self.parameters.robots:
            self._listen(robot)
            policy = f'{robot}/{self.parameters.policy_node}'
            self._load_clients[robot] = self.create_client(LoadModel, f'{policy}/load_model')
            sim = f'{robot}/{self.parameters.sim_node}'
            self._pause_clients[robot] = self.create_client(SetBool, f'{sim}/pause')
        # In a group of its own: while it waits, the timers go on, and they wake the executor.
        self.create_service(
            SaveCheckpoint,
            '~/save_checkpoint',
            self._save_checkpoint,
            callback_group=MutuallyExclusiveCallbackGroup(),
        )
        self.create_timer(1.0, self._report)
        self.create_timer(0.1, self._look_after)

    def _listen(self, robot: str) -> None:
        self.create_subscription(
            Environment,
            f'{robot}/environment',
            lambda message: self._on_environment(robot, message),
            qos.environment(),
            qos_overriding_options=qos.overridable(),
        )

    def _receive(self, robot: str) -> None:
        """Subscribe to what is learned from."""
        self._subscribed.add(robot)
        profiles = qos.transition(), qos.episode()
        if self.parameters.resume:  # the earlier run has learned from what was before
            profiles = qos.from_now_on(profiles[0]), qos.from_now_on(profiles[1])
        self.create_subscription(
            Transition,
            f'{robot}/transition',
            lambda message: self._on_transition(robot, message),
            profiles[0],
            qos_overriding_options=qos.overridable(),
        )
        self.create_subscription(
            EpisodeSummary,
            f'{robot}/episode',
            lambda message: self._on_episode(robot, message),
            profiles[1],
            qos_overriding_options=qos.overridable(),
        )

    def _on_environment(self, robot: str, message: Environment) -> None:
        try:
            spec = conversions.from_environment(message)
        except RlEdgeError as error:
            self._faults[robot] = f'{robot} announced no valid environment: {error}'
            return
        if self._spec is None:
            self._spec = spec
            self._thread = self._start_learning(spec)
        differences = self._spec.differences(spec)
        if differences:
            self._feeds.pop(robot, None)
            self._faults[robot] = f'{robot} is another environment: {"; ".join(differences)}'
            self.get_logger().error(self._faults[robot])
        elif robot not in self._feeds:
            self._faults.pop(robot, None)
            self._feeds[robot] = RobotFeed(spec)

    def _start_learning(self, spec: EnvironmentSpec) -> LearnerThread:
        self.get_logger().info(
            f'learns {spec.environment_id} with {self.run_config.algorithm} into {self.folder}'
        )
        return LearnerThread(
            lambda: self._make_learner(spec),
            export=lambda learner: export_online_policy(
                learner, spec, run=self.run_config, out=self.folder / 'policy'
            ),
            export_period_sec=self.parameters.export_period_sec,
            checkpoint_period_sec=self.parameters.checkpoint_period_sec,
            on_failure=self._on_failure,
        )

    def _make_learner(self, spec: EnvironmentSpec) -> OnlineLearner:
        learner = make_learner(
            self.run_config, spec, seed=self.parameters.seed, folder=self.folder
        )
        if self.parameters.resume:
            self.get_logger().info(learner.resume())
        return learner

    def _on_failure(self, error: BaseException) -> None:
        self._failure = error

    def _on_transition(self, robot: str, message: Transition) -> None:
        feed = self._feeds.get(robot)
        if feed is None or self._thread is None:
            return
        fields = feed.take(_received(message))
        if fields is not None:
            self._thread.put(fields)

    def _on_episode(self, robot: str, message: EpisodeSummary) -> None:
        feed = self._feeds.get(robot)
        if feed is not None:
            result = conversions.from_episode_summary(message)
            feed.end_episode(message.run_id, message.episode, result)

    def _look_after(self) -> None:
        if self._failure is not None and not self.finished.done():
            self.get_logger().fatal(f'training ended: {self._failure}')
            self.finished.set_result(1)
        policy = self._thread.figures.policy if self._thread else None
        if policy is None:
            return
        self._send_policy(policy)
        for robot in self._feeds:
            # The policy comes first, unless there is nobody to take it.
            if robot not in self._subscribed and robot not in self._pending:
                self._receive(robot)
        self._keep_pace()

    def _keep_pace(self) -> None:
        """Pause the sims while too many updates are owed."""
        limit = self.parameters.most_updates_behind
        if self._thread is None or not limit:
            return
        behind = self._thread.updates_behind
        if behind > limit if not self._paused else behind < limit / 2:
            self._pause(not self._paused)

    def _pause(self, paused: bool) -> None:
        self._paused = paused
        for robot, client in self._pause_clients.items():
            if robot in self._subscribed and client.service_is_ready():
                client.call_async(SetBool.Request(data=paused))

    def _send_policy(self, policy: ExportedPolicy) -> None:
        for robot, client in self._load_clients.items():
            if self._sent_hash.get(robot) == policy.model_hash or robot in self._pending:
                continue
            if robot in self._feeds and client.service_is_ready():
                self._send_to(robot, policy)

    def _send_to(self, robot: str, policy: ExportedPolicy) -> None:
        request = LoadModel.Request(
            archive=array('B', policy.archive),
            sha256=sha256_of(policy.archive),
            recipe=FULL_RECIPE,
        )
        future = self._load_clients[robot].call_async(request)
        self._pending[robot] = future
        future.add_done_callback(lambda done: self._on_loaded(robot, policy.model_hash, done))

    def _on_loaded(self, robot: str, wanted: str, future: Future) -> None:
        self._pending.pop(robot, None)
        self._sent_hash[robot] = wanted
        response = future.result()
        if response is None or not response.success:
            reason = response.message if response else future.exception()
            self._faults[robot] = f'{robot} refused the policy: {reason}'
            self.get_logger().warning(self._faults[robot])
        else:
            self._faults.pop(robot, None)

    async def _save_checkpoint(
        self, _: SaveCheckpoint.Request, response: SaveCheckpoint.Response
    ) -> SaveCheckpoint.Response:
        if self._thread is None:
            response.message = 'no robot has announced its environment yet: nothing to save'
            return response
        written = Future(executor=self.executor)
        self._thread.request_checkpoint().add_done_callback(written.set_result)
        result = await written
        if result.exception() is not None:
            response.message = f'no checkpoint was written: {result.exception()}'
            return response
        response.success, response.path = True, str(result.result())
        response.message = f'saved after {self._thread.figures.transitions} transitions'
        return response

    def _report(self) -> None:
        message = self._to_metrics()
        self._metrics.publish(message)
        level, reason = diagnostics.OK, f'{message.updates} updates'
        if self._thread is None:
            level, reason = diagnostics.WARN, 'waits for a robot to announce its environment'
        if self._faults:
            level, reason = diagnostics.ERROR, '; '.join(self._faults.values())
        values = {
            'transitions': message.transitions,
            'lost': message.lost_transitions,
            'sims_paused': self._paused,
        }
        self._diagnostics.publish(level, reason, values)

    def _to_metrics(self) -> TrainingMetrics:
        message = TrainingMetrics(algorithm=self.run_config.algorithm)
        message.header.stamp = self.get_clock().now().to_msg()
        if self._thread is not None:
            figures = self._thread.figures
            message.transitions, message.updates = figures.transitions, figures.updates
            message.replay_size = figures.replay_size
            message.model_hash = figures.policy.model_hash if figures.policy else ''
            before, self._rates = self._rates, (figures.transitions, figures.updates)
            message.transitions_per_sec = float(figures.transitions - before[0])
            message.updates_per_sec = float(figures.updates - before[1])
            message.names = list(figures.algorithm)
            message.values = conversions.to_float64_field(list(figures.algorithm.values()))
        self._add_feeds(message)
        return message

    def _add_feeds(self, message: TrainingMetrics) -> None:
        feeds = list(self._feeds.values())
        latest = [result for feed in feeds for result in feed.latest_episodes()]
        returns = [result.episode_return for result in latest]
        distances = [result.forward_distance for result in latest]
        message.episode_return = float(np.mean(returns)) if latest else math.nan
        message.forward_distance = float(np.mean(distances)) if latest else math.nan
        message.episodes = sum(feed.episodes for feed in feeds)
        message.lost_transitions = sum(feed.sequence.lost for feed in feeds)
        message.duplicate_transitions = sum(feed.sequence.duplicates for feed in feeds)
        message.reordered_transitions = sum(feed.sequence.reordered for feed in feeds)
        message.rejected_transitions = sum(feed.rejected for feed in feeds)

    def close(self) -> None:
        """Let the sims go on, write a last checkpoint and stop the threads."""
        if self._paused:
            self._pause(False)
        if self._thread is not None:
            self._thread.close()
        self._resources.close()


def _received(message: Transition) -> ReceivedTransition:
    return ReceivedTransition(
        run_id=message.run_id,
        episode=message.episode,
        step=message.step,
        observation=conversions.from_float32_field(message.observation),
        action=conversions.from_float32_field(message.action),
        reward=message.reward,
        next_observation=conversions.from_float32_field(message.next_observation),
        terminated=message.terminated,
        truncated=message.truncated,
    )


def main() -> None:
    """Run the node."""
    sys.exit(run_node(TrainNode))


if __name__ == '__main__':
    main()
