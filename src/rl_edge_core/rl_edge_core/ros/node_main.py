"""The main of every node: help, start, serve until told to end, leave cleanly with an exit code.

rclpy is imported late, so that a node's executable answers ``--help``, refuses words that are no
arguments, and ends cleanly at once when it is interrupted while it still imports.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from rl_edge_core.errors import ConfigurationError, RlEdgeError, did_you_mean
from rl_edge_core.parameters import help_lines, settings_of
from rl_edge_core.ros.start import announce_often, init_rclpy
from rl_edge_core.signals import ENDING_SIGNALS, SAME_REQUEST_SEC, watch_ending_signals

if TYPE_CHECKING:
    from rclpy.node import Node
    from rclpy.task import Future

_HELP_WORDS = ('-h', '--help')
_ROS_ARGS = '--ros-args'
_USAGE_ERROR = 2
_LATE_DISCOVERY_SEC = 1.0
"""By when nodes of a busy machine have found each other."""
_NAME_RULE = re.compile(r'(?:(\w+):)?__(?:node|name):=(\w+)')
"""A remapping rule for the name of a node, of all or of one."""


def run_node_process(
    make_node: str,
    parameters_type: type,
    *,
    words: Sequence[str] | None = None,
    alone: bool = True,
) -> int:
    """Serve the node that ``make_node`` (``module:callable``) makes; return the exit code.

    ``words`` default to the command line's. ``--help`` prints the parameters in
    ``parameters_type``; other words than ``--ros-args ...`` are refused with exit code 2. Where
    ``alone``, the node does not start beside a running one of its full name (see `namesake`).

    The node has a future ``finished``, which it completes with its exit code, and ``close()``,
    called once before it is destroyed; where it has ``awaited_subscription()``, that
    subscription is served at the least cost (see `DirectExecutor`). Ends with 0 on SIGINT,
    SIGTERM or SIGHUP, also while modules are imported, with the node's own code when it
    completes ``finished``, with 1 and one line on stderr for an RlEdgeError and for arguments
    or log folders that ROS 2 refuses; other exceptions pass through. The node can still publish
    in `close`, since its context outlives the signal. A second signal, two seconds or more after
    the first, ends the process at once.
    """
    given = list(sys.argv[1:] if words is None else words)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))  # nothing runs yet that needs an ending
    module, _, maker = make_node.partition(':')
    if own := _own_words(given):
        return _answer(own, module.rpartition('.')[2], parameters_type)
    announce_often()
    import rclpy
    from rclpy.executors import ExternalShutdownException
    from rclpy.signals import SignalHandlerOptions
    from rclpy.task import Future

    from rl_edge_core.ros.executor import DirectExecutor
    from rl_edge_core.ros.graph import namesake

    try:
        init_rclpy(args=[sys.argv[0], *given], signal_handler_options=SignalHandlerOptions.NO)
        name = _node_name(module.rpartition('.')[2].removesuffix('_node'), given)
        scout = _scout(name) if alone else None
        make = getattr(import_module(module), maker)
        stop_requested = Future()
        _complete_on_signal(stop_requested)
        if scout is not None and (complaint := namesake(scout, name)):
            raise ConfigurationError(complaint)
        node = make()
        executor = DirectExecutor(awaited=getattr(node, 'awaited_subscription', lambda: None))
        executor.add_node(node)
        stop_requested.add_done_callback(
            lambda _: node.finished.done() or node.finished.set_result(0)
        )
        executor.wake_when_done(node.finished)
        if scout is not None:
            _look_for_namesake_again(node, scout)
        try:
            while not node.finished.done():  # here: each step is taken some calls below this line
                if not executor.serve_next():
                    executor.spin_once()
            return int(node.finished.result())
        except (KeyboardInterrupt, ExternalShutdownException):
            return 0
        finally:
            node.close()
            executor.shutdown()
            node.destroy_node()
    except RlEdgeError as error:
        print(f'error: {error}', file=sys.stderr, flush=True)
        return 1
    finally:
        # Shutdown is complete; ignore further signals so that they cannot change the exit status.
        for number in ENDING_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        rclpy.try_shutdown()


def _node_name(default: str, words: Sequence[str]) -> str:
    """Return the name that a node will have with these ROS arguments."""
    rules = filter(None, map(_NAME_RULE.fullmatch, words))
    return next((rule[2] for rule in rules if rule[1] in (None, default)), default)


def _scout(name: str) -> Node:
    """Return a node that meets the others of the graph while modules are imported.

    It says that a node called ``name`` is starting, and since when; see `namesake`.
    """
    import rclpy

    from rl_edge_core.ros.graph import scout_name

    rule = ['--ros-args', '-r', f'__node:={scout_name(name)}']  # those for the node come after it
    return rclpy.create_node(
        '_scout', cli_args=rule, enable_rosout=False, start_parameter_services=False
    )


def _look_for_namesake_again(node: Node, scout: Node) -> None:
    """End a node that has just started beside one of its name which was discovered late."""
    from rl_edge_core.ros.diagnostics import create_steady_timer
    from rl_edge_core.ros.graph import namesake

    def look() -> None:
        node.destroy_timer(timer)
        complaint = namesake(scout, node.get_name(), is_there=True)
        if not complaint:
            scout.destroy_node()  # the node's name is settled
        elif not node.finished.done():  # type: ignore[attr-defined]
            node.get_logger().error(complaint)
            node.finished.set_result(1)  # type: ignore[attr-defined]

    timer = create_steady_timer(node, _LATE_DISCOVERY_SEC, look)


def _complete_on_signal(stop_requested: Future) -> None:
    first_sec: list[float] = []

    def stop(number: int) -> None:
        now_sec = time.monotonic()
        if not first_sec:
            first_sec.append(now_sec)
            stop_requested.set_result(True)
        elif now_sec - first_sec[0] >= SAME_REQUEST_SEC:
            os._exit(128 + number)

    watch_ending_signals(stop)


def _own_words(words: list[str]) -> list[str]:
    """Return the words that are not ROS arguments: outside of ``--ros-args ... [--]``."""
    own, of_ros = [], False
    for word in words:
        if word == _ROS_ARGS:
            of_ros = True
        elif of_ros and word == '--':
            of_ros = False
        elif not of_ros:
            own.append(word)
    return own


def _answer(own: list[str], executable: str, parameters_type: type) -> int:
    """Print the help where it is asked for, else why words are refused; return the exit code."""
    if any(word in _HELP_WORDS for word in own):
        usage = f'usage: {executable} [{_ROS_ARGS} -p name:=value ... --params-file FILE ...]'
        lines = [usage, '', 'parameters:', *help_lines(settings_of(parameters_type))]
        try:
            print('\n'.join(lines), flush=True)
        except BrokenPipeError:  # the reader, such as `head`, has seen enough
            os._exit(0)
        return 0
    if ':=' in own[0]:
        hint = f'write {_ROS_ARGS} -p {own[0]}'
    else:
        hint = f'see {executable} --help{did_you_mean(own[0], [_ROS_ARGS, *_HELP_WORDS])}'
    print(f'error: {own[0]!r} is not an argument of {executable}: {hint}', file=sys.stderr)
    return _USAGE_ERROR
