"""Who else is in the graph, whether both can talk, and what to say while nobody is there.

Looked up when asked, instead of watched at each turn of the executor.
"""

import os
import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import cast

from rclpy.duration import Duration
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
    topic, offers = endpoint.topic_name, isinstance(endpoint, Publisher)
    publishers = node.get_publishers_info_by_topic(topic)
    subscriptions = node.get_subscriptions_info_by_topic(topic)
    name = (node.get_name(), node.get_namespace())
    # The graph says what the middleware made of a profile (no deadline: an infinite one), the
    # endpoint what was asked for (0); the two can't be compared.
    own = [
        info
        for info in (publishers if offers else subscriptions)
        if (info.node_name, info.node_namespace) == name
    ]
    lines = peers_of_other_types(topic, own, [*publishers, *subscriptions])
    for mine in own:
        for peer in subscriptions if offers else publishers:
            offered, requested = (mine, peer) if offers else (peer, mine)
            profiles = offered.qos_profile, requested.qos_profile
            compatibility, reason = qos_check_compatible(*profiles)
            if compatibility == QoSCompatibility.ERROR:
                lines.append(
                    f'{_name(peer)} exchanges nothing on {topic}, QoS differs: '
                    f'{reason.strip("; ")}'
                )
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
            lines.append(
                f'{_name(peer)} has {what} on {topic}, {mine.node_name} has {mine.topic_type}: '
                f'build both from the same rl_edge_interfaces'
            )
    return lines


def missing_peers(
    node: Node,
    *,
    observation: Publisher,
    action: Subscription,
    transition: Publisher,
    environment: Publisher,
    transition_subscribers: Sequence[str],
) -> str:
    """Return who has to connect before a run may begin, e.g. ``no policy``; empty when all have.

    A policy is someone who receives observations and someone who sends actions; subscribers of
    ``transition`` are awaited by the names of their nodes, since others may listen too.

    A publisher knows of a subscriber a moment before that subscriber knows of it, and what it
    publishes in between is lost. So that a run is received from its first step, awaited
    subscribers must have acknowledged ``environment``: its publisher is created after that of
    ``transition``, publishers are announced in the order of their creation, and who has received
    from the last knows the others as well.
    """
    if not (observation.get_subscription_count() and action.get_publisher_count()):
        return 'no policy'
    topic = transition.topic_name
    present = {info.node_name for info in node.get_subscriptions_info_by_topic(topic)}
    missing = [name for name in transition_subscribers if name not in present]
    if missing or transition.get_subscription_count() < len(transition_subscribers):
        return f'no subscriber {" or ".join(missing or transition_subscribers)} of {topic}'
    if transition_subscribers and not environment.wait_for_all_acked(Duration()):
        return f'no subscriber of {topic} that has received {environment.topic_name}'
    return ''


def scout_name(name: str) -> str:
    """Return a name for the scout of a node: another one for each, an earlier one's comes first.

    A scout is there from before its node until the node's name is settled: see `namesake`.
    """
    return f'{_scouts_of(name)}_{time.time_ns():020d}_{os.getpid()}'


def _scouts_of(name: str) -> str:
    """Return how names of scouts begin: two underscores in a row mean something to ROS 2."""
    return re.sub('_+', '_', f'_scout_for_{name}').rstrip('_')


def namesake(scout: Node, name: str, *, is_there: bool = False) -> str:
    """Return why a node called ``name`` must not go on beside others; empty when it may.

    ``scout`` looks for them in its own namespace; ``is_there`` says whether its own node is there
    already. Of nodes that start at once, each with a scout, the first one goes on, but beside one
    that is running, which has no scout any more, none does. One that was killed is not running:
    it stays in the graph of those who knew it until its lease runs out, but a process that starts
    learns of nodes from these nodes themselves.
    """
    own, namespace = scout.get_name(), scout.get_namespace()
    names = [one for one, where in scout.get_node_names_and_namespaces() if where == namespace]
    starting = [one for one in names if re.fullmatch(rf'{_scouts_of(name)}_\d+_\d+', one)]
    if min(starting) == own and names.count(name) - is_there < len(starting):
        return ''
    namespace = namespace.removeprefix('/')
    digits = re.search(r'\d*$', namespace).group()  # type: ignore[union-attr]
    other = namespace.removesuffix(digits) + str(int(digits or 0) + 1)
    return (
        f'another node {f"/{namespace}".rstrip("/")}/{name} is running in ROS_DOMAIN_ID '
        f'{scout.context.get_domain_id()}: stop it, or give this one another namespace, such as '
        f'namespace:={other}, or another ROS_DOMAIN_ID'
    )


def graph_errors(
    node: Node, exclusive: Iterable[tuple[str, str]], *endpoints: Publisher | Subscription
) -> str:
    """Return what is wrong around a node; empty when nothing is.

    That is a topic with more than one publisher that may have one only, of ``exclusive`` (topic,
    complaint), e.g. ``two policies act``, and peers that can't exchange with one of ``endpoints``.
    A killed node stays in the graph until its lease runs out, some 20 s.
    """
    errors = []
    for topic, complaint in exclusive:
        names = sorted(map(_name, node.get_publishers_info_by_topic(topic)))
        if len(names) > 1:
            errors.append(
                f'{complaint}: {topic} has publishers {", ".join(names)}; end all but one or give '
                f'each a namespace:= or ROS_DOMAIN_ID of its own (one that was killed counts for '
                f'some 20 s)'
            )
    for endpoint in endpoints:
        errors += incompatible_peers(node, endpoint)
    return '; '.join(errors)


class ErrorLog:
    """Say once what is wrong around a node, where that is more than a change of shifts."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._last = self._said = ''

    def update(self, errors: str) -> None:
        """Take note of `graph_errors`; call it once a second or so."""
        # A node that ended a moment ago may still be in the graph: the second time counts.
        if errors == self._last != self._said:
            if errors:
                self._node.get_logger().warning(errors)
            self._said = errors
        self._last = errors


class WaitingLog:
    """Say, after 3 s and then ever more rarely, what a node waits for and where to look."""

    _FIRST_SEC, _LONGEST_SEC = 3.0, 600.0

    def __init__(self, node: Node) -> None:
        self._node = node
        self._since_sec = 0.0
        self._next_sec = self._FIRST_SEC

    def update(self, waiting_for: str, topics: Iterable[str]) -> None:
        """Take note of what is waited for, empty for nothing; call it once a second or so.

        ``topics`` are the resolved names on which it would show.
        """
        now_sec = time.monotonic()
        if not waiting_for:
            self._since_sec, self._next_sec = 0.0, self._FIRST_SEC
            return
        self._since_sec = self._since_sec or now_sec
        waited_sec = now_sec - self._since_sec
        if waited_sec < self._next_sec:
            return
        self._next_sec = min(5.0 * self._next_sec, waited_sec + self._LONGEST_SEC)
        self._node.get_logger().warning(
            f'{waiting_for} for {waited_sec:.0f} s on {", ".join(topics)}; '
            + '; '.join(where_to_look(self._node))
        )


def where_to_look(node: Node) -> list[str]:
    """Return the settings that keep nodes from finding each other, as this process has them."""
    variables = os.environ
    reach = variables.get('ROS_AUTOMATIC_DISCOVERY_RANGE', 'SUBNET')
    hints = [
        f'both sides need the same ROS_DOMAIN_ID (here {node.context.get_domain_id()}) and '
        f'namespace (here {node.get_namespace()})',
        f'ROS_AUTOMATIC_DISCOVERY_RANGE is {reach}'
        + (
            ', which finds nodes of this machine only, 32 of a domain'
            if reach == 'LOCALHOST'
            else ''
        ),
    ]
    owners = _owners_of_shared_memory()
    if owners:
        hints.append(
            f'Fast DDS cannot share memory with nodes of another user (/dev/shm has files of '
            f'{", ".join(owners)}): run both as one user, or set '
            f'FASTDDS_BUILTIN_TRANSPORTS=UDPv4 and ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET on both '
            f'sides (UDPv4 alone does nothing with LOCALHOST)'
        )
    return hints


def _owners_of_shared_memory() -> list[str]:
    """Return the users, by name or number, other than this one whose Fast DDS uses /dev/shm."""
    owners = set()
    for file in Path('/dev/shm').glob('fastrtps_*'):
        try:
            if file.stat().st_uid != os.getuid():
                owners.add(file.owner())
        except KeyError:
            owners.add(str(file.stat().st_uid))
        except OSError:
            pass  # gone, or not ours to look at
    return sorted(owners)


def _name(info: TopicEndpointInfo) -> str:
    return f'{info.node_namespace.rstrip("/")}/{info.node_name}'
