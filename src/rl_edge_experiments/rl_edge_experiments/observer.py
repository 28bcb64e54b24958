"""A small node that watches one robot: it keeps what was published and lets others wait for it."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, TypeVar

from rclpy.client import Client
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription

from rl_edge_core.ros import qos
from rl_edge_core.ros.start import init_rclpy
from rl_edge_core.wording import counted
from rl_edge_interfaces.msg import Environment, EpisodeSummary, ResourceUsage

_LOOK_AGAIN_SEC = 0.1
_ANSWER_SEC = 60.0
"""How long the thread that serves the node may take to do what it is asked for."""
_Entity = TypeVar('_Entity')


class Observer(contextlib.AbstractContextManager['Observer']):
    """Subscribe to a robot's topics in a ROS context of its own, served by its own thread."""

    def __init__(self, namespace: str, *, domain_id: int | None = None) -> None:
        """Start to watch ``namespace`` in a ROS domain (None: ROS_DOMAIN_ID)."""
        self._context = Context()
        init_rclpy(context=self._context, args=[], domain_id=domain_id)
        self._node = Node('observer', namespace=namespace, context=self._context)
        self._changed = threading.Condition()
        self.environments: list[Environment] = []
        self.episodes: list[EpisodeSummary] = []
        self.usages: list[ResourceUsage] = []
        self._subscribe()
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, name='observer', daemon=True)
        self._thread.start()

    def _subscribe(self) -> None:
        """Subscribe to what is kept; a watcher of the tests keeps more."""
        self._keep(EpisodeSummary, 'episode', qos.episode(), self.episodes)
        self._keep(Environment, 'environment', qos.environment(), self.environments)
        for name in ('sim', 'policy'):
            topic = f'resource_usage/{name}'
            self._keep(ResourceUsage, topic, qos.resource_usage(), self.usages)

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop watching; what was kept stays."""
        self._context.try_shutdown()
        self._thread.join()
        self._executor.shutdown()
        self._node.destroy_node()

    @property
    def sees_simulator(self) -> bool:
        """Return whether a simulator has announced itself and each of its topics was found.

        A run that waits for a policy which is started from then on is watched from its start.
        """
        topics = ('transition', 'episode')
        return bool(self.environments) and all(
            self._node.count_publishers(self._node.resolve_topic_name(topic)) for topic in topics
        )

    def wait_for(self, condition: Callable[[], Any], timeout_sec: float = 60.0) -> Any:
        """Wait until ``condition`` is true of what has arrived and return what it returned.

        Raise TimeoutError otherwise.
        """
        deadline = time.monotonic() + timeout_sec
        with self._changed:
            while time.monotonic() < deadline:
                if value := condition():
                    return value
                # Not for messages alone: the graph changes without one.
                self._changed.wait(_LOOK_AGAIN_SEC)
        raise TimeoutError(
            f'waited {timeout_sec} s in vain; arrived: {len(self.environments)} environments, '
            f'{counted(len(self.episodes), "episode")}'
        )

    def subscribed(
        self,
        message_type: type,
        topic: str,
        callback: Callable[[Any], None],
        profile: QoSProfile | int,
    ) -> contextlib.AbstractContextManager[Subscription]:
        """Hand each message of a topic to ``callback``, on the observer's thread, meanwhile."""
        node = self._node
        return self._lent(
            lambda: node.create_subscription(message_type, topic, callback, profile),
            node.destroy_subscription,
        )

    def publisher(
        self, message_type: type, topic: str, profile: QoSProfile | int
    ) -> contextlib.AbstractContextManager[Publisher]:
        """Lend a publisher of the observer's node."""
        node = self._node
        return self._lent(
            lambda: node.create_publisher(message_type, topic, profile), node.destroy_publisher
        )

    def client(
        self, service_type: type, service: str
    ) -> contextlib.AbstractContextManager[Client]:
        """Lend a client of the observer's node; the observer's thread serves it."""
        node = self._node
        return self._lent(lambda: node.create_client(service_type, service), node.destroy_client)

    @contextlib.contextmanager
    def _lent(
        self, create: Callable[[], _Entity], destroy: Callable[[_Entity], Any]
    ) -> Iterator[_Entity]:
        entity = self._on_thread(create)
        try:
            yield entity
        finally:
            self._on_thread(lambda: destroy(entity))

    def _on_thread(self, do: Callable[[], _Entity]) -> _Entity:
        """Return what ``do`` returns on the thread that serves the node.

        An entity that another thread destroys while the executor waits for it ends the executor.
        """
        if not self._thread.is_alive():
            raise RuntimeError('the observer has ended: make a new one')
        done: Future[_Entity] = Future()

        def work() -> None:
            try:
                done.set_result(do())
            except Exception as error:  # it belongs to who asked
                done.set_exception(error)

        self._executor.create_task(work)
        return done.result(_ANSWER_SEC)

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except Exception:
            # rclpy raises several things when `close` ends the context between two of its steps.
            if self._context.ok():
                raise

    def _keep(
        self, message_type: type, topic: str, profile: QoSProfile, kept: list, *, raw: bool = False
    ) -> None:
        def append(message: Any) -> None:
            with self._changed:
                kept.append(message)
                self._changed.notify_all()

        self._node.create_subscription(message_type, topic, append, profile, raw=raw)
