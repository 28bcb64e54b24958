"""QoS of every topic, each with its reason. Functions, since overrides change the object.

Every endpoint is made by `publisher` or `subscription`, so that a parameter such as
``qos_overrides./ant0/observation.publisher.depth`` sets it (the resolved name of the topic, in
rclpy's own form).
"""

from collections.abc import Callable, Sequence
from typing import Any

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSPolicyKind, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription

OVERRIDABLE_POLICIES = (
    QoSPolicyKind.DEPTH,
    QoSPolicyKind.DURABILITY,
    QoSPolicyKind.HISTORY,
    QoSPolicyKind.RELIABILITY,
)


def publisher(node: Node, message_type: type, topic: str, profile: QoSProfile) -> Publisher:
    """Create a publisher whose QoS parameters can override."""
    return node.create_publisher(message_type, topic, profile, **_overridable())


def subscription(
    node: Node,
    message_type: type,
    topic: str,
    callback: Callable[[Any], None],
    profile: QoSProfile,
) -> Subscription:
    """Create a subscription whose QoS parameters can override."""
    return node.create_subscription(message_type, topic, callback, profile, **_overridable())


def _overridable() -> dict[str, Any]:
    options = QoSOverridingOptions(policy_kinds=OVERRIDABLE_POLICIES)
    return {'qos_overriding_options': options}


def observation() -> QoSProfile:
    """Reliable, since in lockstep a lost observation stops the loop; the newest alone matters."""
    return _reliable(depth=1)


def action() -> QoSProfile:
    """Reliable as observations are; a few deep, so that late and double answers are counted."""
    return _reliable(depth=10)


def transition() -> QoSProfile:
    """Reliable and deep: learning and evaluation count each one that is lost.

    Who comes late is sent none of before: it would take them for what happens now. Who needs a
    run from its first step is awaited, see `graph.missing_peers`. A subscriber that wants the last
    1,000 all the same asks for it by ``qos_overrides.TOPIC.publisher.durability:=transient_local``
    of the publisher.
    """
    return _reliable(depth=1000)


def episode() -> QoSProfile:
    """Transient local, so that who comes later sees the last ones; deep for busy subscribers."""
    return _transient_local(depth=100)


def environment() -> QoSProfile:
    """Transient local: who starts later still learns what is simulated."""
    return _transient_local(depth=1)


def policy_status() -> QoSProfile:
    """Transient local: who starts later still learns what acts."""
    return _transient_local(depth=1)


def resource_usage() -> QoSProfile:
    """Reliable, some seconds deep; a plot may lose older ones."""
    return _reliable(depth=10)


def training_metrics() -> QoSProfile:
    """Reliable, some seconds deep; a plot may lose older ones."""
    return _reliable(depth=10)


def image() -> QoSProfile:
    """Best effort and the newest alone: a late picture is worth nothing."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.BEST_EFFORT
    )


def joint_states() -> QoSProfile:
    """Reliable, since viewers such as robot_state_publisher ask for it."""
    return _reliable(depth=10)


def from_now_on(profile: QoSProfile) -> QoSProfile:
    """Return ``profile`` for a subscriber that does not want what was published before it."""
    profile.durability = DurabilityPolicy.VOLATILE
    return profile


def matching(offers: Sequence[QoSProfile], *, depth: int) -> QoSProfile:
    """Return the strongest profile that receives from all publishers, as ``ros2 bag record`` does.

    Reliable and transient local only when every publisher offers it. Without a publisher:
    reliable and volatile.
    """
    profile = _reliable(depth=depth)
    if any(offer.reliability != ReliabilityPolicy.RELIABLE for offer in offers):
        profile.reliability = ReliabilityPolicy.BEST_EFFORT
    if offers and all(offer.durability == DurabilityPolicy.TRANSIENT_LOCAL for offer in offers):
        profile.durability = DurabilityPolicy.TRANSIENT_LOCAL
    return profile


def _reliable(*, depth: int) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=ReliabilityPolicy.RELIABLE
    )


def _transient_local(*, depth: int) -> QoSProfile:
    profile = _reliable(depth=depth)
    profile.durability = DurabilityPolicy.TRANSIENT_LOCAL
    return profile
