"""What ``python -m rl_edge_bringup`` does: systems, experiments and help."""

import functools
import importlib
import sys
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from rl_edge_bringup.arguments import Argument, did_you_mean, parse_arguments, parse_pairs
from rl_edge_bringup.run_command import run_system
from rl_edge_bringup.systems import SYSTEMS
from rl_edge_core.errors import ConfigurationError, RlEdgeError

_USAGE = 'usage: python -m rl_edge_bringup NAME [argument:=value ...] | NAME --help | list'
_HELP_WORDS = ('-h', '--help')
_USAGE_ERROR = 2
_INDENT = ' ' * 6


def main(words: Sequence[str] | None = None) -> int:
    """Run what ``words`` (default: the command line's) name; return the exit code."""
    name, *rest = list(sys.argv[1:] if words is None else words) or ['--help']
    try:
        return _run(name, rest)
    except RlEdgeError as error:
        print(f'error: {error}', file=sys.stderr)
        return _USAGE_ERROR if isinstance(error, ConfigurationError) else 1


def _run(name: str, rest: list[str]) -> int:
    if name in ('list', *_HELP_WORDS):
        print(overview())
        return 0
    arguments, start = _find(name)
    if any(word in _HELP_WORDS for word in rest):
        print(help_of(name, arguments))
        return 0
    return start(rest)


def _find(name: str) -> tuple[Sequence[Argument], Callable[[list[str]], int]]:
    for system in SYSTEMS:
        if system.name == name:
            return system.arguments, functools.partial(run_system, system)
    for experiment in experiments():
        if experiment.name == name:
            return experiment.arguments, functools.partial(_run_experiment, experiment)
    names = [system.name for system in SYSTEMS]
    names += [experiment.name for experiment in experiments()]
    raise ConfigurationError(
        f'no system or experiment is called {name!r}{did_you_mean(name, names)}; '
        f'there are {", ".join(names)}'
    )


def experiments() -> Sequence[Any]:
    """Return the experiments; none where only what the edge device needs is installed."""
    try:
        return importlib.import_module('rl_edge_experiments').experiments()
    except ModuleNotFoundError as error:
        if error.name != 'rl_edge_experiments':
            raise
        return ()


def _run_experiment(experiment: Any, words: list[str]) -> int:
    return experiment.run(parse_arguments(experiment.arguments, parse_pairs(words)))


def overview() -> str:
    """Return the systems, the experiments and how to call them."""
    lines = [_USAGE, '', 'systems']
    lines += [f'  {system.name:<10}{system.description}' for system in SYSTEMS]
    lines += ['', 'experiments']
    lines += [f'  {experiment.name:<10}{experiment.description}' for experiment in experiments()]
    return '\n'.join(lines)


def help_of(name: str, arguments: Sequence[Argument]) -> str:
    """Return the arguments of a system or an experiment with what is valid and the default."""
    lines = [f'usage: python -m rl_edge_bringup {name} [argument:=value ...]', '']
    for argument in arguments:
        valid = f' ({argument.valid})' if argument.valid else ''
        default = argument.default_text or 'empty'
        lines.append(f'  {argument.name}{valid}, default {default}')
        lines += textwrap.wrap(
            argument.description, 90, initial_indent=_INDENT, subsequent_indent=_INDENT
        )
    return '\n'.join(lines)
