"""The front-end for ``ros2 launch``: the same systems, arguments and checks.

The package ``launch`` is part of a ROS 2 installation and not on PyPI, so this module is imported
by launch files alone.
"""

import glob
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    LogInfo,
    OpaqueFunction,
    Shutdown,
    TimerAction,
)
from launch.events.process import ProcessExited
from launch_ros.actions import Node

from launch import Action, LaunchContext, LaunchDescription, SomeEntitiesType
from rl_edge_bringup.arguments import check_names, parse_pairs
from rl_edge_bringup.description import SystemDescription
from rl_edge_bringup.locations import PACKAGE
from rl_edge_bringup.node_exit import READY_PERIOD_SEC, judge_exit
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
    run = _Run(prepared, {p.label for p in prepared.processes if p.node.ends_run})
    lines = [LogInfo(msg=line) for line in describe(prepared).splitlines()]
    return [*lines, *_start_in_turn(run, list(prepared.processes))]


@dataclass(frozen=True)
class _Run:
    prepared: PreparedSystem
    unfinished: set[str]
    """Labels of the nodes that end the run and have not ended yet."""


def _start_in_turn(run: _Run, processes: list[NodeProcess]) -> list[Action]:
    """Return the nodes; those after one with a ready file follow when the file is there."""
    nodes: list[Action] = []
    for index, process in enumerate(processes):
        nodes.append(_node(run, process, restarts=0))
        if process.node.ready_file:
            return [*nodes, _wait(run, process.node.ready_file, processes[index + 1 :])]
    return nodes


def _wait(run: _Run, pattern: str, processes: list[NodeProcess]) -> Action:
    def look(context: LaunchContext) -> list[Action]:
        if glob.glob(pattern):
            return _start_in_turn(run, processes)
        return [_wait(run, pattern, processes)]

    return TimerAction(period=READY_PERIOD_SEC, actions=[OpaqueFunction(function=look)])


def _prefix() -> str:
    # The kernel tells the node when ros2 launch is gone. It may still say its last words: launch
    # does not wait for its nodes when it gets SIGTERM, as from `docker stop`.
    return 'setpriv --pdeathsig TERM' if shutil.which('setpriv') else ''


def _node(run: _Run, process: NodeProcess, *, restarts: int) -> ExecuteProcess:
    def on_exit(event: ProcessExited, context: LaunchContext) -> SomeEntitiesType | None:
        if context.is_shutdown:
            return None
        if event.returncode == 0:
            run.unfinished.discard(process.label)
        verdict = judge_exit(
            process.node,
            label=process.label,
            pid=event.pid,
            return_code=event.returncode,
            on_node_exit=run.prepared.on_node_exit,
            restarts=restarts,
            is_last=not run.unfinished,
        )
        if verdict.restart_after_sec is not None:
            again = _node(run, process, restarts=restarts + 1)
            timer = TimerAction(period=verdict.restart_after_sec, actions=[again])
            return [LogInfo(msg=verdict.message), timer]
        if not verdict.is_over:
            return LogInfo(msg=verdict.message)
        if verdict.exit_code:
            # An exception ends ros2 launch with exit code 1; Shutdown would end it with 0.
            raise RuntimeError(verdict.message)
        return [LogInfo(msg=verdict.message), Shutdown(reason=verdict.message)]

    of_all = {
        'prefix': _prefix(),
        'output': 'screen',
        'emulate_tty': True,
        'on_exit': on_exit,
    }
    if process.node.command:
        return ExecuteProcess(cmd=list(process.command), name=process.label, **of_all)
    return Node(
        package=process.node.package,
        executable=process.node.executable,
        exec_name=process.label,  # else launch calls all of them after the prefix
        name=process.node.name,
        namespace=process.node.namespace,
        parameters=[str(process.parameter_file)],
        ros_arguments=['--log-level', process.log_level],
        **of_all,
    )
