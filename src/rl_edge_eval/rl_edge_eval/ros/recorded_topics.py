"""Follow the graph: a raw subscription for each topic that is wanted, emptied on demand."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import yaml
from rclpy.callback_groups import CallbackGroup
from rclpy.duration import Duration
from rclpy.exceptions import InvalidHandle
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSCompatibility, QoSProfile, qos_check_compatible
from rclpy.subscription import Subscription

from rl_edge_core.recording import SUBSCRIPTION_DEPTH, TopicSelection
from rl_edge_core.ros import qos
from rl_edge_eval.recording.arrival_order import Received
from rl_edge_eval.recording.message_definitions import message_definition
from rl_edge_eval.recording.storage_writers import RecordedTopic

_EXPECTED = {
    'environment': ('Environment', qos.environment),
    'transition': ('Transition', qos.transition),
    'episode': ('EpisodeSummary', qos.episode),
    'policy_status': ('PolicyStatus', qos.policy_status),
}
"""Topics of the loop, by the last part of their names: subscribed to before anyone publishes
them, so that the first message is not lost while the graph is being discovered. In this order: a
simulator that sees who subscribes to its transitions waits until they have its environment."""
_AS_THEY_HAPPEN = ('transition', 'episode')
"""Of them, those whose history of before the recording is not asked for."""


class _TakenByThread(CallbackGroup):
    """Keep subscriptions out of the executor, which would wake up for every single message."""

    def can_execute(self, entity: Any) -> bool:
        return False

    def beginning_execution(self, entity: Any) -> bool:
        return False

    def ending_execution(self, entity: Any) -> None:
        pass


@dataclass
class Subscribed:
    """One recorded topic."""

    topic: RecordedTopic
    subscription: Subscription
    profile: QoSProfile

    @property
    def is_sent_once(self) -> bool:
        """Return whether what it last said holds for all that follows."""
        return self.profile.durability == DurabilityPolicy.TRANSIENT_LOCAL


class RecordedTopics:
    """Subscribe to what a selection wants, as it appears in the graph.

    `discover` and `take` may run in two threads, since a subscription is never taken away. A topic
    that can't be recorded is refused with a warning, and the others go on.
    """

    def __init__(self, node: Node, selection: TopicSelection) -> None:
        """Subscribe to the topics whose type and QoS are known beforehand."""
        self._node = node
        self._selection = selection
        self._group = _TakenByThread()
        self._topics: dict[str, Subscribed] = {}
        self._retired: list[Subscribed] = []
        self._refused: set[str] = set()
        for kind, (message, profile) in _EXPECTED.items():
            for name in selection.known_names:
                if _last(name) == kind:
                    self._subscribe(name, f'rl_edge_interfaces/msg/{message}', (profile(),))

    @property
    def names(self) -> tuple[str, ...]:
        """Return the topics that are subscribed to."""
        return tuple(self._topics)

    def discover(self) -> None:
        """Subscribe to what is new in the graph, and anew where publishers ask for other QoS."""
        for name, types in self._node.get_topic_names_and_types():
            if not self._selection.wants(name) or name in self._refused:
                continue
            publishers = self._node.get_publishers_info_by_topic(name)
            offers = tuple(publisher.qos_profile for publisher in publishers)
            known = self._topics.get(name)
            if not offers:
                continue
            if known is None and len(types) > 1:
                self._refuse(name, f'it has several types: {", ".join(types)}')
            elif known is None:
                self._subscribe(name, types[0], offers)
            elif any(
                qos_check_compatible(offer, known.profile)[0] == QoSCompatibility.ERROR
                for offer in offers
            ):
                self._node.get_logger().warning(
                    f'{name}: a publisher offers less than was asked for; subscribing again'
                )
                # The old one is emptied on, since it may hold messages; it gets no new ones.
                self._retired.append(known)
                self._subscribe(name, known.topic.message_type, offers)

    def has_publishers(self) -> bool:
        """Return whether anyone still publishes a topic of the loop."""
        return any(
            topic.subscription.get_publisher_count()
            for name, topic in self._topics.items()
            if _last(name) in _EXPECTED
        )

    def take(self) -> Iterator[Received]:
        """Yield what has arrived, topic by topic."""
        for topic in (*self._topics.values(), *self._retired):
            handle, message_class = topic.subscription.handle, topic.subscription.msg_type
            with suppress(InvalidHandle), handle:
                while (taken := handle.take_message(message_class, True)) is not None:
                    data, info = taken
                    published_ns = info.get('source_timestamp', 0)
                    yield Received(info['received_timestamp'], topic, data, published_ns)

    def _subscribe(self, name: str, message_type: str, offers: tuple[QoSProfile, ...]) -> None:
        profile = qos.matching(offers, depth=SUBSCRIPTION_DEPTH)
        if _last(name) in _AS_THEY_HAPPEN:
            qos.from_now_on(profile)
        try:
            topic = RecordedTopic(
                name, message_type, message_definition(message_type), to_yaml(offers)
            )
            package, _, type_name = message_type.partition('/msg/')
            message_class = getattr(import_module(f'{package}.msg'), type_name)
            subscription = self._node.create_subscription(
                message_class, name, _never_called, profile, callback_group=self._group, raw=True
            )
        except Exception as error:  # rclpy and rmw raise many types for what they can't take
            self._refuse(name, str(error))
            return
        self._topics[name] = Subscribed(topic, subscription, profile)

    def _refuse(self, name: str, reason: str) -> None:
        self._refused.add(name)
        self._node.get_logger().warning(f'{name} is not recorded: {reason}')


def to_yaml(offers: Sequence[QoSProfile]) -> str:
    """Return profiles as bags store them (metadata version 9)."""
    return yaml.safe_dump(
        [
            {
                'history': offer.history.name.lower(),
                'depth': offer.depth,
                'reliability': offer.reliability.name.lower(),
                'durability': offer.durability.name.lower(),
                'deadline': _to_time(offer.deadline),
                'lifespan': _to_time(offer.lifespan),
                'liveliness': offer.liveliness.name.lower(),
                'liveliness_lease_duration': _to_time(offer.liveliness_lease_duration),
                'avoid_ros_namespace_conventions': offer.avoid_ros_namespace_conventions,
            }
            for offer in offers
        ]
    )


def _to_time(duration: Duration) -> dict[str, int]:
    seconds, rest = divmod(duration.nanoseconds, 1_000_000_000)
    return {'sec': seconds, 'nsec': rest}


def _never_called(_: bytes) -> None:
    raise AssertionError('the executor must not take messages of the recorder')


def _last(name: str) -> str:
    return name.rpartition('/')[2]
