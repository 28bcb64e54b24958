"""Incompatible QoS, looked up when asked instead of watched at each turn of the executor."""

from typing import cast

from rclpy.event_handler import EventHandler
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSCompatibility, qos_check_compatible
from rclpy.subscription import Subscription


def stop_watching_qos_events(node: Node) -> None:
    """Take the handlers of QoS events out of the executor's wait; call it before spinning.

    Each publisher and subscription of rclpy has two, which log incompatible peers, and each turn
    of the executor visits them all: with ten publishers that is half of what a turn costs.
    `incompatible_peers` finds the same peers when asked.
    """
    endpoints: list[Publisher | Subscription] = [*node.publishers, *node.subscriptions]
    for endpoint in endpoints:
        # A list, whatever rclpy's annotation says.
        handlers = cast(list[EventHandler], endpoint.event_handlers)
        for handler in handlers:
            node.remove_waitable(handler)
            handler.destroy()
        handlers.clear()


def incompatible_peers(node: Node, endpoint: Publisher | Subscription) -> list[str]:
    """Return one line for each peer that its QoS keeps from exchanging with ``endpoint``."""
    topic = endpoint.topic_name
    if isinstance(endpoint, Publisher):
        peers = node.get_subscriptions_info_by_topic(topic)
        pairs = [(peer, endpoint.qos_profile, peer.qos_profile) for peer in peers]
    else:
        peers = node.get_publishers_info_by_topic(topic)
        pairs = [(peer, peer.qos_profile, endpoint.qos_profile) for peer in peers]
    lines = []
    for peer, offered, requested in pairs:
        compatibility, reason = qos_check_compatible(offered, requested)
        if compatibility == QoSCompatibility.ERROR:
            name = f'{peer.node_namespace.rstrip("/")}/{peer.node_name}'
            lines.append(f'{name} exchanges nothing on {topic}, QoS differs: {reason.strip("; ")}')
    return lines
