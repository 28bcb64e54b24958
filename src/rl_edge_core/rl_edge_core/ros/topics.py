"""`rl_edge topic list|echo|hz`: look at topics where the `ros2` command line is not there."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any

import yaml

from rl_edge_core.argument_parser import ArgumentParser
from rl_edge_core.command import Command
from rl_edge_core.errors import ConfigurationError, close_words
from rl_edge_core.ros.start import announce_often, own_node
from rl_edge_core.wording import counted

if TYPE_CHECKING:  # `rl_edge --help` needs `COMMANDS` alone
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.node import Node

COMMANDS = (
    Command(
        name='topic',
        group='look',
        help='list topics, print their messages, measure their rate, as `ros2 topic` does',
        run='rl_edge_core.ros.topics:main',
        example='echo action --count 1',
    ),
)
SETTLED_SEC = 1.0
"""How long nothing new must have been discovered for the list to count as whole."""
SEARCH_SEC = 10.0
"""How long a topic and its publisher are looked for."""
SILENT_SEC = 1.0
"""After which it is said what is waited for."""
SHOWN = 64
"""Elements of an array that are printed."""


def main(words: Sequence[str], prog: str = 'rl_edge') -> int:
    """Run one of the three; return the exit code."""
    parser = ArgumentParser(prog=f'{prog} topic', description=__doc__)
    commands = parser.add_subparsers(required=True, metavar='{list,echo,hz}')
    listing = commands.add_parser('list', help='topics with types, publishers and subscriptions')
    listing.set_defaults(run=_list)
    for name, run, text in (('echo', _echo, 'print messages'), ('hz', _hz, 'measure the rate')):
        command = commands.add_parser(name, help=text)
        command.add_argument('topic', help='its name, or the last part: action for /ant0/action')
        command.add_argument('--count', type=int, default=0, help='messages to take; 0 for no end')
        command.set_defaults(run=run)
    options = parser.parse_args(words)
    announce_often()
    with own_node('rl_edge_topic', start_parameter_services=False) as (node, executor):
        options.run(node, executor, options)
    return 0


def _list(node: Node, _: SingleThreadedExecutor, __: argparse.Namespace) -> None:
    topics: list[tuple[str, list[str]]] = []
    changed_at = time.monotonic()
    while time.monotonic() - changed_at < SETTLED_SEC:
        found = [t for t in node.get_topic_names_and_types() if not _is_only_ours(node, t[0])]
        if found != topics:
            topics, changed_at = found, time.monotonic()
        time.sleep(0.05)
    for name, types in topics:
        print(
            f'{name:40s} {", ".join(types):45s} '
            f'{counted(node.count_publishers(name), "publisher")}, '
            f'{counted(node.count_subscribers(name), "subscription")}'
        )
    if not topics:
        print('no topic: does anything run with the same ROS_DOMAIN_ID?')


def _is_only_ours(node: Node, topic: str) -> bool:
    ends = node.get_publishers_info_by_topic(topic) + node.get_subscriptions_info_by_topic(topic)
    return all(end.node_name == node.get_name() for end in ends)


def _echo(node: Node, executor: SingleThreadedExecutor, options: argparse.Namespace) -> None:
    for message in _messages(node, executor, options, raw=False):
        print(yaml.dump(_plain(message), Dumper=_Dumper, sort_keys=False), end='')
        print('---', flush=True)


def _hz(node: Node, executor: SingleThreadedExecutor, options: argparse.Namespace) -> None:
    messages = _messages(node, executor, options, raw=True)
    times = [time.monotonic() for _ in _reported(messages)]
    if len(times) > 1:
        print(_rate(times))


def _reported(messages: Iterator[Any]) -> Iterator[Any]:
    """Pass messages on, and print their rate about once per second."""
    times: list[float] = []
    for message in messages:
        yield message
        times.append(time.monotonic())
        if times[-1] - times[0] >= 1.0:
            print(_rate(times), flush=True)
            del times[:-1]


def _rate(times: Sequence[float]) -> str:
    import numpy as np  # `rl_edge --help` needs `COMMANDS` alone

    gaps = np.diff(times)
    return (
        f'{1 / max(gaps.mean(), 1e-9):.1f} messages/s, apart by {1000 * gaps.min():.2f} to '
        f'{1000 * gaps.max():.2f} ms (mean of {len(gaps)}: {1000 * gaps.mean():.2f} ms)'
    )


def _messages(
    node: Node, executor: SingleThreadedExecutor, options: argparse.Namespace, *, raw: bool
) -> Iterator[Any]:
    """Yield messages of a topic as they come, as many as were asked for."""
    from rl_edge_core.ros import qos

    name, type_name = _find(node, options.topic)
    received: list[Any] = []
    offers = [one.qos_profile for one in node.get_publishers_info_by_topic(name)]
    profile = qos.matching(offers, depth=1000)
    node.create_subscription(_message_class(type_name), name, received.append, profile, raw=raw)
    taken, began = 0, time.monotonic()
    while not options.count or taken < options.count:
        executor.spin_once(timeout_sec=1.0)
        if not taken and not received and began and time.monotonic() - began > SILENT_SEC:
            began = 0.0
            print(f'no message on {name} yet: waiting', file=sys.stderr, flush=True)
        while received and (not options.count or taken < options.count):
            yield received.pop(0)
            taken += 1


def _find(node: Node, wanted: str) -> tuple[str, str]:
    """Return the full name and the type of a topic, once somebody publishes it."""
    began, has_said = time.monotonic(), False
    while True:
        topics = dict(node.get_topic_names_and_types())
        found = [n for n in topics if n == wanted or n.endswith('/' + wanted.lstrip('/'))]
        if wanted in found:
            found = [wanted]
        if len(found) > 1:
            raise ConfigurationError(f'{wanted} may be {" or ".join(found)}: give the whole name')
        if found and node.count_publishers(found[0]):
            return found[0], topics[found[0]][0]
        waited_sec = time.monotonic() - began
        missing = f'nobody publishes {found[0] if found else repr(wanted)}'
        if not found:
            missing += _close_topics(wanted, topics)
        if waited_sec > SEARCH_SEC:
            raise ConfigurationError(
                f'{missing}; `rl_edge topic list` names the topics of ROS_DOMAIN_ID '
                f'{node.context.get_domain_id()}'
            )
        if waited_sec > SILENT_SEC and not has_said:
            has_said = True
            print(f'{missing}: waiting for {SEARCH_SEC:g} s', file=sys.stderr, flush=True)
        time.sleep(0.05)


def _close_topics(wanted: str, topics: Iterable[str]) -> str:
    """Return the topics that may be meant, by their last part too; empty when none is close."""
    last = {topic.rpartition('/')[2]: topic for topic in topics}
    name = wanted.rpartition('/')[2]
    close = [last[part] for part in close_words(name, last, most=2)]
    return f' (did you mean {" or ".join(close)}?)' if close else ''


def _message_class(type_name: str) -> Any:
    package, _, name = type_name.rpartition('/')
    try:
        return getattr(import_module(package.replace('/', '.')), name)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f'messages of type {type_name} are not installed') from error


class _Dumper(yaml.SafeDumper):
    """Write lists of numbers in one line, and everything else below each other."""

    def represent_list(self, data: Iterable[Any]) -> yaml.SequenceNode:
        """Represent one list."""
        flow = not any(isinstance(item, dict) for item in data)
        return self.represent_sequence('tag:yaml.org,2002:seq', data, flow_style=flow)


_Dumper.add_representer(list, _Dumper.represent_list)


def _plain(value: Any) -> Any:
    """Return a message as types that YAML has; long arrays are cut."""
    if hasattr(value, 'get_fields_and_field_types'):
        return {name: _plain(getattr(value, name)) for name in value.get_fields_and_field_types()}
    if hasattr(value, '__len__') and not isinstance(value, str):
        shown = [_plain(item) for item in value[:SHOWN]]
        return shown if len(value) <= SHOWN else [*shown, f'... {len(value)} in all']
    return value.item() if hasattr(value, 'item') else value  # of NumPy
