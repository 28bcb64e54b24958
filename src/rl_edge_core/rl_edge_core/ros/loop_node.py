"""The node around a control loop: what the simulator and a robot have in common over ROS."""

import secrets
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from rclpy.node import Node
from rclpy.subscription import Subscription
from rclpy.task import Future
from std_srvs.srv import SetBool

from rl_edge_core.errors import ConfigurationError
from rl_edge_core.loop.control_loop import ControlLoop, Phase
from rl_edge_core.loop.events import Plant
from rl_edge_core.loop.realtime import Realtime
from rl_edge_core.ros import qos
from rl_edge_core.ros.diagnostics import (
    ERROR,
    OK,
    WARN,
    DiagnosticsPublisher,
    Health,
    ResourceReporter,
    create_steady_timer,
)
from rl_edge_core.ros.executor import take_pending
from rl_edge_core.ros.graph import (
    ErrorLog,
    WaitingLog,
    graph_errors,
    missing_peers,
    stop_watching_qos_events,
)
from rl_edge_core.ros.loop_publisher import LoopPublisher, Throttle
from rl_edge_core.ros.parameters import declare_parameters
from rl_edge_core.shared_parameters import LoopParameters
from rl_edge_interfaces.msg import Action, PolicyStatus
from rl_edge_interfaces.srv import Reset

_WATCH_PERIOD_SEC = 0.05
"""How often waiting is looked after; it bounds by how much timeouts are late."""
_REPORT_PERIOD_SEC = 1.0
_HEARTBEAT_SEC = 10.0
_FLUSH_TIMEOUT_SEC = 3.5
"""How long the end waits for subscribers that have not received everything. Fast DDS asks them
every 3 s."""


Parameters = TypeVar('Parameters', bound=LoopParameters)


class LoopNode(Node, Generic[Parameters]):
    """Serve one control loop: observations, actions, reset, pause, diagnostics, the console.

    All callbacks run on the executor's one thread. A pause stops the loop between two steps; an
    action that answers the pending observation while paused is kept and applied when the loop
    goes on. A reset ends the open episode (reason RESET); it does not count as one of
    ``episodes``.
    """

    duplicates = 'two nodes publish observations'
    """The complaint about another node in the same role."""

    def __init__(self, name: str, parameters_type: type[Parameters], **kwargs: Any) -> None:
        """Declare the parameters; `serve` does the rest. ``kwargs`` go to rclpy's Node."""
        super().__init__(name, **kwargs)
        self.finished: Future = Future()
        self.settings: Parameters = declare_parameters(self, parameters_type)
        self.run_id = secrets.randbits(53)
        """The random number that addresses of this run carry; a double holds it to the last digit,
        or PlotJuggler refuses the bag."""

    def serve(
        self,
        plant: Plant,
        make_loop: Callable[..., ControlLoop],
        *,
        mode: str,
        after_step: Callable[[int], None],
    ) -> None:
        """Create the loop and its topics; the run begins when a policy is connected.

        ``make_loop`` is a kind of `ControlLoop`. ``after_step`` is called at the end of each step
        and reset with the time of the observation, in ns. Call it last in the constructor.
        """
        self._plant = plant
        self._output = LoopPublisher(
            self,
            plant,
            run_id=self.run_id,
            mode=mode,
            restart_ticks=self._restart_ticks,
            finish=self._on_run_over,
            after_step=after_step,
        )
        self._loop = make_loop(plant, self._output, self.settings, run_id=self.run_id)
        if isinstance(self._loop, Realtime):
            self._ticks = create_steady_timer(self, self._loop.period_sec, self._on_tick)
        self._create_topics()
        self._diagnostics = DiagnosticsPublisher(self)
        self._report_throttle = Throttle(1.0 / _REPORT_PERIOD_SEC)
        self._heartbeat_throttle = Throttle(1.0 / _HEARTBEAT_SEC)
        self._waiting, self._error_log = WaitingLog(self), ErrorLog(self)
        self._graph_errors = ''
        self._reported = Health(b'', '')
        self._rejections_seen = self._dropped_seen = self._steps_seen = 0
        self._resources = ResourceReporter(self)
        self._watch_timer = create_steady_timer(self, _WATCH_PERIOD_SEC, self._watch)
        stop_watching_qos_events(self)
        self.get_logger().info(
            f'{plant.spec.environment_id} in {mode}: observations on '
            f'{self._output.observation.topic_name}, actions on {self._action.topic_name}, run '
            f'{self.run_id}'
        )

    def _create_topics(self) -> None:
        self._action = qos.subscription(self, Action, 'action', self._loop.on_action, qos.action())
        self._inputs: list[Subscription] = [self._action]
        """What a tick takes all pending messages of."""
        qos.subscription(
            self, PolicyStatus, 'policy_status', self._on_policy_status, qos.policy_status()
        )
        self.create_service(Reset, '~/reset', self._on_reset)
        self.create_service(SetBool, '~/pause', self._on_pause)

    def close(self) -> None:
        """Publish the open episode and the last state, and wait until they have arrived."""
        self._loop.close()
        self._report()
        self._output.episodes.close()
        if not self._output.flush(_FLUSH_TIMEOUT_SEC):
            self.get_logger().warning('a subscriber did not acknowledge everything in time')
        self._resources.close()

    def fail(self, reason: str) -> None:
        """Log why the node ends, and end it with exit code 1; from any thread."""
        if not self.finished.done():
            self.get_logger().error(reason)
            self.finished.set_result(1)

    def other_health(self) -> Health | None:
        """Return what else there is to say, before the policy's silence; overridden."""
        return None

    def exclusive_topics(self) -> list[tuple[str, str]]:
        """Return the topics that one node alone may publish, each with the complaint."""
        return [
            (self._action.topic_name, 'two policies act'),
            (self._output.observation.topic_name, self.duplicates),
        ]

    def extra_values(self) -> Mapping[str, object]:
        """Return further values for /diagnostics; overridden."""
        return {}

    def missing(self) -> str:
        """Return who has to connect before the run begins; empty when all have."""
        return missing_peers(
            self,
            observation=self._output.observation,
            action=self._action,
            transition=self._output.transition,
            environment=self._output.environment,
            transition_subscribers=self.settings.transition_subscribers.replace(',', ' ').split(),
        )

    def _on_tick(self) -> None:
        for subscription in self._inputs:
            take_pending(subscription)  # what has arrived by now is in time
        self._loop.on_tick()  # type: ignore[attr-defined]

    def _restart_ticks(self) -> None:
        self._ticks.reset()

    def _on_run_over(self, exit_code: int) -> None:
        if self._loop.failure:
            self.get_logger().error(self._loop.failure)
        self.finish(exit_code)

    def finish(self, exit_code: int) -> None:
        """End the node with an exit code."""
        if not self.finished.done():
            self.finished.set_result(exit_code)

    def _watch(self) -> None:
        loop = self._loop
        loop.on_timer(missing=self.missing() if loop.phase is Phase.WAITING else '')
        self._report()

    def _report(self) -> None:
        loop = self._loop
        is_due = self._report_throttle.is_due()
        if is_due:
            endpoints = self._output.observation, self._action
            self._graph_errors = graph_errors(self, self.exclusive_topics(), *endpoints)
            self._error_log.update(self._graph_errors)
            topics = (self._output.observation.topic_name, self._action.topic_name)
            self._waiting.update(_waiting_for(loop), topics)
            self._output.episodes.update()
        health = self._health().with_errors(self._graph_errors)
        if is_due:
            self._rejections_seen = loop.rejected_actions
            self._dropped_seen = loop.dropped_periods
            self._log_heartbeat()
        if is_due or health != self._reported:
            self._reported = health
            self._diagnostics.publish(*health, self._values())

    def _health(self) -> Health:
        """Return the worst of what there is to say of the loop."""
        loop = self._loop
        if loop.phase is Phase.FAILED:
            return Health(ERROR, loop.failure)
        other = self.other_health()
        if other is not None:
            return other
        if loop.refusal:
            return Health(WARN, f'the policy refuses to act: {loop.refusal}; waiting')
        waiting = _waiting_for(loop)
        if waiting:
            return Health(WARN, waiting)
        if loop.rejected_actions > self._rejections_seen:
            return Health(
                WARN, f'actions rejected, the safe action was applied instead: {loop.last_fault}'
            )
        if isinstance(loop, Realtime) and loop.phase is Phase.RUNNING:
            if loop.is_holding_safe_action:
                return Health(
                    WARN, 'the last action is too old: the safe action is applied instead'
                )
            if loop.dropped_periods > self._dropped_seen:
                return Health(
                    WARN, 'the machine is too slow for real time: control periods dropped'
                )
        return Health(OK, 'paused' if loop.is_paused else loop.phase.value)

    def _values(self) -> Mapping[str, object]:
        loop, plant = self._loop, self._plant
        return {
            'environment_id': plant.spec.environment_id,
            'episode': plant.episode,
            'step': plant.step,
            'steps': plant.steps,
            'time_sec': plant.time_ns / 1e9,
            'rejected_actions': loop.rejected_actions,
            'unanswered_sec': round(loop.silent_sec, 3),
            'dropped_periods': loop.dropped_periods,
            **self.extra_values(),
        }

    def _log_heartbeat(self) -> None:
        """Say that it goes on, where an episode takes longer than that."""
        loop, plant = self._loop, self._plant
        if loop.phase is not Phase.RUNNING or not isinstance(loop, Realtime):
            return
        if self._heartbeat_throttle.is_due():
            steps, self._steps_seen = plant.steps - self._steps_seen, plant.steps
            self.get_logger().info(
                f'{self._reported.reason}: episode {plant.episode}, step {plant.step}; {steps} '
                f'steps since the last line, {loop.dropped_periods} dropped in total'
            )

    def _on_policy_status(self, message: PolicyStatus) -> None:
        refuses = message.state == PolicyStatus.REFUSING and message.run_id == self.run_id
        reason = message.reason if refuses else ''
        if reason and reason != self._loop.refusal and self.settings.on_policy_timeout == 'wait':
            self.get_logger().error(f'the policy refuses to act: {reason}')
        self._loop.refusal = reason
        if message.state == PolicyStatus.FAILED:
            self.get_logger().error(
                f'the policy{message.model_id and " "}{message.model_id} failed: {message.reason}',
                throttle_duration_sec=_HEARTBEAT_SEC,
            )

    def awaited_subscription(self) -> Subscription | None:
        """Return the actions' in lockstep; in real time the clock is what counts."""
        return None if isinstance(self._loop, Realtime) else self._action

    def _on_reset(self, request: Reset.Request, response: Reset.Response) -> Reset.Response:
        response.run_id = self.run_id
        try:
            response.episode = self._loop.reset(request.seed if request.use_seed else None)
        except ConfigurationError as error:
            response.success, response.message = False, str(error)
            return response
        response.success, response.message = True, f'episode {response.episode} begins'
        return response

    def _on_pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._loop.pause(request.data)
        response.success = True
        response.message = 'paused' if request.data else 'running'
        return response


def _waiting_for(loop: ControlLoop) -> str:
    """Return what the loop waits for, as a sentence that changes only when that does."""
    if loop.is_paused:
        return ''
    if loop.phase is Phase.WAITING:
        return f'{loop.missing or "no policy"} connected yet; waiting'
    if loop.phase is Phase.STARTING:
        return 'waiting for the first action of the policy'
    if loop.is_policy_silent:
        return 'the policy is silent: an observation stays unanswered; waiting'
    return ''
