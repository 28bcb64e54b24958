"""What the policy node reports of itself, on policy_status and on /diagnostics."""

import time
from typing import Any

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.subscription import Subscription

from rl_edge_core.ros import qos
from rl_edge_core.ros.diagnostics import (
    ERROR,
    OK,
    WARN,
    DiagnosticsPublisher,
    Health,
    ResourceReporter,
    create_steady_timer,
    system_time,
)
from rl_edge_interfaces.msg import PolicyStatus
from rl_edge_policy.metrics import RECENT_SEC, PolicyCounters
from rl_edge_policy.policy import Policy

_LISTENER_PATIENCE_SEC, _LISTENER_PERIOD_SEC = 5.0, 0.02
"""How long, and how often, a node that failed looks for someone who hears the reason. Participants
that missed each other's first announcement meet at the next one: Fast DDS has one every 3 s."""
_LAST_STATUS_SEC, _REASON_SEC = 1.0, 3.5
"""How long the last status, and one with the reason of a failure, may take to arrive. Fast DDS
asks subscribers every 3 s what they lack."""


class PolicyReports:
    """The state of the policy node, published at each change and once a period."""

    def __init__(self, node: Node, *, period_sec: float, exploration: str) -> None:
        """Create the publishers and the timer, and publish the first status."""
        self._node, self._exploration = node, exploration
        self.state, self.reason = PolicyStatus.UNCONFIGURED, ''
        self.counters = PolicyCounters()
        self.policy: Policy | None = None
        self.run_id = 0
        """Of the environment that the policy's was compared with last."""
        self.endpoints: tuple[Subscription, Publisher] | None = None
        """Of observation and action, while there are any."""
        # Plain publishers: a lifecycle publisher would drop what an inactive node has to say.
        self._status = qos.publisher(node, PolicyStatus, 'policy_status', qos.policy_status())
        self._waiting: Any = None
        self._saw_simulator = False
        self._error_log: Any = None
        self._diagnostics = DiagnosticsPublisher(node)
        self._resources = ResourceReporter(node)
        # By the steady clock: with use_sim_time a simulator that pauses would stop the reports.
        create_steady_timer(node, period_sec, self.publish)
        self.publish_status()

    def enter(self, state: int, reason: str) -> None:
        """Be in a state from now on, for a reason; empty while all is well."""
        changed = (state, reason) != (self.state, self.reason)
        self.state, self.reason = state, reason
        if changed or state == PolicyStatus.ACTIVE:
            self.publish()

    def publish(self) -> None:
        """Publish status and diagnostics."""
        self.publish_status()
        self.publish_diagnostics()
        if self.endpoints is not None:
            from rl_edge_core.ros.graph import WaitingLog

            self._waiting = self._waiting or WaitingLog(self._node)
            topic = self.endpoints[0].topic_name
            sees_simulator = self._node.count_publishers(topic) > 0
            if self._saw_simulator and not sees_simulator:
                self._node.get_logger().info(f'nobody publishes {topic} any more')
            self._saw_simulator = sees_simulator
            waits = self.state == PolicyStatus.ACTIVE
            self._waiting.update(self.reason if waits else '', [topic])

    def publish_status(self) -> None:
        """Publish policy_status, stamped with wall time whatever clock the node is told to use."""
        counters, policy = self.counters, self.policy
        status = PolicyStatus(
            state=self.state,
            reason=self.reason,
            run_id=self.run_id,
            model_id=policy.model_id if policy else '',
            model_hash=policy.model_hash if policy else '',
            runtime=policy.runtime if policy else '',
            exploration=self._exploration,
            actions=counters.actions,
            rejected_observations=counters.rejected_observations,
            swaps=counters.swaps,
            first_action_sec=counters.first_action_sec,
            inference_us_p50=counters.inference.quantile(0.5),
            inference_us_p99=counters.inference.quantile(0.99),
        )
        status.header.stamp = system_time()
        self._status.publish(status)

    def publish_diagnostics(self) -> None:
        """Publish a level and the worst of what there is to say."""
        errors = self._graph_errors(*self.endpoints) if self.endpoints else ''
        health = self._health().with_errors(errors)
        self._diagnostics.publish(*health, self.counters.to_mapping())

    def close(self) -> None:
        """Wait until the last status has arrived, and stop the thread."""
        self._resources.close()
        patience_sec = _LAST_STATUS_SEC
        if self.state == PolicyStatus.FAILED:
            patience_sec = _REASON_SEC
            # A node that fails at once has not met those yet who want to know the reason.
            deadline = time.monotonic() + _LISTENER_PATIENCE_SEC
            while not self._status.get_subscription_count() and time.monotonic() < deadline:
                time.sleep(_LISTENER_PERIOD_SEC)
        self._status.wait_for_all_acked(Duration(seconds=patience_sec))

    def _health(self) -> Health:
        from rl_edge_core.wording import counted  # late: the node starts without it

        if self.state in (PolicyStatus.FAILED, PolicyStatus.REFUSING):
            return Health(ERROR, self.reason)
        observations, actions = self.counters.recent_faults.counts()
        if observations or actions:
            return Health(
                WARN,
                f'{counted(observations, "observation")} and {counted(actions, "action")} '
                f'rejected in the last {RECENT_SEC:g} s, the latest: {self.counters.last_fault}',
            )
        if self.reason:
            return Health(WARN, self.reason)
        return Health(OK, 'answering' if self.state == PolicyStatus.ACTIVE else 'not active')

    def _graph_errors(self, observation: Subscription, action: Publisher) -> str:
        # Imported once there is a graph to look at.
        from rl_edge_core.ros.graph import ErrorLog, graph_errors

        exclusive = (
            (action.topic_name, 'two policies act'),
            (observation.topic_name, 'two simulators publish observations'),
        )
        errors = graph_errors(self._node, exclusive, observation, action)
        self._error_log = self._error_log or ErrorLog(self._node)
        self._error_log.update(errors)
        return errors
