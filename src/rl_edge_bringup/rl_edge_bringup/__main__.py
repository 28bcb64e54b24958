"""What ``rl_edge sim`` and ``python -m rl_edge_bringup`` do: run a system until it ends."""

import signal
import sys
import textwrap
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml

from rl_edge_bringup.prepare import prepare
from rl_edge_bringup.running_system import RunningSystem
from rl_edge_bringup.systems import RECORDING_ARGUMENTS, SYSTEMS, SystemDescription, find_system
from rl_edge_core.command import discard_output, fail, installed_commands
from rl_edge_core.command import main as rl_edge
from rl_edge_core.errors import ConfigurationError, RlEdgeError
from rl_edge_core.files import write_atomically
from rl_edge_core.model_files import workspace_folder
from rl_edge_core.parameters import (
    Setting,
    help_lines,
    node_parameters,
    parse_pairs,
    registered_nodes,
    settings_of,
)
from rl_edge_core.signals import SAME_REQUEST_SEC, watch_ending_signals

_MODULE = 'python -m rl_edge_bringup'
_HELP_WORDS = ('-h', '--help')
_WIDTH = 96
ECHO_SEC = 0.5
"""A signal that comes again so soon is no second Ctrl-C: ``timeout`` signals its command, then the
group that both are in."""


def main(words: Sequence[str] | None = None) -> int:
    """Run what ``words`` (default: the command line's) name; return the exit code."""
    name, *rest = list(sys.argv[1:] if words is None else words) or ['--help']
    try:
        if name in ('list', *_HELP_WORDS):
            print(overview())
            return 0
        if name == 'parameters':
            return write_parameter_files(rest)
        if name not in [system.name for system in SYSTEMS]:
            return rl_edge([name, *rest])  # experiments, by the names they always had
        return run_system([name, *rest])
    except RlEdgeError as error:
        return fail(error)


def overview() -> str:
    """Return the systems, the other commands that start nodes, and how to call them."""
    lines = [f'usage: {_MODULE} NAME [argument:=value ...] | NAME --help | list', '', 'systems']
    here = [s for s in SYSTEMS if set(s.executables) <= set(registered_nodes())]
    lines += [f'  {system.name:<10} {system.description}' for system in here]
    names = [system.name for system in SYSTEMS]
    others = [c for c in installed_commands() if c.starts_nodes and c.name not in names]
    if others:
        lines += ['', 'experiments']
        lines += [f'  {command.name:<10} {command.help}' for command in others]
    return '\n'.join(lines)


def _help(system: SystemDescription) -> list[str]:
    """Return a text of each argument, without those of recording where nothing can record."""
    from rl_edge_bringup.recording import can_record  # loaded where it is needed

    arguments = list(system.arguments)
    if can_record():
        return help_lines(arguments)
    of_recording = [a for a in arguments if a.name in RECORDING_ARGUMENTS]
    lines = help_lines(a for a in arguments if a not in of_recording)
    if of_recording:
        lines.append('  record: needs rl_edge_eval or ros2 bag, which are not installed here')
    return lines


def run_system(words: Sequence[str], prog: str = _MODULE) -> int:
    """Run the system that the first of ``words`` names; return 0, or the failed node's exit code.

    The other words are ``name:=value``, or ``--help``. Ends with 128 + n after signal n, such as
    130 after Ctrl-C, with no process left running. A second Ctrl-C ends all nodes at once.
    """
    name, *rest = words
    system = find_system(name)
    if any(word in _HELP_WORDS for word in rest):
        print('\n'.join([f'usage: {prog} {name} [argument:=value ...]', '', *_help(system)]))
        return 0
    prepared = prepare(system, parse_pairs(rest))
    print(prepared.summary, flush=True)
    received: list[tuple[int, float]] = []

    def print_line(node: str, line: str) -> None:
        try:
            print(f'[{node}] {line}', flush=True)
        except BrokenPipeError:  # the reader, such as `head`, has seen enough
            discard_output()
            stop(signal.SIGPIPE)

    def stop(number: int) -> None:
        now_sec = time.monotonic()
        is_repeated = any(
            number == earlier and now_sec - at_sec > ECHO_SEC for earlier, at_sec in received
        )
        is_late = bool(received) and now_sec - received[0][1] > SAME_REQUEST_SEC
        if not received or is_repeated or is_late:
            running.stop()
        received.append((number, now_sec))

    running = RunningSystem(
        prepared.processes, on_node_exit=prepared.on_node_exit, on_line=print_line
    )
    watch_ending_signals(stop)
    with running:
        outcome = running.wait()
    if received:
        number = received[0][0]
        if number != signal.SIGPIPE:
            print(f'stopped by {signal.Signals(number).name}', file=sys.stderr, flush=True)
        return 128 + number
    if outcome.exit_code:
        print(f'error: {outcome.reason}', file=sys.stderr, flush=True)
    return outcome.exit_code


def write_parameter_files(words: Sequence[str]) -> int:
    """Write config/NODE.yaml of every node of the checkout, from the dataclass of its parameters.

    With ``--check`` write nothing, name those that differ and return 1.
    """
    if list(words) not in ([], ['--check']):
        raise ConfigurationError(f'parameters takes --check or nothing, not {" ".join(words)}')
    checkout = workspace_folder()
    if checkout is None:
        raise ConfigurationError('parameter files are written in a checkout, which is not here')
    changed = {
        path: text
        for path, text in parameter_files(checkout).items()
        if not path.is_file() or path.read_text() != text
    }
    for path, text in changed.items():
        print(f'{path} {"differs" if words else "written"}')
        if not words:
            write_atomically(path, text)
    return 1 if words and changed else 0


def parameter_files(checkout: Path) -> dict[Path, str]:
    """Return path and content of the parameter file of each installed node of the checkout."""
    files = {}
    for executable, entry_point in registered_nodes().items():
        package = checkout / 'src' / str(entry_point.dist.name if entry_point.dist else '')
        if package.is_dir():
            text = to_yaml(executable, settings_of(node_parameters(executable)))
            files[package / 'config' / f'{executable}.yaml'] = text
    return files


def to_yaml(executable: str, settings: Iterable[Setting]) -> str:
    """Return the parameter file of a node: every parameter with its default, its text above it."""
    lines = [
        f"# Parameters of {executable} with their defaults, written from the node's dataclass by",
        '# `python -m rl_edge_bringup parameters`: change them there, or copy this file.',
        '/**:',
        '  ros__parameters:',
    ]
    for setting in settings:
        unit = f', in {setting.unit}' if setting.unit else ''
        facts = f'{setting.description.rstrip(".")} ({setting.valid or "text"}{unit})'
        prefix = '    # '
        lines += textwrap.wrap(facts, _WIDTH, initial_indent=prefix, subsequent_indent=prefix)
        default = list(setting.default) if isinstance(setting.default, tuple) else setting.default
        value = yaml.safe_dump([default], default_flow_style=True, width=_WIDTH).strip()[1:-1]
        lines.append(f'    {setting.name}: {value}')
    return '\n'.join(lines) + '\n'


if __name__ == '__main__':
    sys.exit(main())
