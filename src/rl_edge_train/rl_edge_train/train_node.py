"""The node that learns from the transitions of robots and sends them the better policy."""

import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.task import Future

from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.errors import ConfigurationError, RlEdgeError
from rl_edge_core.files import hold_folder, write_atomically
from rl_edge_core.ros import conversions, diagnostics, qos
from rl_edge_core.ros.diagnostics import ResourceReporter
from rl_edge_core.ros.parameters import declare_parameters
from rl_edge_core.tensorflow_setup import set_up_tensorflow
from rl_edge_core.wording import counted
from rl_edge_interfaces.msg import Environment, TrainingMetrics
from rl_edge_interfaces.srv import SaveCheckpoint
from rl_edge_train import checkpoint
from rl_edge_train.online.learner import (
    OnlineLearner,
    check_algorithm,
    export_online_policy,
    make_learner,
)
from rl_edge_train.online.learner_thread import LearnerThread
from rl_edge_train.ros.robot_link import RobotLink
from rl_edge_train.run_config import load_preset
from rl_edge_train.train_parameters import TrainParameters

PAUSE_MARKER = 'sims_paused'
"""File in the output folder while the sims are paused: whoever goes on there lifts the pause."""


class TrainNode(Node):
    """Subscribe to transitions, learn in a thread, send exported policies to the robots.

    When the first robot has announced its environment, networks are made and compiled for it.
    Only then are transitions subscribed to, so that a sim that waits for a subscriber begins when
    nothing is lost any more; robots with another environment are refused. While updates are
    behind, the sims are paused. Timers run on the steady clock: simulated time stands still
    until the sims hear from here.
    """

    def __init__(self, **kwargs: Any) -> None:
        """Declare parameters and entities; nothing is trained before a robot is heard."""
        super().__init__('train', **kwargs)
        self.parameters = declare_parameters(self, TrainParameters)
        self.parameters.check()
        self.run_config = load_preset(self.parameters.preset)
        check_algorithm(self.run_config.algorithm)
        if not self.parameters.robots:
            raise ConfigurationError('robots is empty: name the namespace of at least one robot')
        self.folder = self._make_folder()
        self.finished = Future()
        self._resumes = bool(checkpoint.paths(self.folder / 'checkpoints'))
        self._spec: EnvironmentSpec | None = None
        self._thread: LearnerThread | None = None
        self._paused = (self.folder / PAUSE_MARKER).exists()
        self._failure: BaseException | None = None
        self._rates = (0, 0)
        self._links = [self._link(robot) for robot in self.parameters.robots]
        self._resources = ResourceReporter(self)
        self._diagnostics = diagnostics.DiagnosticsPublisher(self)
        self._metrics = qos.publisher(
            self, TrainingMetrics, 'training_metrics', qos.training_metrics()
        )
        # In a group of its own: while it waits, the timers go on, and they wake the executor.
        self.create_service(
            SaveCheckpoint,
            '~/save_checkpoint',
            self._save_checkpoint,
            callback_group=MutuallyExclusiveCallbackGroup(),
        )
        diagnostics.create_steady_timer(self, 1.0, self._report)
        diagnostics.create_steady_timer(self, 0.1, self._look_after_robots)

    def _make_folder(self) -> Path:
        if not self.parameters.output:
            return Path(tempfile.mkdtemp(prefix='rl_edge_train-'))
        return hold_folder(Path(self.parameters.output))

    def _link(self, robot: str) -> RobotLink:
        link = RobotLink(
            self, robot, policy_node=self.parameters.policy_node, sim_node=self.parameters.sim_node
        )
        link.told_to_pause = self._paused
        qos.subscription(
            self,
            Environment,
            f'{robot}/environment',
            lambda message: self._on_environment(link, message),
            qos.environment(),
        )
        return link

    # Learning --------------------------------------------------------------------------------

    def _on_environment(self, link: RobotLink, message: Environment) -> None:
        try:
            spec = EnvironmentSpec.from_message(message)
        except RlEdgeError as error:
            link.refuse(f'{link.name} announced no valid environment: {error}')
            return
        if link.run_id not in (None, message.run_id):
            link.told_to_pause = False  # another run is not paused
        link.run_id = message.run_id
        if self._spec is None:
            self._spec = spec
            self._thread = self._start_learning(spec)
        differences = self._spec.differences(spec)
        if differences:
            link.refuse(f'{link.name} is another environment: {"; ".join(differences)}')
            self.get_logger().error(link.fault)
        else:
            link.accept(spec)

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
        if self._resumes:
            self.get_logger().info(learner.resume())
        return learner

    def _on_failure(self, error: BaseException) -> None:
        self._failure = error

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
        response.message = f'saved after {counted(self._thread.metrics.transitions, "transition")}'
        return response

    # Robots ----------------------------------------------------------------------------------

    def _look_after_robots(self) -> None:
        if self._failure is not None and not self.finished.done():
            self.get_logger().fatal(f'training ended: {self._failure}')
            self.finished.set_result(1)
        thread = self._thread
        if thread is None or thread.metrics.policy is None:
            return
        for link in self._links:
            link.offer(thread.metrics.policy)
            # The policy comes first, unless there is nobody to take it.
            if link.feed is not None and not link.is_received and not link.awaits_policy:
                # An earlier run has learned from what was sent before.
                link.receive(thread, from_now_on=self._resumes)
        self._keep_pace(thread)

    def _keep_pace(self, thread: LearnerThread) -> None:
        """Pause the sims while too many updates are owed."""
        limit, behind = self.parameters.most_updates_behind, thread.updates_behind
        paused = bool(limit) and behind > (limit / 2 if self._paused else limit)
        if paused != self._paused:
            self._paused = paused
            try:
                if paused:
                    write_atomically(self.folder / PAUSE_MARKER, '')
            except RlEdgeError as error:
                self.get_logger().warning(
                    f'should this process be killed now, nobody will know: {error}'
                )
        for link in self._links:
            link.pause(self._paused)
        if not self._paused and all(link.is_known_to_run for link in self._links):
            (self.folder / PAUSE_MARKER).unlink(missing_ok=True)

    # Reports ---------------------------------------------------------------------------------

    def _report(self) -> None:
        message = self._to_metrics()
        self._metrics.publish(message)
        level, reason = diagnostics.OK, counted(message.updates, 'update')
        if self._thread is None:
            level, reason = diagnostics.WARN, 'waits for a robot to announce its environment'
        faults = [link.fault for link in self._links if link.fault]
        if faults:
            level, reason = diagnostics.ERROR, '; '.join(faults)
        values = {
            'transitions': message.transitions,
            'lost': message.lost_transitions,
            'sims_paused': self._paused,
        }
        self._diagnostics.publish(level, reason, values)

    def _to_metrics(self) -> TrainingMetrics:
        message = TrainingMetrics(algorithm=self.run_config.algorithm)
        message.header.stamp = diagnostics.system_time()
        if self._thread is not None:
            metrics = self._thread.metrics
            message.transitions, message.updates = metrics.transitions, metrics.updates
            message.replay_size = metrics.replay_size
            message.model_hash = metrics.policy.model_hash if metrics.policy else ''
            before, self._rates = self._rates, (metrics.transitions, metrics.updates)
            message.transitions_per_sec = float(metrics.transitions - before[0])
            message.updates_per_sec = float(metrics.updates - before[1])
            message.names = list(metrics.algorithm)
            message.values = conversions.to_float64_field(list(metrics.algorithm.values()))
        feeds = [link.feed for link in self._links if link.feed is not None]
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
        return message

    def close(self) -> None:
        """Let the sims go on, write a last checkpoint and stop the threads."""
        for link in self._links:
            link.pause(False)
        (self.folder / PAUSE_MARKER).unlink(missing_ok=True)
        if self._thread is not None:
            self._thread.close()
        self._resources.close()


def make_train_node() -> TrainNode:
    """Make the node in a process whose TensorFlow is set up for it."""
    set_up_tensorflow()  # the learner's thread imports it
    return TrainNode()
