"""The front-end for ``ros2 launch``: the same systems, arguments and checks.

Everything is handed to launch_ros: parameters as dictionaries, resolved namespaces, output.
Nothing is kept outside of the launch context, so several includes in one file do not meet.

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
from rl_edge_bringup.models import PACKAGE
from rl_edge_bringup.prepare import NodeProcess, PreparedSystem, prepare
from rl_edge_bringup.systems import MOST_RESTARTS, READY_PERIOD_SEC, RESPAWN, SystemDescription
from rl_edge_core.parameters import check_names, parse_pairs

_OF_LAUNCH = ('launch-prefix', 'launch-prefix-filter', 'emulate_tty')
"""Launch configurations that launch itself reads."""
_RESTART_AFTER_SEC = 1.0
"""launch restarts a process always after the same time."""


def describe_launch(system: SystemDescription) -> LaunchDescription:
    """Return what ``ros2 launch`` needs to show the arguments of ``system`` and to start it."""
    arguments = system.arguments
    declared = [
        DeclareLaunchArgument(
            argument.name,
            default_value=argument.default_text,
            description=argument.description,
            choices=list(argument.choices) or None,
        )
        for argument in arguments
    ]
    # Names are checked first: launch itself ignores an argument that nobody declared.
    check = OpaqueFunction(function=lambda context: _check_names(context, system))
    return LaunchDescription([check, *declared, StartNodes(system)])


class StartNodes(Action):
    """Prepare a system when its turn comes, and start its nodes."""

    def __init__(self, system: SystemDescription) -> None:
        """Keep the system; nothing is checked or written yet."""
        super().__init__()
        self._system = system

    def __repr__(self) -> str:
        """Return the nodes with default arguments, as ``--print-description`` shows them."""
        values = {argument.name: argument.default for argument in self._system.arguments}
        nodes = ', '.join(
            f'Node(package={node.package}, executable={node.executable}, name={node.full_name})'
            for node in self._system.nodes(values)
        )
        return f'StartNodes({self._system.name}, by default: {nodes})'

    def execute(self, context: LaunchContext) -> list[Action]:
        """Return the actions that start the nodes."""
        configurations: Mapping[str, str] = context.launch_configurations
        prepared = prepare(
            self._system,
            {argument.name: configurations[argument.name] for argument in self._system.arguments},
            pushed_namespace=configurations.get('ros_namespace') or '',
            remappings=configurations.get('ros_remaps') or (),  # type: ignore[arg-type]
        )
        run = _Run(prepared, {p.label for p in prepared.processes if p.node.ends_run}, {})
        lines = [LogInfo(msg=line) for line in prepared.summary.splitlines()]
        return [*lines, *_start_in_turn(run, list(prepared.processes))]


def _check_names(context: LaunchContext, system: SystemDescription) -> None:
    # A launch file that includes this one has arguments of its own on the same command line.
    file = Path(context.locals.current_launch_file_path)
    by_package = file.name in sys.argv and PACKAGE in sys.argv
    if by_package or any(Path(word).resolve() == file.resolve() for word in sys.argv):
        given = [name for name in parse_pairs(context.argv) if name not in _OF_LAUNCH]
        check_names(system.arguments, given)


@dataclass(frozen=True)
class _Run:
    prepared: PreparedSystem
    unfinished: set[str]
    """Labels of the nodes that end the run and have not ended yet."""
    oom_kills: dict[str, int]
    """By label: what `count_oom_kills` said when the node started."""


def _start_in_turn(run: _Run, processes: list[NodeProcess]) -> list[Action]:
    """Return the nodes; those after one with a ready file follow when the file is there."""
    nodes: list[Action] = []
    for index, process in enumerate(processes):
        nodes += [_process_action(run, process), _count_oom_kills(run, process)]
        if process.node.ready_file:
            return [*nodes, _wait(run, process.node.ready_file, processes[index + 1 :])]
    return nodes


def _count_oom_kills(run: _Run, process: NodeProcess) -> Action:
    def count(_: LaunchContext) -> None:
        from rl_edge_bringup.node_exit import count_oom_kills  # once the node is being started

        run.oom_kills[process.label] = count_oom_kills()

    return OpaqueFunction(function=count)


def _wait(run: _Run, pattern: str, processes: list[NodeProcess]) -> Action:
    def look(context: LaunchContext) -> list[Action]:
        if glob.glob(pattern):
            return _start_in_turn(run, processes)
        return [_wait(run, pattern, processes)]

    return TimerAction(period=READY_PERIOD_SEC, actions=[OpaqueFunction(function=look)])


def _process_action(run: _Run, process: NodeProcess) -> ExecuteProcess:
    """Return the action that starts one node, or another program beside them."""
    node, on_node_exit = process.node, run.prepared.on_node_exit
    of_all = {
        # The kernel tells the node when ros2 launch is gone. It may still publish then: launch
        # does not wait for its nodes when it gets SIGTERM, as from `docker stop`.
        'prefix': 'setpriv --pdeathsig TERM' if shutil.which('setpriv') else '',
        'output': 'screen',
        'emulate_tty': True,
        'on_exit': _OnExit(run, process),
        'respawn': on_node_exit == RESPAWN,
        'respawn_delay': _RESTART_AFTER_SEC,
        'respawn_max_retries': MOST_RESTARTS,
    }
    if node.command:
        return ExecuteProcess(cmd=list(node.command), name=process.label, **of_all)
    return Node(
        package=node.package,
        executable=node.executable,
        exec_name=process.label,  # else launch calls all of them after the prefix
        name=node.name,
        namespace=f'/{node.namespace}',  # resolved already
        parameters=[dict(process.parameters)] if process.parameters else None,
        ros_arguments=list(process.ros_arguments),
        **of_all,
    )


class _OnExit:
    """Decide what follows each exit of one node; launch itself starts it again."""

    def __init__(self, run: _Run, process: NodeProcess) -> None:
        self._run, self._process = run, process
        self._restarts = 0

    def __call__(self, event: ProcessExited, context: LaunchContext) -> SomeEntitiesType | None:
        # Nothing of it before a node starts.
        from rl_edge_bringup.node_exit import count_oom_kills, decide_after_exit

        if context.is_shutdown:
            return None
        unfinished, label = self._run.unfinished, self._process.label
        if event.returncode == 0:
            unfinished.discard(label)
        oom_kills, before = count_oom_kills(), self._run.oom_kills.get(label, 0)
        self._run.oom_kills[label] = oom_kills
        decision = decide_after_exit(
            self._process.node,
            label=label,
            pid=event.pid,
            return_code=event.returncode,
            on_node_exit=self._run.prepared.on_node_exit,
            restarts=self._restarts,
            oom_kills=oom_kills - before,
            is_last=not unfinished,
            restart_after_sec=_RESTART_AFTER_SEC,
        )
        self._restarts += 1
        if not decision.is_over:
            return LogInfo(msg=decision.message)
        if decision.exit_code:
            # An exception ends ros2 launch with exit code 1; Shutdown would end it with 0.
            raise RuntimeError(decision.message)
        return [LogInfo(msg=decision.message), Shutdown(reason=decision.message)]
