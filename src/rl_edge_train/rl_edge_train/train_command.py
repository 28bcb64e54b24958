"""The `train` command: put the parts of a run together and run them."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import yaml

from rl_edge_core.configuration import from_mapping, load, to_mapping, to_yaml
from rl_edge_core.errors import ConfigurationError
from rl_edge_core.files import ensure_folder, write_atomically
from rl_edge_train.run_config import RunConfig, load_preset

if TYPE_CHECKING:
    from rl_edge_train.runner import Runner

SEEDS = 1000
"""Seeds of runs; each has 1000 environment seeds of its own, below those of selection."""


def train(arguments: argparse.Namespace) -> None:
    """Start a run or go on with one, as the arguments say."""
    if arguments.resume and arguments.start:
        raise ConfigurationError('--from starts a new run, --resume goes on with one: choose')
    config, folder, run = _resumed(arguments) if arguments.resume else _started(arguments)
    if arguments.learner_cpu is not None:
        os.sched_setaffinity(0, {arguments.learner_cpu})
    simulation_cpus = () if arguments.simulation_cpu is None else (arguments.simulation_cpu,)
    from rl_edge_train.assembly import assemble

    runner = assemble(config, folder, seed=run['seed'], simulation_cpus=simulation_cpus)
    _stop_on_signals(runner)
    try:
        if arguments.resume:
            runner.resume()
        elif arguments.start:
            from rl_edge_train.start_command import start_from

            run['from'] = start_from(runner, config, arguments.start)
        # Only now, so that settings that do not fit leave nothing behind.
        write_atomically(folder / 'config.yaml', to_yaml(config))
        write_atomically(folder / 'run.json', json.dumps(run, indent=1))
        runner.run()
    finally:
        runner.close()


def _stop_on_signals(runner: Runner) -> None:
    """Let the first Ctrl-C or SIGTERM ask for a checkpoint and an end, the second end at once."""

    def stop(number: int, _frame: FrameType | None) -> None:
        runner.request_stop()
        signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)


def _started(arguments: argparse.Namespace) -> tuple[RunConfig, Path, dict[str, Any]]:
    """Return the configuration, the folder and the record of a new run."""
    if not arguments.preset or not arguments.out:
        raise ConfigurationError('train needs --preset and --out, or --resume')
    if not 0 <= arguments.seed < SEEDS:
        raise ConfigurationError(f'--seed is {arguments.seed}, must be from 0 to {SEEDS - 1}')
    config = _overridden(load_preset(arguments.preset), arguments.set)
    folder = ensure_folder(arguments.out)
    if (folder / 'config.yaml').exists():
        raise ConfigurationError(f'{folder} holds a run already: --resume it, or choose another')
    return config, folder, {'seed': arguments.seed, 'command': _command(), 'resumed': []}


def _resumed(arguments: argparse.Namespace) -> tuple[RunConfig, Path, dict[str, Any]]:
    """Return the same of a run that goes on."""
    folder: Path = arguments.resume
    if not (folder / 'config.yaml').exists():
        raise ConfigurationError(f'{folder} is no folder of a run: it has no config.yaml')
    config = _overridden(load(RunConfig, folder / 'config.yaml'), arguments.set)
    run = json.loads((folder / 'run.json').read_text())
    run['resumed'] = [*run.get('resumed', []), _command()]
    return config, folder, run


def _command() -> list[str]:
    """Return the arguments to show to others: of an absolute path its last part alone."""
    return [Path(word).name if Path(word).is_absolute() else word for word in sys.argv[1:]]


def _overridden(config: RunConfig, settings: list[str]) -> RunConfig:
    mapping = to_mapping(config)
    for setting in settings:
        key, _, value = setting.partition('=')
        place: dict[str, Any] = mapping
        *parents, name = key.split('.')
        for parent in parents:
            place = place.setdefault(parent, {})
        place[name] = _parsed(value)
    return from_mapping(RunConfig, mapping)


def _parsed(text: str) -> Any:
    """Return a value as YAML reads it, and 3e-4 as a number, which YAML takes for text."""
    value = yaml.safe_load(text)
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value
