"""The front-end for ``ros2 launch``: the same systems, arguments and checks.

The package ``launch`` is part of a ROS 2 installation and not on PyPI, so this module is imported
by launch files alone.
"""

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction, Shutdown, TimerAction
from launch.events.process import ProcessExited
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription, SomeEntitiesType
from rl_edge_bringup.arguments import check_names, parse_pairs
from rl_edge_bringup.description import SystemDescription
from rl_edge_bringup.locations import PACKAGE
from rl_edge_bringup.node_exit import judge_exit
from rl_edge_bringup.prepare import NodeProcess, PreparedSystem, prepare
from rl_edge_bringup.run_command import describe

_OF_LAUNCH = ('launch-prefix', 'launch-prefix-filter', 'emulate_tty')
"""Launch configurations that launch itself reads."""


def describe_launch(system: SystemDescription) -> LaunchDescription:
    """Return what ``ros2 launch`` needs to show the arguments of ``system`` and to start it."""
    declared = [
        DeclareLaunchArgument(
            argument.name,
            default_value=argument.default_text,
            description=argument.description,
            choices=list(argument.choices) or None,
        )
        for argument in system.arguments
    ]
    # Names are checked first: launch itself ignores an argument that nobody declared.
    check = OpaqueFunction(function=lambda context: _check_names(context, system))
    start = OpaqueFunction(function=lambda context: _start(context, system))
    return LaunchDescription([check, *declared, start])


def _check_names(context: LaunchContext, system: SystemDescription) -> None:
    # A launch file that includes this one has arguments of its own on the same command line.
    if _is_launched_itself(context, sys.argv):
        given = [name for name in parse_pairs(context.argv) if name not in _OF_LAUNCH]
        check_names(system.arguments, given)


def _is_launched_itself(context: LaunchContext, words: list[str]) -> bool:
    file = Path(context.locals.current_launch_file_path)
    by_package = file.name in words and PACKAGE in words
    return by_package or any(Path(word).resolve() == file.resolve() for word in words)


def _start(context: LaunchContext, system: SystemDescription) -> SomeEntitiesType:
    configurations: Mapping[str, str] = context.launch_configurations
    given = {argument.name: configurations[argument.name] for argument in system.arguments}
    prepared = prepare(system, given)
    nodes = [_node(prepared, process, restarts=0) for process in prepared.processes]
    return [*(LogInfo(msg=line) for line in describe(prepared).splitlines()), *nodes]


def _prefix() -> str:
    # The kernel ends the node when ros2 launch is killed, as it does for our own runner.
    return 'setpriv --pdeathsig KILL' if shutil.which('setpriv') else ''


def _node(prepared: PreparedSystem, process: NodeProcess, *, restarts: int) -> Node:
    def on_exit(event: ProcessExited, context: LaunchContext) -> SomeEntitiesType | None:
        if context.is_shutdown:
            return None
        verdict = judge_exit(
            process.node,
            pid=event.pid,
            return_code=event.returncode,
            on_node_exit=prepared.on_node_exit,
            restarts=restarts,
        )
        if verdict.restart_after_sec is not None:
            again = _node(prepared, process, restarts=restarts + 1)
            timer = TimerAction(period=verdict.restart_after_sec, actions=[again])
            return [LogInfo(msg=verdict.message), timer]
        if verdict.exit_code:
            # An exception ends ros2 launch with exit code 1; Shutdown would end it with 0.
            raise RuntimeError(verdict.message)
        return [LogInfo(msg=verdict.message), Shutdown(reason=verdict.message)]

    return Node(
        package=process.node.package,
        executable=process.node.executable,
        name=process.node.name,
        namespace=process.node.namespace,
        parameters=[str(process.parameter_file)],
        ros_arguments=['--log-level', process.log_level],
        prefix=_prefix(),
        output='screen',
        emulate_tty=True,
        on_exit=on_exit,
    )
