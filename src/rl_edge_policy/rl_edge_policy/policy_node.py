"""The policy node: answers each observation with an action."""

import gc
import sys
import time
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.publisher import Publisher
from rclpy.subscription import Subscription
from rclpy.task import Future

from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.errors import ConfigurationError, RlEdgeError
from rl_edge_core.ros import qos
from rl_edge_core.ros.conversions import from_float32_field, to_float32_field
from rl_edge_core.ros.parameters import current_parameters, declare_parameters
from rl_edge_interfaces.msg import Action, Environment, Observation, PolicyStatus
from rl_edge_interfaces.srv import LoadModel
from rl_edge_policy.metrics import process_age_sec
from rl_edge_policy.policy import Policy, RejectedActionError, RejectedObservationError
from rl_edge_policy.policy_parameters import PolicyParameters, main
from rl_edge_policy.ros.lifecycle import GuardedLifecycleNode, transition
from rl_edge_policy.ros.model_loading import ModelLoading
from rl_edge_policy.ros.reports import PolicyReports

REMEMBERED_RUNS = 4
"""Of simulators, by their environment message."""
SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
WAITING = 'waiting for the environment message of the simulator'


class PolicyNode(GuardedLifecycleNode):
    """Answer observations by a policy, in the environment that the policy was made for.

    An observation is answered when the node is active, and the latest environment message is of
    the observation's run and of the policy's environment. Until that message arrives, the newest
    observation is kept, and answered then.
    """

    def __init__(self, node_name: str = 'policy', **kwargs: Any) -> None:
        """Declare parameters and publishers; load nothing (see `autostart`)."""
        super().__init__(node_name, **kwargs)
        self.finished = Future()
        self._settings = declare_parameters(
            self, PolicyParameters, may_change=lambda: self._policy is None
        )
        self._policy: Policy | None = None
        self._explorer: Any = None
        self._environment: Environment | None = None
        self._known_runs: dict[int, Environment] = {}
        self._environment_spec: EnvironmentSpec | None = None
        # The one comparison that decides whether an observation is answered; None: none is.
        self._answered_run: int | None = None
        self._waiting: Observation | None = None
        self._configurations = 0
        self._subscriptions_of_run: list[Subscription] = []
        self._action_publisher: Publisher | None = None
        self._reply = Action()
        self._reply_can_repeat = False
        self._loading = ModelLoading()
        self._closed = False
        self._reports = PolicyReports(
            self,
            period_sec=self._settings.status_period_sec,
            exploration=self._settings.exploration,
        )
        if self._settings.load_model != 'off':
            # In a group of its own: the call waits for loading while observations are answered.
            group = ReentrantCallbackGroup()
            self.create_service(LoadModel, '~/load_model', self._load_model, callback_group=group)

    def autostart(self) -> None:
        """Configure and activate; when the policy is refused, end the process with code 1."""
        if not self._settings.autostart:
            return
        if self.trigger_configure() == SUCCESS and self.trigger_activate() == SUCCESS:
            return
        self.finished.set_result(1)

    # Lifecycle -----------------------------------------------------------------------------

    @transition
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the policy, then create topics: who sees them meets a node that can answer."""
        self._settings = current_parameters(self, PolicyParameters)
        try:
            self._install(*self._load_configured())
        except Exception as error:
            self._policy = self._explorer = self._reports.policy = None
            expected = isinstance(error, RlEdgeError)
            reason = str(error) if expected else f'{type(error).__name__}: {error}'
            self.get_logger().error(f'cannot load the policy: {reason}')
            self._reports.enter(PolicyStatus.FAILED, reason)
            return FAILURE
        self._configurations += 1
        from rl_edge_core.ros.graph import stop_watching_qos_events

        self._action_publisher = qos.publisher(self, Action, 'action', qos.action())
        self._subscriptions_of_run = [
            qos.subscription(self, *endpoint)
            for endpoint in (
                (Observation, 'observation', self._on_observation, qos.observation()),
                (Environment, 'environment', self._on_environment, qos.environment()),
            )
        ]
        self._reports.endpoints = self._subscriptions_of_run[0], self._action_publisher
        stop_watching_qos_events(self)
        self._reports.enter(PolicyStatus.INACTIVE, '')
        return SUCCESS

    @transition
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Answer from now on."""
        # What is alive now stays: full collections have a few objects to look at, not 50,000.
        gc.collect()
        gc.freeze()
        self._waiting = None
        self._reports.state = PolicyStatus.ACTIVE
        if self._environment is None:
            self.get_logger().info(f'ready: {self._policy.model_id} waits for observations')  # type: ignore[union-attr]
        self._compare_environment()
        return super().on_activate(state)

    @transition
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Answer nothing from now on."""
        self._answered_run = self._waiting = None
        self._reports.enter(PolicyStatus.INACTIVE, '')
        return super().on_deactivate(state)

    @transition
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Drop the policy and the topics."""
        self._drop()
        self._reports.enter(PolicyStatus.UNCONFIGURED, '')
        return super().on_cleanup(state)

    @transition
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Answer nothing any more, say so, and end the process."""
        try:
            self._drop()
            self._reports.enter(PolicyStatus.FINALIZED, '')
            return super().on_shutdown(state)
        finally:
            if not self.finished.done():
                self.finished.set_result(0)

    def transition_failed(self, reason: str) -> None:
        """Be unconfigured, with the reason, as get_state then says too."""
        self._drop()
        self._reports.enter(PolicyStatus.UNCONFIGURED, reason)

    def awaited_subscription(self) -> Subscription | None:
        """Return the observations' while there is one."""
        return self._subscriptions_of_run[0] if self._subscriptions_of_run else None

    def close(self) -> None:
        """Publish the last status and stop the threads; safe to call twice."""
        if self._closed:
            return
        self._closed = True
        gc.unfreeze()  # in a process that goes on, the node's DDS participant would stay for ever
        self._answered_run = None
        if self._reports.state != PolicyStatus.FAILED:
            self._reports.enter(PolicyStatus.FINALIZED, '')
        self._loading.close()
        self._reports.close()

    def _load_configured(self) -> tuple[Policy, Any]:
        # What loads policies is imported here: a node is there before it has a policy.
        from rl_edge_policy.load import load_policy
        from rl_edge_policy.trust import read_trust

        settings = self._settings
        if not settings.model:
            raise ConfigurationError(
                'parameter model is empty: give an artifact folder, or a model file inside one'
            )
        policy = load_policy(
            settings.model,
            recipe=settings.recipe,
            runtime=settings.runtime,
            threads=settings.threads,
            trust=read_trust(settings.trusted_models, settings.trusted_key),
        )
        return policy, self._explorer_of(policy)

    def _explorer_of(self, policy: Policy) -> Any:
        if self._settings.exploration == 'none':
            return None
        from rl_edge_policy.exploration import Explorer

        return Explorer(policy, seed=self._settings.exploration_seed)

    def _drop(self) -> None:
        """Have no policy and no topics, and answer nothing."""
        self._answered_run = self._waiting = None
        self._environment = self._environment_spec = None
        self._known_runs = {}
        self._policy = self._explorer = self._reports.policy = self._reports.endpoints = None
        for subscription in self._subscriptions_of_run:
            self.destroy_subscription(subscription)
        if self._action_publisher is not None:
            self.destroy_publisher(self._action_publisher)
        self._subscriptions_of_run, self._action_publisher = [], None

    # The loop ------------------------------------------------------------------------------

    def _on_observation(self, message: Observation) -> None:
        if message.run_id != self._answered_run:
            self._waiting = message
            self._return_to(message.run_id)
        elif self._reply_can_repeat and _address_of(message) == _address_of(self._reply):
            self._reports.counters.repeated_observations += 1
            self._action_publisher.publish(self._reply)  # type: ignore[union-attr]
        else:
            self._answer(message)

    def _answer(self, message: Observation) -> None:
        """Publish the policy's action, or the safe one when there is none; count it after that."""
        error: RlEdgeError | None = None
        started = time.perf_counter_ns()
        try:
            values = from_float32_field(message.values)
            if self._explorer is None:
                action = self._policy.act(values)  # type: ignore[union-attr]
            else:
                action = self._explorer.act(values, episode=message.episode, step=message.step)
        except (RejectedObservationError, RejectedActionError) as rejected:
            action, error = self._policy.spec.safe, rejected  # type: ignore[union-attr]
        inference_us = (time.perf_counter_ns() - started) * 1e-3
        reply = self._reply
        reply.header = message.header
        reply.run_id, reply.episode, reply.step = _address_of(message)
        reply.values = to_float32_field(action)
        reply.inference_time_us = inference_us
        reply.safe_action = error is not None
        self._action_publisher.publish(reply)  # type: ignore[union-attr]
        self._reply_can_repeat = error is None
        counters = self._reports.counters
        counters.inference.add(inference_us)
        counters.actions += 1
        if counters.actions == 1:
            counters.first_action_sec = process_age_sec()
            self._reports.publish_status()
        if error is not None and counters.count_fault(error):
            self.get_logger().warning(f'answered with the safe action: {error}')
            self._reports.publish_diagnostics()

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
        if self.count_publishers(self._subscriptions_of_run[0].topic_name) == 1:
            self._on_environment(known)

    def _compare_environment(self) -> None:
        """Decide whether to answer, from the state, the policy and the latest environment."""
        self._answered_run = None
        self._reports.run_id = self._environment.run_id if self._environment is not None else 0
        if self._reports.state not in (PolicyStatus.ACTIVE, PolicyStatus.REFUSING):
            return
        if self._environment is None:
            self._reports.enter(PolicyStatus.ACTIVE, WAITING)
            return
        try:
            self._environment_spec = EnvironmentSpec.from_message(self._environment)
            self._check_environment(self._policy)  # type: ignore[arg-type]
        except RlEdgeError as error:
            if str(error) != self._reports.reason:
                self.get_logger().error(f'refusing to act: {error}')
            self._reports.enter(PolicyStatus.REFUSING, str(error))
            return
        for line in self._policy.spec.version_warnings(self._environment_spec):  # type: ignore[union-attr]
            self.get_logger().warning(f'made with another version (policy against sim): {line}')
        self._answered_run = self._environment.run_id
        self._reports.enter(PolicyStatus.ACTIVE, '')
        self.get_logger().info(
            f'active: {self._environment.environment_id} by {self._policy.model_id}'  # type: ignore[union-attr]
        )

    def _check_environment(self, policy: Policy) -> None:
        from rl_edge_policy.load import check_environment

        if self._environment_spec is not None:
            tolerated = self._settings.tolerated_arguments.replace(',', ' ').split()
            check_environment(policy, self._environment_spec, tolerated_arguments=tolerated)

    # Swapping the policy -------------------------------------------------------------------

    async def _load_model(
        self, request: LoadModel.Request, response: LoadModel.Response
    ) -> LoadModel.Response:
        try:
            if self._policy is None:
                raise ConfigurationError('no policy is configured: configure the node first')
            configuration = self._configurations
            loaded = await self._loading.run(lambda: self._load_requested(request), self.executor)
            if self._policy is None or self._configurations != configuration:
                raise ConfigurationError(
                    'the node was cleaned up while the model was loaded: configure it and call '
                    'again'
                )
            self._install(*loaded)
            self._reports.counters.swaps += 1
            self._compare_environment()
            self._reports.publish_status()
            response.success = True
            response.message = f'loaded {self._policy.model_id}'
            self.get_logger().info(response.message)
        except RlEdgeError as error:
            response.message = str(error)
            self.get_logger().warning(f'load_model refused: {error}')
        response.model_hash = self._policy.model_hash if self._policy is not None else ''
        return response

    def _load_requested(self, request: LoadModel.Request) -> tuple[Policy, Any]:
        """Load what a caller asked for; runs off the executor's thread."""
        from rl_edge_policy.load import load_requested
        from rl_edge_policy.trust import read_trust

        present, settings = self._policy, self._settings
        policy = load_requested(
            path=request.path,
            archive=bytes(request.archive),
            sha256=request.sha256,
            recipe=request.recipe,
            present_recipe=present.recipe if present is not None else '',
            runtime=settings.runtime,
            threads=settings.threads,
            archives_allowed=settings.load_model == 'archive',
            trust=read_trust(settings.trusted_models, settings.trusted_key),
        )
        self._check_environment(policy)
        return policy, self._explorer_of(policy)

    def _install(self, policy: Policy, explorer: Any) -> None:
        """Make a policy the one that acts. On the executor's thread: between two actions."""
        self._policy = self._reports.policy = policy
        self._explorer = explorer
        self._reply.model_hash = policy.model_hash
        # An observation that comes again is answered by the policy that acts now.
        self._reply_can_repeat = False


def _address_of(message: Observation | Action) -> tuple[int, int, int]:
    return message.run_id, message.episode, message.step


def make_policy_node() -> PolicyNode:
    """Make the node and start it as its parameters say."""
    node = PolicyNode()
    node.autostart()
    return node


if __name__ == '__main__':
    sys.exit(main())
