"""The executor that serves a node: all callbacks on one thread, at the least cost per message."""

import inspect
import time
from collections.abc import Callable
from typing import Any

from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.subscription import Subscription
from rclpy.task import Future
from rclpy.timer import Timer

CLOSE_BEHIND_NSEC = 1_000_000
"""How long only the awaited subscription is looked at after it was served."""
LOOK_AT_ALL_SEC = 0.005
"""How often all that the node has is looked at, however fast the awaited messages follow."""


class DirectExecutor(SingleThreadedExecutor):
    """Call the callbacks of subscriptions and timers directly, where rclpy makes a task of each.

    Such a task wakes the executor when its message is taken, and again when its callback has
    returned, for a turn in which there is nothing to do; and each turn builds a wait set of all
    that the node has. On one thread nobody needs that wake-up. Callbacks that are coroutines,
    services and the rest stay with rclpy.

    Observation and action follow each other within a millisecond. So after a message of the
    subscription that ``awaited`` returns, the next one is waited for alone, for so long: a wait
    set of one costs less than one with the services, timers and events of a node.

    rclpy's own event-driven executor (7.1.6) would cost less still, but its timers stand still
    while no message comes.
    """

    def __init__(
        self,
        *,
        context: Context | None = None,
        awaited: Callable[[], Subscription | None] = lambda: None,
    ) -> None:
        """Serve the nodes that are added; ``awaited`` must return a live subscription or None."""
        super().__init__(context=context)
        self._awaited = awaited
        self._next = rclpy_implementation.WaitSet(1, 0, 0, 0, 0, 0, self._context.handle)
        self._served: Any = None
        self._looked_at_all_sec = 0.0

    def serve_next(self) -> bool:
        """Serve the awaited message that is close behind the last one; whether it came.

        Where it did not, all that the node has is due to be looked at, by `spin_once`.
        """
        subscription, served, self._served = self._awaited(), self._served, None
        is_due = time.monotonic() - self._looked_at_all_sec >= LOOK_AT_ALL_SEC
        if is_due or subscription is None or subscription is not served:
            return False
        with subscription.handle:
            self._next.clear_entities()
            self._next.add_subscription(subscription.handle)
            self._next.wait(CLOSE_BEHIND_NSEC)
        if take_one(subscription):
            self._served = served
        return self._served is served

    def wake_when_done(self, future: Future) -> None:
        """End the wait of `spin_once` when ``future`` is done, for a loop that spins until then.

        rclpy's spin_until_future_complete adds a callback to the future at each turn: at thousands
        of turns per second that fills the memory in hours. Only a task ends the wait.
        """
        future.add_done_callback(lambda _: self.create_task(lambda: None))

    def _make_handler(self, entity: Any, node: Any, take_from_wait_list: Callable) -> Any:
        is_direct = isinstance(entity, Subscription | Timer)
        if is_direct and not inspect.iscoroutinefunction(entity.callback):
            self._served, self._looked_at_all_sec = entity, time.monotonic()
            return _DirectCall(entity, take_from_wait_list)
        return super()._make_handler(entity, node, take_from_wait_list)


def take_pending(subscription: Subscription) -> None:
    """Call the callback of ``subscription`` with each message that has arrived by now.

    For timers whose work depends on the newest message: an executor serves a timer that is due
    before the messages that came in time for it. Call it on the executor's thread.
    """
    while take_one(subscription):
        pass


def take_one(subscription: Subscription) -> bool:
    """Call the callback with the next message that has arrived; whether there was one."""
    with subscription.handle:
        taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
    if taken is None:
        return False
    subscription.callback(taken[0])
    return True


class _DirectCall:
    """What an executor asks of a task, for a callback that runs to its end at once."""

    def __init__(self, entity: Any, take: Callable[[Any], Any]) -> None:
        self._entity, self._take = entity, take

    def __call__(self) -> None:
        execute = self._take(self._entity)
        if execute is None:
            return  # nothing to take, or destroyed since it was found ready
        try:  # noqa: SIM105 - a context manager per message costs more
            execute().send(None)
        except StopIteration:
            pass

    def exception(self) -> None:
        """Return None: what the callback raised has been raised already."""

    def result(self) -> None:
        """Return None, as callbacks do."""
