"""What this package adds to the command ``rl_edge``, and how an experiment is run by it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from rl_edge_core.command import Command, fail
from rl_edge_core.errors import RlEdgeError
from rl_edge_core.parameters import help_lines, parse_arguments, parse_pairs

if TYPE_CHECKING:  # `rl_edge --help` needs `COMMANDS` alone
    from rl_edge_experiments.experiment import Experiment

_HELP_WORDS = ('-h', '--help')
_MODULES = {'report': 'report.report', 'bench': 'bench.bench'}
"""Modules that are not called like their command."""


def _command(name: str, text: str, example: str = '', *, group: str = 'prove') -> Command:
    run = 'rl_edge_experiments.commands:main'
    return Command(name, group, text, run, example, words=(name,), starts_nodes=True)


COMMANDS = (
    _command(
        'demo', 'uncompressed and compressed policy on the same seeds, in one table', 'episodes:=5'
    ),
    _command('report', "the study's experiment, recorded: one page", 'episodes:=10'),
    _command('bench', 'inference, the loop over ROS 2, memory and start-up, with their limits'),
    _command('envelope', 'the policy held to shares of a core', 'episodes:=2'),
    _command('faults', 'break the running system in every way of the fault matrix', 'only:=disk'),
    _command('robot_proof', 'a policy over standard topics against our own messages'),
    _command('soak', 'the compressed loop with recording for long: what grows', 'minutes:=30'),
    _command('two_hosts', 'sim and policy on two hosts (network namespaces); needs root'),
    _command(
        *('clip', 'a short video of one policy, as a GIF', 'model:=ant_v5/best seconds:=6'),
        group='look',
    ),
)


def main(words: Sequence[str], prog: str = 'rl_edge') -> int:
    """Run the experiment that the first word names with the others; return the exit code."""
    name, *rest = words
    try:
        module = import_module(f'rl_edge_experiments.{_MODULES.get(name, name)}')
        experiment: Experiment = module.EXPERIMENT
        if any(word in _HELP_WORDS for word in rest):
            (text,) = (command.help for command in COMMANDS if command.name == name)
            print(f'usage: {prog} {name} [argument:=value ...]\n\n{text}\n')
            print('\n'.join(help_lines(experiment.arguments)))
            return 0
        return experiment.run(parse_arguments(experiment.arguments, parse_pairs(rest))) or 0
    except RlEdgeError as error:
        return fail(error)
