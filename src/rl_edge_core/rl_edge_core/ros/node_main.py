"""The main of every node: start, serve until told to end, leave cleanly with an exit code."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future

from rl_edge_core.errors import RlEdgeError

_ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SAME_REQUEST_SEC = 2.0
"""Signals that come so soon after the first are the same request: a service manager, or a shell
without a terminal, tells the nodes and ros2 launch, which tells the nodes as well."""


class FinishingNode(Protocol):
    """What `run_node` needs of a node, besides being one."""

    finished: Future
    """Completed by the node with the exit code of the process."""

    def close(self) -> None:
        """Publish last words and stop threads. Called once, before the node is destroyed."""


def run_node(make_node: Callable[[], Any], args: list[str] | None = None) -> int:
    """Serve the node that ``make_node`` makes; return the exit code.

    Ends with 0 on SIGINT or SIGTERM, with the node's own code when it completes ``finished``,
    with 1 and one line on stderr for an RlEdgeError; other exceptions pass through. The node can
    still publish in `close`, since its context outlives the signal. A second signal, two seconds
    or more after the first, ends the process at once.
    """
    stop_requested = Future()
    _complete_on_signal(stop_requested)
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    try:
        return _serve(make_node, stop_requested)
    except RlEdgeError as error:
        print(f'error: {error}', file=sys.stderr, flush=True)
        return 1
    finally:
        # All is said: a signal that comes now would only turn a clean end into a death.
        for number in _ENDING_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        rclpy.try_shutdown()


def _serve(make_node: Callable[[], Any], stop_requested: Future) -> int:
    node = make_node()
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    stop_requested.add_done_callback(lambda _: _finish(node.finished))
    try:
        _spin_until_done(executor, node.finished)
        return int(node.finished.result()) if node.finished.done() else 0
    except (KeyboardInterrupt, ExternalShutdownException):
        return 0
    finally:
        node.close()
        executor.shutdown()
        node.destroy_node()


def _spin_until_done(executor: SingleThreadedExecutor, finished: Future) -> None:
    # rclpy's spin_until_future_complete adds a callback to the future at each turn: at thousands
    # of turns a second that fills the memory in hours. A task ends the executor's wait as well.
    finished.add_done_callback(lambda _: executor.create_task(_do_nothing))
    while not finished.done():
        executor.spin_once()


def _do_nothing() -> None:
    pass


def _finish(finished: Future) -> None:
    if not finished.done():
        finished.set_result(0)


def _complete_on_signal(stop_requested: Future) -> None:
    # A handler in Python would run only when the executor's wait in C ends. The wake-up descriptor
    # is written to at once, in whichever thread the kernel picks: a mask and sigwait would miss
    # the threads that NumPy started when it was imported.
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    for number in _ENDING_SIGNALS:
        signal.signal(number, _leave_to_thread)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(
        target=_wait_for_signals, args=(reading, stop_requested), name='signals', daemon=True
    ).start()


def _leave_to_thread(number: int, frame: object) -> None:
    pass


def _wait_for_signals(reading: int, stop_requested: Future) -> None:
    _next_signal(reading)
    stop_requested.set_result(True)
    since_sec = time.monotonic()
    number = _next_signal(reading)
    while time.monotonic() - since_sec < _SAME_REQUEST_SEC:
        number = _next_signal(reading)
    os._exit(128 + number)


def _next_signal(reading: int) -> int:
    while (number := os.read(reading, 1)[0]) not in _ENDING_SIGNALS:
        pass
    return number
