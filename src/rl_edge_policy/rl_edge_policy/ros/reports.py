"""The state of the policy node as it stands on policy_status and on /diagnostics."""

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.subscription import Subscription

from rl_edge_core.ros.diagnostics import ERROR, OK, WARN
from rl_edge_core.ros.qos_events import incompatible_peers
from rl_edge_interfaces.msg import PolicyStatus
from rl_edge_policy.figures import PolicyFigures
from rl_edge_policy.policy import Policy


def to_policy_status(
    state: int, reason: str, *, policy: Policy | None, exploration: str, figures: PolicyFigures
) -> PolicyStatus:
    """Return the status without its stamp; ``policy`` is None while none is loaded."""
    return PolicyStatus(
        state=state,
        reason=reason,
        model_id=policy.model_id if policy else '',
        model_hash=policy.model_hash if policy else '',
        runtime=policy.runtime if policy else '',
        exploration=exploration,
        actions=figures.actions,
        rejected_observations=figures.rejected_observations,
        swaps=figures.swaps,
        first_action_sec=figures.first_action_sec,
        inference_us_p50=figures.inference.quantile(0.5),
        inference_us_p99=figures.inference.quantile(0.99),
    )


def health_of(
    state: int, reason: str, *, troubles: str, figures: PolicyFigures
) -> tuple[bytes, str]:
    """Return a level and the worst of what there is to say; ``troubles`` are with other nodes."""
    if state in (PolicyStatus.FAILED, PolicyStatus.REFUSING):
        return ERROR, reason
    if troubles:
        return ERROR, troubles
    if figures.rejected_observations or figures.failed_actions:
        return WARN, (
            f'{figures.rejected_observations} observations and {figures.failed_actions} actions '
            f'rejected, the last: {figures.last_fault}'
        )
    if reason:
        return WARN, reason
    return OK, 'answering' if state == PolicyStatus.ACTIVE else 'not active'


def troubles_with_others(node: Node, *, observation: Subscription, action: Publisher) -> str:
    """Say which role more than one node has, or whose QoS does not fit; empty when none."""
    for role, topic in (
        ('policies publish', action.topic_name),
        ('simulators publish', observation.topic_name),
    ):
        count = node.count_publishers(topic)
        if count > 1:
            return f'{count} {role} {topic}, there must be one'
    peers = (*incompatible_peers(node, observation), *incompatible_peers(node, action))
    return '; '.join(peers)
