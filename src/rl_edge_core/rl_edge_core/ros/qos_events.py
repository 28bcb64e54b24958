"""Incompatible QoS, looked up when asked instead of watched at each turn of the executor."""

from collections.abc import Iterable, Sequence
from typing import cast

from rclpy.event_handler import EventHandler
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSCompatibility, qos_check_compatible
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo


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
    """Return one line for each peer that can't exchange with ``endpoint``.

    Its QoS keeps it from that, or its message type is another one or of another version.
    """
    topic = endpoint.topic_name
    publishers = node.get_publishers_info_by_topic(topic)
    subscriptions = node.get_subscriptions_info_by_topic(topic)
    # The graph says what the middleware made of a profile (no deadline: an infinite one), the
    # endpoint what was asked for (0); the two can't be compared.
    if isinstance(endpoint, Publisher):
        pairs = [
            (peer, mine.qos_profile, peer.qos_profile)
            for mine in _of_node(node, publishers)
            for peer in subscriptions
        ]
    else:
        pairs = [
            (peer, peer.qos_profile, mine.qos_profile)
            for mine in _of_node(node, subscriptions)
            for peer in publishers
        ]
    own = [*_of_node(node, publishers), *_of_node(node, subscriptions)]
    lines = peers_of_other_types(topic, own, [*publishers, *subscriptions])
    for peer, offered, requested in pairs:
        compatibility, reason = qos_check_compatible(offered, requested)
        if compatibility == QoSCompatibility.ERROR:
            name = f'{peer.node_namespace.rstrip("/")}/{peer.node_name}'
            lines.append(f'{name} exchanges nothing on {topic}, QoS differs: {reason.strip("; ")}')
    return lines


def peers_of_other_types(
    topic: str, own: Sequence[TopicEndpointInfo], all_there_are: Sequence[TopicEndpointInfo]
) -> list[str]:
    """Return one line for each endpoint whose message type differs from that of ``own``.

    The middleware matches endpoints by the name of the type: one that was built from another
    version of it is matched all the same, and what it sends is not what was meant.
    """
    if not own:
        return []
    mine = own[0]
    lines = []
    for peer in all_there_are:
        if (peer.topic_type, peer.topic_type_hash) != (mine.topic_type, mine.topic_type_hash):
            what = peer.topic_type
            if what == mine.topic_type:
                what = f'another version of {what}'
            name = f'{peer.node_namespace.rstrip("/")}/{peer.node_name}'
            lines.append(
                f'{name} has {what} on {topic}, {mine.node_name} has {mine.topic_type}: build '
                f'both from the same rl_edge_interfaces'
            )
    return lines


def _of_node(node: Node, endpoints: Iterable[TopicEndpointInfo]) -> list[TopicEndpointInfo]:
    name = (node.get_name(), node.get_namespace())
    return [info for info in endpoints if (info.node_name, info.node_namespace) == name]
