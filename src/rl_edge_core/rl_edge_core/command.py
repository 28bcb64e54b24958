"""The command ``rl_edge``: what the installed packages can do, in groups, and how it is called.

A package registers its commands as one entry point of group `COMMANDS_GROUP` that names a tuple
of `Command`, in a module that imports nothing heavy: ``rl_edge --help`` loads those modules alone,
and what a command runs is imported when it is called.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from types import FrameType
from typing import NoReturn

from rl_edge_core.errors import ConfigurationError, MissingExtraError, RlEdgeError, did_you_mean
from rl_edge_core.extras import run_again_with
from rl_edge_core.parameters import registered_nodes
from rl_edge_core.signals import SAME_REQUEST_SEC, signals_to_handle

COMMANDS_GROUP = 'rl_edge.commands'
GROUPS = {
    'run': 'run: start nodes, with name:=value as in ROS 2',
    'learn': 'train: train and evaluate policies',
    'shrink': 'compress: make policies smaller, and sign them',
    'look': 'inspect: see what runs, and what was recorded',
    'prove': 'benchmark: measure and compare',
}
"""Headings of the overview."""
_HELP_WORDS = ('-h', '--help')
_USAGE_ERROR = 2
_received: list[tuple[int, float]] = []
"""Signals that interrupted the command, each with its time on the steady clock."""


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
    with one_line_endings() as ending:
        commands = installed_commands()
        named = [command for command in commands if command.name == name]
        if name in (*_HELP_WORDS, 'list', 'help'):
            print(overview(commands))
        elif not named:
            here, absent = _here(commands)
            names = sorted({command.name for command in here})
            raise ConfigurationError(
                f'no command is called {name!r}{did_you_mean(name, names)}; there are '
                f'{", ".join(names)}{absent and "; "}{absent}'
            )
        elif any(word in _HELP_WORDS for word in rest):
            ending.code = _help(named, rest)
        else:
            starts_nodes = not rest or any(':=' in word for word in rest)  # see `Command`
            meant = [command for command in named if command.starts_nodes == starts_nodes]
            command = (meant or named)[0]
            ending.code = int(command.load()([*command.words, *rest], prog='rl_edge') or 0)
    return ending.code


def run_alone(run: Callable[[], int]) -> NoReturn:
    """Run what ``python -m PACKAGE`` does, and end as `main` does."""
    with one_line_endings() as ending:
        ending.code = run()
    sys.exit(ending.code)


@dataclass
class Ending:
    """How a command ended."""

    code: int = 0


@contextlib.contextmanager
def one_line_endings() -> Iterator[Ending]:
    """Turn errors and signals in the block into one line on stderr and an exit code.

    Ctrl-C, SIGTERM and SIGHUP raise a KeyboardInterrupt, whose text may say how to go on, and lead
    to 128 + their number, but where the command handles them itself.
    """
    ending = Ending()
    _received.clear()
    for number in signals_to_handle():
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _interrupt)
    try:
        yield ending
        if sys.stdout is not None:  # as with `>&-`
            sys.stdout.flush()
    except RlEdgeError as error:
        ending.code = fail(error)
    except KeyboardInterrupt as interrupt:
        ending.code = _say_interrupted(interrupt)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        discard_output()
        ending.code = 128 + signal.SIGPIPE
    except Exception:
        if not _received:
            raise
        ending.code = _say_interrupted()  # what was being imported made another error of it


def _interrupt(number: int, _: FrameType | None) -> None:
    """Raise a KeyboardInterrupt, once for signals that are one request, as those of timeout."""
    now_sec = time.monotonic()
    if not _received or now_sec - _received[0][1] > SAME_REQUEST_SEC:
        _received.append((number, now_sec))
        raise KeyboardInterrupt


def _say_interrupted(interrupt: object = '') -> int:
    number = signal.Signals(_received[0][0] if _received else signal.SIGINT)
    word = 'interrupted' if number == signal.SIGINT else f'stopped by {number.name}'
    print('; '.join(filter(None, (word, str(interrupt)))), file=sys.stderr)
    return 128 + number


def discard_output() -> None:
    """Let what is printed from now on go nowhere, since nobody reads it any more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def fail(error: RlEdgeError, *, exit_code: int | None = None) -> int:
    """Print an error as a command line does, and return the exit code.

    It is ``exit_code``, else 2 for a ConfigurationError and 1 for others. A command that lacks an
    extra is started again with it where the checkout's tools/env can install it.
    """
    if _received:  # what was interrupted made an error of it
        return _say_interrupted()
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
    here, absent = _here(commands)
    lines = ['usage: rl_edge COMMAND ... | rl_edge COMMAND --help']
    for group, heading in GROUPS.items():
        if of_group := [command for command in here if command.group == group]:
            lines += ['', heading, *(f'  {c.name:<13} {c.help}' for c in of_group)]
    return '\n'.join([*lines, '', absent] if absent else lines)


def _here(commands: Sequence[Command]) -> tuple[list[Command], str]:
    """Return the commands whose nodes are installed, and a sentence about those left out."""
    nodes = set(registered_nodes())
    here = [command for command in commands if set(command.nodes) <= nodes]
    absent = ', '.join(command.name for command in commands if command not in here)
    where = 'they and others run on the desktop: tools/env rl_edge ...'
    return here, f'not on this machine: {absent}; {where}' if absent else ''


if __name__ == '__main__':
    sys.exit(main())
