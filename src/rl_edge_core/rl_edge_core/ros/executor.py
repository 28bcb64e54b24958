"""The executor that serves a node: all callbacks on one thread, at the least cost per message."""

import inspect
from collections.abc import Callable
from typing import Any

from rclpy.executors import SingleThreadedExecutor
from rclpy.subscription import Subscription
from rclpy.task import Future
from rclpy.timer import Timer


class DirectExecutor(SingleThreadedExecutor):
    """Call the callbacks of subscriptions and timers directly, where rclpy makes a task of each.

    Such a task wakes the executor when its message is taken, and again when its callback has
    returned, for a turn in which there is nothing to do; and each turn builds a wait set of all
    that the node has. On one thread nobody needs that wake-up. Callbacks that are coroutines,
    services and the rest stay with rclpy.

    rclpy's own event-driven executor (7.1.6) would cost less still, but its timers stand still
    while no message comes.
    """

    def wake_when_done(self, future: Future) -> None:
        """End the wait of `spin_once` when ``future`` is done, for a loop that spins until then.

        rclpy's spin_until_future_complete adds a callback to the future at each turn: at thousands
        of turns per second that fills the memory in hours. Only a task ends the wait.
        """
        future.add_done_callback(lambda _: self.create_task(lambda: None))

    def _make_handler(self, entity: Any, node: Any, take_from_wait_list: Callable) -> Any:
        is_direct = isinstance(entity, Subscription | Timer)
        if is_direct and not inspect.iscoroutinefunction(entity.callback):
            return _DirectCall(entity, take_from_wait_list)
        return super()._make_handler(entity, node, take_from_wait_list)


def take_pending(subscription: Subscription) -> None:
    """Call the callback of ``subscription`` with each message that has arrived by now.

    For timers whose work depends on the newest message: an executor serves a timer that is due
    before the messages that came in time for it. Call it on the executor's thread.
    """
    while True:
        with subscription.handle:
            taken = subscription.handle.take_message(subscription.msg_type, subscription.raw)
        if taken is None:
            return
        subscription.callback(taken[0])


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
