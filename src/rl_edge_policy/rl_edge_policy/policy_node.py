"""The policy node: answers each observation with an action."""

import gc
import sys
import time
from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.task import Future

from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.errors import ConfigurationError, RlEdgeError
from rl_edge_core.ros import diagnostics, qos
from rl_edge_core.ros.conversions import (
    from_environment,
    from_float32_field,
    to_float32_field,
)
from rl_edge_core.ros.node_main import run_node
from rl_edge_core.ros.parameters import declare_parameters
from rl_edge_core.ros.qos_events import stop_watching_qos_events
from rl_edge_core.ros.resource_reporter import ResourceReporter
from rl_edge_interfaces.msg import Action, Environment, Observation, PolicyStatus
from rl_edge_interfaces.srv import LoadModel
from rl_edge_policy.exploration import Explorer
from rl_edge_policy.figures import PolicyFigures
from rl_edge_policy.load import load_policy
from rl_edge_policy.model_source import ModelRequest, check_environment, load_requested
from rl_edge_policy.policy import Policy, RejectedActionError, RejectedObservationError
from rl_edge_policy.policy_parameters import PolicyParameters
from rl_edge_policy.process_age import process_age_sec
from rl_edge_policy.ros.model_loading import ModelLoading
from rl_edge_policy.ros.reports import health_of, to_policy_status, troubles_with_others

REMEMBERED_RUNS = 4
"""Of simulators, by their environment message."""
SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
WAITING = 'waiting for the environment message of the simulator'
_LISTENER_PATIENCE_SEC, _LISTENER_PERIOD_SEC = 5.0, 0.02
"""How long, and how often, a node that failed looks for someone who hears the reason. Participants
that missed each other's first announcement meet at the next one: Fast DDS has one every 3 s."""
_LAST_WORDS_SEC, _REASON_SEC = 1.0, 3.5
"""How long the last status, and one with the reason of a failure, may take to arrive. Fast DDS
asks subscribers every 3 s what they lack."""


class PolicyNode(LifecycleNode):
    """Answer observations by a policy, in the environment that the policy was made for.

    An observation is answered when the node is active, and the latest environment message is of
    the observation's run and of the policy's environment. Until that message arrives, the newest
    observation is kept, and answered then.
    """

    def __init__(self, node_name: str = 'policy', **kwargs: Any) -> None:
        """Declare parameters and publishers; load nothing (see `autostart`)."""
        super().__init__(node_name, **kwargs)
        self.finished = Future()
        self._settings = declare_parameters(self, PolicyParameters)
        self._policy: Policy | None = None
        self._explorer: Explorer | None = None
        self._state, self._reason = PolicyStatus.UNCONFIGURED, ''
        self._environment: Environment | None = None
        self._known_runs: dict[int, Environment] = {}
        self._environment_spec: EnvironmentSpec | None = None
        # The one comparison that decides whether an observation is answered; None: none is.
        self._answered_run: int | None = None
        self._waiting: Observation | None = None
        self._endpoints: list[tuple[Callable[[Any], Any], Any]] = []
        self._publish: Callable[[Action], None] = _unpublished
        self._reply = Action()
        self._reply_can_repeat = False
        self._figures = PolicyFigures()
        self._loading = ModelLoading()
        self._closed = False
        self._create_reports()

    def _create_reports(self) -> None:
        # Plain publishers: a lifecycle publisher would drop what an inactive node has to say.
        self._status_publisher = self.create_publisher(
            PolicyStatus,
            'policy_status',
            qos.policy_status(),
            qos_overriding_options=qos.overridable(),
        )
        self._diagnostics = diagnostics.DiagnosticsPublisher(self)
        self._resources = ResourceReporter(self)
        self.create_timer(self._settings.status_period_sec, self._report)
        # In a group of its own: the call waits for the loading while observations are answered.
        self.create_service(
            LoadModel, '~/load_model', self._load_model, callback_group=ReentrantCallbackGroup()
        )
        self._publish_status()

    def autostart(self) -> None:
        """Configure and activate; when the policy is refused, end the process with code 1."""
        if not self._settings.autostart:
            return
        if self.trigger_configure() == SUCCESS and self.trigger_activate() == SUCCESS:
            return
        self.finished.set_result(1)

    # Lifecycle -----------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the policy, then create topics: who sees them meets a node that can answer."""
        try:
            self._install(*self._load_configured())
        except Exception as error:  # rclpy would swallow it without a line
            self._policy = self._explorer = None
            expected = isinstance(error, RlEdgeError)
            reason = str(error) if expected else f'{type(error).__name__}: {error}'
            self.get_logger().error(f'cannot load the policy: {reason}')
            self._enter(PolicyStatus.FAILED, reason)
            return FAILURE
        self._create_endpoints()
        self._enter(PolicyStatus.INACTIVE, '')
        return SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Answer from now on."""
        # What is alive now stays: full collections have a few objects to look at, not 50,000.
        gc.collect()
        gc.freeze()
        self._state = PolicyStatus.ACTIVE
        self._compare_environment()
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Answer nothing from now on."""
        self._answered_run = self._waiting = None
        self._enter(PolicyStatus.INACTIVE, '')
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Drop the policy and the topics."""
        self._drop()
        self._enter(PolicyStatus.UNCONFIGURED, '')
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Answer nothing any more, say so, and end the process."""
        self._drop()
        self._enter(PolicyStatus.FINALIZED, '')
        if not self.finished.done():
            self.finished.set_result(0)
        return super().on_shutdown(state)

    def close(self) -> None:
        """Say the last words and stop the threads; safe to call twice."""
        if self._closed:
            return
        self._closed = True
        self._answered_run = None
        if self._state != PolicyStatus.FAILED:
            self._enter(PolicyStatus.FINALIZED, '')
        self._resources.close()
        self._loading.close()
        patience_sec = _LAST_WORDS_SEC
        if self._state == PolicyStatus.FAILED:
            self._wait_for_a_listener()
            patience_sec = _REASON_SEC
        self._status_publisher.wait_for_all_acked(Duration(seconds=patience_sec))

    def _wait_for_a_listener(self) -> None:
        # A node that fails at once has not met those yet who want to know the reason.
        deadline = time.monotonic() + _LISTENER_PATIENCE_SEC
        while not self._status_publisher.get_subscription_count():
            if time.monotonic() > deadline:
                return
            time.sleep(_LISTENER_PERIOD_SEC)

    def _load_configured(self) -> tuple[Policy, Explorer | None]:
        parameters = self._settings
        if not parameters.model:
            raise ConfigurationError(
                'parameter model is empty: give an artifact folder, or a model file inside one'
            )
        policy = load_policy(
            parameters.model,
            recipe=parameters.recipe,
            runtime=parameters.runtime,
            threads=parameters.threads,
        )
        return policy, self._explorer_of(policy)

    def _explorer_of(self, policy: Policy) -> Explorer | None:
        if self._settings.exploration == 'none':
            return None
        return Explorer(policy, seed=self._settings.exploration_seed)

    def _create_endpoints(self) -> None:
        overridable = qos.overridable
        publisher = self.create_publisher(
            Action, 'action', qos.action(), qos_overriding_options=overridable()
        )
        self._publish = publisher.publish
        observations = self.create_subscription(
            Observation,
            'observation',
            self._on_observation,
            qos.observation(),
            qos_overriding_options=overridable(),
        )
        environments = self.create_subscription(
            Environment,
            'environment',
            self._on_environment,
            qos.environment(),
            qos_overriding_options=overridable(),
        )
        self._observations, self._action_publisher = observations, publisher
        stop_watching_qos_events(self)
        self._endpoints = [
            (self.destroy_publisher, publisher),
            (self.destroy_subscription, observations),
            (self.destroy_subscription, environments),
        ]

    def _drop(self) -> None:
        self._answered_run = self._waiting = None
        self._environment = self._environment_spec = None
        self._known_runs = {}
        self._policy = self._explorer = None
        self._publish = _unpublished
        for destroy, endpoint in self._endpoints:
            destroy(endpoint)
        self._endpoints = []

    # The loop ------------------------------------------------------------------------------

    def _on_observation(self, message: Observation) -> None:
        if message.run_id != self._answered_run:
            self._waiting = message
            self._return_to(message.run_id)
            return
        reply = self._reply
        if (
            self._reply_can_repeat
            and message.step == reply.step
            and message.episode == reply.episode
            and message.run_id == reply.run_id
        ):
            self._figures.repeated_observations += 1
            self._publish(reply)
            return
        fault = ''
        started = time.perf_counter_ns()
        try:
            action = self._act(message)
        except (RejectedObservationError, RejectedActionError) as error:
            action = self._policy.spec.safe  # type: ignore[union-attr]
            fault = str(error)
            self._figures.count_fault(error)
        inference_us = (time.perf_counter_ns() - started) * 1e-3
        reply.header = message.header
        reply.run_id = message.run_id
        reply.episode = message.episode
        reply.step = message.step
        reply.values = to_float32_field(action)
        reply.inference_time_us = inference_us
        reply.safe_action = bool(fault)
        self._publish(reply)
        # What follows delays no action.
        self._reply_can_repeat = not fault
        figures = self._figures
        figures.inference.add(inference_us)
        figures.actions += 1
        if figures.actions == 1:
            figures.first_action_sec = process_age_sec()
            self._publish_status()
        if fault:
            self._report_fault(fault)

    def _act(self, message: Observation) -> Any:
        values = from_float32_field(message.values)
        if self._explorer is None:
            return self._policy.act(values)  # type: ignore[union-attr]
        return self._explorer.act(values, episode=message.episode, step=message.step)

    def _report_fault(self, fault: str) -> None:
        if fault != self._figures.last_fault:
            self.get_logger().warning(f'answered with the safe action: {fault}')
        self._figures.last_fault = fault
        self._publish_diagnostics()

    # The environment -----------------------------------------------------------------------

    def _on_environment(self, message: Environment) -> None:
        self._environment = message
        self._known_runs.pop(message.run_id, None)
        self._known_runs[message.run_id] = message
        if len(self._known_runs) > REMEMBERED_RUNS:
            del self._known_runs[next(iter(self._known_runs))]
        self._compare_environment()
        waiting, self._waiting = self._waiting, None
        if waiting is not None and waiting.run_id == self._answered_run:
            self._on_observation(waiting)

    def _return_to(self, run_id: int) -> None:
        """Go back to a run that a newer one had taken the place of, once that is alone.

        So a simulator that was started a second time by mistake leaves no trace when it has ended.
        """
        known = self._known_runs.get(run_id)
        if known is None or known is self._environment:
            return
        if self.count_publishers(self._observations.topic_name) == 1:
            self._on_environment(known)

    def _compare_environment(self) -> None:
        """Decide whether to answer, from the state, the policy and the latest environment."""
        self._answered_run = None
        if self._state not in (PolicyStatus.ACTIVE, PolicyStatus.REFUSING):
            return
        if self._environment is None:
            self._enter(PolicyStatus.ACTIVE, WAITING)
            return
        try:
            self._environment_spec = from_environment(self._environment)
            check_environment(self._policy, self._environment_spec)  # type: ignore[arg-type]
        except RlEdgeError as error:
            if str(error) != self._reason:
                self.get_logger().error(f'refusing to act: {error}')
            self._enter(PolicyStatus.REFUSING, str(error))
            return
        self._answered_run = self._environment.run_id
        self._enter(PolicyStatus.ACTIVE, '')

    # Swapping the policy -------------------------------------------------------------------

    async def _load_model(
        self, request: LoadModel.Request, response: LoadModel.Response
    ) -> LoadModel.Response:
        try:
            if self._policy is None:
                raise ConfigurationError('no policy is configured: configure the node first')
            self._install(
                *await self._loading.run(lambda: self._load_requested(request), self.executor)
            )
            self._figures.swaps += 1
            self._compare_environment()
            self._publish_status()
            response.success = True
            response.message = f'loaded {self._policy.model_id}'  # type: ignore[union-attr]
            self.get_logger().info(response.message)
        except RlEdgeError as error:
            response.message = str(error)
            self.get_logger().warning(f'load_model refused: {error}')
        response.model_hash = self._policy.model_hash if self._policy is not None else ''
        return response

    def _load_requested(self, request: LoadModel.Request) -> tuple[Policy, Explorer | None]:
        """Load what a caller asked for; runs off the executor's thread."""
        policy = load_requested(
            ModelRequest(
                path=request.path,
                archive=bytes(request.archive),
                sha256=request.sha256,
                recipe=request.recipe,
            ),
            present_recipe=self._policy.recipe,  # type: ignore[union-attr]
            runtime=self._settings.runtime,
            threads=self._settings.threads,
        )
        if self._environment_spec is not None:
            check_environment(policy, self._environment_spec)
        return policy, self._explorer_of(policy)

    def _install(self, policy: Policy, explorer: Explorer | None) -> None:
        """Make a policy the one that acts. On the executor's thread: between two actions."""
        self._policy, self._explorer = policy, explorer
        self._reply.model_hash = policy.model_hash

    # Reports -------------------------------------------------------------------------------

    def _enter(self, state: int, reason: str) -> None:
        changed = (state, reason) != (self._state, self._reason)
        self._state, self._reason = state, reason
        if changed or state == PolicyStatus.ACTIVE:
            self._publish_status()
            self._publish_diagnostics()

    def _report(self) -> None:
        self._publish_status()
        self._publish_diagnostics()

    def _publish_status(self) -> None:
        status = to_policy_status(
            self._state,
            self._reason,
            policy=self._policy,
            exploration=self._settings.exploration,
            figures=self._figures,
        )
        status.header.stamp = self.get_clock().now().to_msg()
        self._status_publisher.publish(status)

    def _publish_diagnostics(self) -> None:
        level, reason = health_of(
            self._state, self._reason, troubles=self._troubles(), figures=self._figures
        )
        self._diagnostics.publish(level, reason, self._figures.to_mapping())

    def _troubles(self) -> str:
        if not self._endpoints:
            return ''
        return troubles_with_others(
            self, observation=self._observations, action=self._action_publisher
        )


def _unpublished(_: Action) -> None:
    """Stand in for the publisher while there is none."""


def make_policy_node() -> PolicyNode:
    """Make the node and start it as its parameters say."""
    node = PolicyNode()
    node.autostart()
    return node


def main() -> int:
    """Serve the policy node until it is told to end; return the exit code."""
    return run_node(make_policy_node)


if __name__ == '__main__':
    sys.exit(main())
