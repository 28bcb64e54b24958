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


def train(arguments: argparse.Namespace) -> None:
    """Start a run or go on with one, as the arguments say."""
    config, folder, seed = _resolve(arguments)
    if arguments.learner_cpu is not None:
        os.sched_setaffinity(0, {arguments.learner_cpu})
    simulation_cpus = () if arguments.simulation_cpu is None else (arguments.simulation_cpu,)
    from rl_edge_train.assembly import assemble

    runner = assemble(config, folder, seed=seed, simulation_cpus=simulation_cpus)
    _stop_on_signals(runner)
    try:
        if arguments.resume:
            runner.resume()
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


def _resolve(arguments: argparse.Namespace) -> tuple[RunConfig, Path, int]:
    if arguments.resume:
        folder = arguments.resume
        if not (folder / 'config.yaml').exists():
            raise ConfigurationError(f'{folder} is no folder of a run: it has no config.yaml')
        run = json.loads((folder / 'run.json').read_text())
        config = _overridden(load(RunConfig, folder / 'config.yaml'), arguments.set)
        return config, folder, run['seed']
    if not arguments.preset or not arguments.out:
        raise ConfigurationError('train needs --preset and --out, or --resume')
    folder = ensure_folder(arguments.out)
    if (folder / 'config.yaml').exists():
        raise ConfigurationError(f'{folder} holds a run already: --resume it, or choose another')
    config = _overridden(load_preset(arguments.preset), arguments.set)
    write_atomically(folder / 'config.yaml', to_yaml(config))
    write_atomically(
        folder / 'run.json', json.dumps({'seed': arguments.seed, 'command': sys.argv[1:]})
    )
    return config, folder, arguments.seed


def _overridden(config: RunConfig, settings: list[str]) -> RunConfig:
    mapping = to_mapping(config)
    for setting in settings:
        key, _, value = setting.partition('=')
        place: dict[str, Any] = mapping
        *parents, name = key.split('.')
        for parent in parents:
            place = place.setdefault(parent, {})
        place[name] = yaml.safe_load(value)
    return from_mapping(RunConfig, mapping)
