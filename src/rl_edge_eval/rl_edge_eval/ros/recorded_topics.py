"""Follow the graph: a raw subscription for each topic that is wanted, emptied on demand."""

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.exceptions import InvalidHandle
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription

from rl_edge_core.errors import ConfigurationError
from rl_edge_core.ros import qos
from rl_edge_eval.recording.batch import Received
from rl_edge_eval.recording.topic_selection import TopicSelection
from rl_edge_eval.ros.recorded_qos import matching_profile, receives_from, to_bag
from rl_edge_interfaces.msg import (
    Environment,
    EpisodeSummary,
    PolicyStatus,
    Transition,
)

_EXPECTED = {
    'transition': (Transition, qos.transition),
    'episode': (EpisodeSummary, qos.episode),
    'environment': (Environment, qos.environment),
    'policy_status': (PolicyStatus, qos.policy_status),
}
"""Topics of the loop, by the last part of their names: subscribed to before anyone publishes
them, so that the first message is not lost while the graph is being discovered."""


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

    name: str
    message_type: str
    subscription: Subscription
    profile: QoSProfile
    offers: tuple[QoSProfile, ...]
    """What its publishers offer; what they are expected to, before there are any."""

    @property
    def bag_qos(self) -> list:
        """Return the offers as bags store them."""
        return [to_bag(offer) for offer in self.offers]


class RecordedTopics:
    """Subscribe to what a selection wants, as it appears in the graph.

    `discover` and `take` may run in two threads, since a subscription is never taken away.
    """

    def __init__(self, node: Node, selection: TopicSelection) -> None:
        """Subscribe to the topics whose type and QoS are known beforehand."""
        self._node = node
        self._selection = selection
        self._group = _TakenByThread()
        self._topics: dict[str, Subscribed] = {}
        self._retired: list[Subscribed] = []
        self._refused: set[str] = set()
        for name in selection.known_names:
            expected = _EXPECTED.get(name.rsplit('/', 1)[-1])
            if expected:
                message_class, profile = expected
                self._subscribe(name, _type_name(message_class), (profile(),))

    @property
    def names(self) -> tuple[str, ...]:
        """Return the topics that are subscribed to."""
        return tuple(self._topics)

    def discover(self) -> None:
        """Subscribe to what is new in the graph, and anew where publishers ask for other QoS."""
        for name, types in self._node.get_topic_names_and_types():
            if self._selection.wants(name) and name not in self._refused:
                self._follow(name, types)

    def has_publishers(self) -> bool:
        """Return whether anyone still publishes a topic of the loop."""
        return any(
            topic.subscription.get_publisher_count()
            for topic in self._topics.values()
            if topic.name.rsplit('/', 1)[-1] in _EXPECTED
        )

    def take(self) -> Iterator[Received[Subscribed]]:
        """Yield what has arrived, topic by topic."""
        for topic in (*self._topics.values(), *self._retired):
            yield from _take_all(topic)

    def _follow(self, name: str, types: Sequence[str]) -> None:
        publishers = self._node.get_publishers_info_by_topic(name)
        if not publishers:
            return
        offers = tuple(publisher.qos_profile for publisher in publishers)
        known = self._topics.get(name)
        if known is None:
            if len(types) > 1:
                self._refuse(name, f'it has several types: {", ".join(types)}')
                return
            self._subscribe(name, types[0], offers)
        elif not all(receives_from(known.profile, offer) for offer in offers):
            self._node.get_logger().warning(
                f'{name}: a publisher offers less than was asked for; subscribing again'
            )
            # The old one is emptied on, since it may hold messages; it gets no new ones.
            self._retired.append(known)
            self._subscribe(name, known.message_type, offers)

    def _subscribe(self, name: str, message_type: str, offers: tuple[QoSProfile, ...]) -> None:
        try:
            message_class = _import_message(message_type)
        except ConfigurationError as error:
            self._refuse(name, str(error))
            return
        profile = matching_profile(offers)
        subscription = self._node.create_subscription(
            message_class,
            name,
            _never_called,
            profile,
            callback_group=self._group,
            raw=True,
        )
        self._topics[name] = Subscribed(name, message_type, subscription, profile, offers)

    def _refuse(self, name: str, reason: str) -> None:
        self._refused.add(name)
        self._node.get_logger().warning(f'{name} is not recorded: {reason}')


def _take_all(topic: Subscribed) -> Iterator[Received[Subscribed]]:
    handle, message_class = topic.subscription.handle, topic.subscription.msg_type
    try:
        with handle:
            while (taken := handle.take_message(message_class, True)) is not None:
                data, info = taken
                yield Received(info['received_timestamp'], topic, data)
    except InvalidHandle:
        return


def _never_called(_: bytes) -> None:
    raise AssertionError('the executor must not take messages of the recorder')


def _type_name(message_class: Any) -> str:
    return f'{message_class.__module__.split(".")[0]}/msg/{message_class.__name__}'


def _import_message(message_type: str) -> Any:
    package, kind, name = message_type.split('/')
    if kind != 'msg':
        raise ConfigurationError(f'{message_type} belongs to a service or an action')
    try:
        return getattr(importlib.import_module(f'{package}.msg'), name)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(
            f'{message_type} is not installed ({error}); install or source {package}'
        ) from error
