"""Who else is in the graph: is there a policy, and is every role played by one node alone?"""

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.subscription import Subscription


def policy_is_connected(observation: Publisher, action: Subscription) -> bool:
    """Return whether someone receives observations and someone sends actions."""
    return observation.get_subscription_count() > 0 and action.get_publisher_count() > 0


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
