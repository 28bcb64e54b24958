"""QoS between the graph, a recorder's subscription and the bag."""

from collections.abc import Sequence

from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSProfile,
    ReliabilityPolicy,
)
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)

SUBSCRIPTION_DEPTH = 5000
"""More than a loop at full speed sends while a slow disk holds the recorder up for a second."""


def matching_profile(offers: Sequence[QoSProfile]) -> QoSProfile:
    """Return the strongest profile that receives from all publishers, as ``ros2 bag record`` does.

    Reliable and transient local only when every publisher offers it. Without a publisher:
    reliable and volatile.
    """
    reliable = all(offer.reliability == ReliabilityPolicy.RELIABLE for offer in offers)
    latched = bool(offers) and all(
        offer.durability == DurabilityPolicy.TRANSIENT_LOCAL for offer in offers
    )
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=SUBSCRIPTION_DEPTH,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=(DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE),
    )


def receives_from(subscription: QoSProfile, offer: QoSProfile) -> bool:
    """Return whether DDS connects a subscription with a publisher that offers ``offer``."""
    asks_reliable = subscription.reliability == ReliabilityPolicy.RELIABLE
    asks_latched = subscription.durability == DurabilityPolicy.TRANSIENT_LOCAL
    offers_reliable = offer.reliability == ReliabilityPolicy.RELIABLE
    offers_latched = offer.durability == DurabilityPolicy.TRANSIENT_LOCAL
    return (offers_reliable or not asks_reliable) and (offers_latched or not asks_latched)


def to_bag(profile: QoSProfile) -> Qos:
    """Return a profile as bags store it."""
    return Qos(
        history=QosHistory(int(profile.history)),
        depth=profile.depth,
        reliability=QosReliability(int(profile.reliability)),
        durability=QosDurability(int(profile.durability)),
        deadline=_to_time(profile.deadline.nanoseconds),
        lifespan=_to_time(profile.lifespan.nanoseconds),
        liveliness=QosLiveliness(int(profile.liveliness)),
        liveliness_lease_duration=_to_time(profile.liveliness_lease_duration.nanoseconds),
        avoid_ros_namespace_conventions=profile.avoid_ros_namespace_conventions,
    )


def _to_time(nanoseconds: int) -> QosTime:
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return QosTime(seconds, rest)
