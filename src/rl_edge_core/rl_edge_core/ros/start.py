"""Start rclpy, or say in one sentence why it can not be; let nodes find each other soon."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rl_edge_core.errors import ConfigurationError
from rl_edge_core.files import ros_log_folder

if TYPE_CHECKING:  # `rl_edge --help` needs none of it
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.node import Node

_VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
_FILES = ('DEFAULT_FASTRTPS_PROFILES.xml', 'DEFAULT_FASTDDS_PROFILES.xml')


def init_rclpy(**options: Any) -> None:
    """Call ``rclpy.init`` with ``options``, with a folder for logs that can be written to.

    Every program of ours that uses rclpy starts it so, but for the bare node of the benchmarks.
    Raise ConfigurationError for what ROS 2 refuses, and where DDS Security is asked of the wheels.
    """
    import rclpy

    if os.environ.get('ROS_SECURITY_ENABLE') == 'true' and os.environ.get('RL_EDGE_ROS_WHEELS'):
        raise ConfigurationError(
            'ROS_SECURITY_ENABLE is true, but the Fast DDS of the ROS 2 wheels is built without '
            'DDS Security: source a ROS 2 distribution, or unset ROS_SECURITY_ENABLE'
        )
    ros_log_folder()
    try:
        rclpy.init(**options)
    except Exception as error:  # rclpy raises several unrelated types here
        reason = str(error).partition(', at ')[0].replace('\n', ' ').strip()
        if 'logging' in reason or 'log dir' in reason:
            reason += ': set ROS_LOG_DIR to a folder that can be written to'
        raise ConfigurationError(reason) from error


@contextlib.contextmanager
def own_node(name: str, **settings: Any) -> Iterator[tuple[Node, SingleThreadedExecutor]]:
    """Give a node in a ROS context of its own, and what serves it; both end with the block.

    ``settings`` are those of `Node`, and ``domain_id``.
    """
    from rclpy.context import Context
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.node import Node

    with contextlib.ExitStack() as stack:
        context = Context()
        init_rclpy(context=context, args=[], domain_id=settings.pop('domain_id', None))
        stack.callback(context.try_shutdown)
        node = Node(name, context=context, **settings)
        stack.callback(node.destroy_node)
        executor = SingleThreadedExecutor(context=context)
        stack.callback(executor.shutdown)
        executor.add_node(node)
        yield node, executor


def announce_often(variables: MutableMapping[str, str] = os.environ) -> None:
    """Let Fast DDS repeat its announcements after 0.3 s instead of 3 s; call it before `rclpy`.

    Of nodes that start together some miss each other's first announcements (one pair in six on a
    busy machine), and the first action waited for the repetition. Writers ask as often what has
    arrived: what was lost is repeated then, and a node that waits for its last messages to arrive
    ends then. Profiles of the user, in a file that ``variables`` name or in the current folder,
    are left alone; other middleware ignores it.
    """
    has_own = any(variables.get(name) for name in _VARIABLES)
    if not has_own and not any(Path(name).exists() for name in _FILES):
        variables[profiles_variable(variables)] = str(profile(variables))


def profiles_variable(variables: Mapping[str, str] = os.environ) -> str:
    """Return the variable that Fast DDS of the ROS 2 in use reads; later ones warn of Jazzy's."""
    return _VARIABLES[0] if _is_jazzy(variables) else _VARIABLES[1]


def profile(variables: Mapping[str, str] = os.environ) -> Path:
    """Return our profile in the words of the Fast DDS of the ROS 2 in use: 2 in Jazzy, then 3."""
    return Path(__file__).with_name('fast_dds.xml' if _is_jazzy(variables) else 'fast_dds_3.xml')


def _is_jazzy(variables: Mapping[str, str]) -> bool:
    return variables.get('ROS_DISTRO', 'jazzy') == 'jazzy'
