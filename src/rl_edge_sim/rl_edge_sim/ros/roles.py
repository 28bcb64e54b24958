"""Who else is in the graph: is there a policy, and is every role played by one node alone?"""

from collections.abc import Sequence

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.subscription import Subscription


def missing_peers(
    node: Node,
    *,
    observation: Publisher,
    action: Subscription,
    transition: Publisher,
    transition_subscribers: Sequence[str],
) -> str:
    """Return who has to connect before a run may begin, e.g. ``no policy``; empty when all have.

    A policy is someone who receives observations and someone who sends actions; subscribers of
    ``transition`` are awaited by the names of their nodes, since others may listen too.
    """
    if not (observation.get_subscription_count() and action.get_publisher_count()):
        return 'no policy'
    topic = transition.topic_name
    present = {info.node_name for info in node.get_subscriptions_info_by_topic(topic)}
    missing = [name for name in transition_subscribers if name not in present]
    if missing or transition.get_subscription_count() < len(transition_subscribers):
        return f'no subscriber {" or ".join(missing or transition_subscribers)} of {topic}'
    return ''


def rivals(node: Node, *, observation: str, action: str, clock: str | None) -> list[str]:
    """Return one line for each role that more than one node plays.

    ``observation``, ``action`` and ``clock`` (None when this node publishes none) are topics. A
    killed node stays in the graph until its lease runs out, some 20 s.
    """
    roles = [
        (action, 'two policies act'),
        (observation, 'two simulators publish observations'),
        (clock, 'two nodes publish the simulated time'),
    ]
    return [
        f'{complaint}: {topic} has publishers {", ".join(_publishers(node, topic))}; end all but '
        f'one or give them namespaces of their own'
        for topic, complaint in roles
        if topic is not None and node.count_publishers(topic) > 1
    ]


def _publishers(node: Node, topic: str) -> list[str]:
    return sorted(
        f'{info.node_namespace.rstrip("/")}/{info.node_name}'
        for info in node.get_publishers_info_by_topic(topic)
    )
