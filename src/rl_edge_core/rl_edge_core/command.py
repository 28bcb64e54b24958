"""The command ``rl_edge``: what the installed packages can do, in groups, and how it is called.

A package registers its commands as one entry point of group `COMMANDS_GROUP` that names a tuple
of `Command`, in a module that imports nothing heavy: ``rl_edge --help`` loads those modules alone,
and what a command runs is imported when it is called.
"""

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from types import FrameType

from rl_edge_core.errors import ConfigurationError, MissingExtraError, RlEdgeError, did_you_mean
from rl_edge_core.extras import run_again_with
from rl_edge_core.parameters import registered_nodes

COMMANDS_GROUP = 'rl_edge.commands'
GROUPS = {
    'run': 'start nodes, with name:=value as in ROS 2',
    'learn': 'train and evaluate policies',
    'shrink': 'compress policies',
    'look': 'see what runs, and what was recorded',
    'prove': 'measure and compare',
}
_HELP_WORDS = ('-h', '--help')
_USAGE_ERROR = 2


@dataclass(frozen=True)
class Command:
    """One subcommand of ``rl_edge``."""

    name: str
    group: str
    """One of `GROUPS`."""
    help: str
    """One line."""
    run: str
    """``module:function``; called with a list of words and ``prog='rl_edge'``, returns the exit
    code."""
    example: str
    """What follows ``rl_edge NAME`` in an example that works."""
    words: tuple[str, ...] = ()
    """Words to put before those of the user, e.g. the name that ``run`` has for it."""
    starts_nodes: bool = False
    """True where its words are ``name:=value``. A name may stand for two commands, one of them
    such a one: it is meant by words with ``:=`` and by none at all, the other one by options."""

    nodes: tuple[str, ...] = ()
    """Executables of the nodes that it starts: without their packages it can't run."""

    def load(self) -> Callable[..., int]:
        """Import what the command runs."""
        module, _, function = self.run.partition(':')
        return getattr(import_module(module), function)  # type: ignore[no-any-return]


def main(words: Sequence[str] | None = None) -> int:
    """Run what ``words`` (default: the command line's) name; return the exit code."""
    name, *rest = list(sys.argv[1:] if words is None else words) or ['--help']
    interrupted = _note_interrupts()
    try:
        commands = installed_commands()
        named = [command for command in commands if command.name == name]
        if name in (*_HELP_WORDS, 'list', 'help'):
            print(overview(commands))
            code = 0
        elif not named:
            names = sorted({command.name for command in commands})
            raise ConfigurationError(
                f'no command is called {name!r}{did_you_mean(name, names)}; there are '
                f'{", ".join(names)}'
            )
        elif any(word in _HELP_WORDS for word in rest):
            code = _help(named, rest)
        else:
            starts_nodes = not rest or any(':=' in word for word in rest)  # see `Command`
            meant = [command for command in named if command.starts_nodes == starts_nodes]
            command = (meant or named)[0]
            code = int(command.load()([*command.words, *rest], prog='rl_edge') or 0)
        if sys.stdout is not None:  # as with `>&-`
            sys.stdout.flush()
        return code
    except RlEdgeError as error:
        return fail(error)
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        discard_output()
        return 128 + signal.SIGPIPE
    except Exception:
        if interrupted:  # a library that was being imported made another error of it
            return _interrupted()
        raise


def _note_interrupts() -> list[int]:
    """Return a list that gets each SIGINT that raises a KeyboardInterrupt from now on."""
    received: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        received.append(number)
        signal.default_int_handler(number, frame)

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    return received


def _interrupted() -> int:
    print('interrupted', file=sys.stderr)
    return 128 + signal.SIGINT


def discard_output() -> None:
    """Let what is printed from now on go nowhere, since nobody reads it any more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def fail(error: RlEdgeError, *, exit_code: int | None = None) -> int:
    """Print an error as a command line does, and return the exit code.

    It is ``exit_code``, else 2 for a ConfigurationError and 1 for others. A command that lacks an
    extra is started again with it where the checkout's tools/env can install it.
    """
    if isinstance(error, MissingExtraError):
        run_again_with(error.extra)
    print(f'error: {error}', file=sys.stderr)
    if exit_code is not None:
        return exit_code
    return _USAGE_ERROR if isinstance(error, ConfigurationError) else 1


def installed_commands() -> list[Command]:
    """Return the commands of the installed packages, in the order of their groups."""
    found: list[Command] = []
    for entry_point in entry_points(group=COMMANDS_GROUP):
        try:
            found.extend(entry_point.load())
        except ImportError as error:  # of one package: the others still work
            print(f'rl_edge: {entry_point.value} can not be loaded: {error}', file=sys.stderr)
    order = list(GROUPS)
    return sorted(dict.fromkeys(found), key=lambda command: order.index(command.group))


def _help(named: list[Command], words: list[str]) -> int:
    for command in named:
        if len(named) > 1:
            form = 'name:=value, or nothing' if command.starts_nodes else 'options'
            print(f'-- rl_edge {command.name}, followed by {form}: {command.help}')
        with contextlib.suppress(SystemExit):  # argparse ends so
            command.load()([*command.words, *words], prog='rl_edge')
        subcommand = [word for word in words if not word.startswith('-')][:1]
        if not subcommand or command.example.split()[:1] == subcommand:
            print(f'\nexample:\n  rl_edge {command.name} {command.example}'.rstrip())
    return 0


def overview(commands: Sequence[Command]) -> str:
    """Return the commands in their groups, without those whose nodes are not installed."""
    here = [command for command in commands if set(command.nodes) <= set(registered_nodes())]
    lines = ['usage: rl_edge COMMAND ... | rl_edge COMMAND --help']
    for group, text in GROUPS.items():
        lines += ['', f'{group}: {text}']
        lines += [f'  {c.name:<10} {c.help}' for c in commands if c.group == group and c in here]
    if len(here) < len(commands):
        absent = ', '.join(command.name for command in commands if command not in here)
        lines += ['', f'not on this machine, where their packages are not installed: {absent}']
    return '\n'.join(lines)


if __name__ == '__main__':
    sys.exit(main())
