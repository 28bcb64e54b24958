"""The `train` command: put the parts of a run together and run them."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import yaml

from rl_edge_core.configuration import from_mapping, load, to_mapping, to_yaml
from rl_edge_core.errors import ConfigurationError
from rl_edge_core.files import hold_folder, write_atomically
from rl_edge_core.model_files import load_model_files
from rl_edge_core.signals import SAME_REQUEST_SEC, signals_to_handle
from rl_edge_core.tensorflow_setup import load_tensorflow
from rl_edge_train import checkpoint
from rl_edge_train.run_config import RunConfig, load_preset, preset_descriptions

if TYPE_CHECKING:
    from rl_edge_train.cluster.ray_collector import Cluster
    from rl_edge_train.runner import Runner

PROGRAM = 'rl_edge'
"""What the next command begins with, as a person is told it."""
SEEDS = 1000
"""Seeds of runs; each has 1000 environment seeds of its own, below those of selection."""


def train(arguments: argparse.Namespace) -> int:
    """Start a run or go on with one, as the arguments say; return the exit status."""
    if arguments.list:
        print('\n'.join(f'{name:20s} {text}' for name, text in preset_descriptions().items()))
        return 0
    if arguments.resume and arguments.start:
        raise ConfigurationError('--from starts a new run, --resume goes on with one: choose')
    if arguments.start:
        load_model_files(arguments.start)  # before the minute that an agent takes to be made
    config, folder, run = _resumed(arguments) if arguments.resume else _started(arguments)
    if _is_finished(config, folder):
        print(f'{folder} is finished: it has taken its {config.total_steps:,} steps')
        print(f'go on with: {PROGRAM} train --resume {folder} --set total_steps=MORE')
        return 0
    if arguments.learner_cpu is not None:
        os.sched_setaffinity(0, {arguments.learner_cpu})
    simulation_cpus = () if arguments.simulation_cpu is None else (arguments.simulation_cpu,)
    with contextlib.ExitStack() as parts:
        cluster = _cluster(arguments, parts)
        load_tensorflow(announced=True)
        from rl_edge_train.assembly import assemble, start_from

        runner = parts.enter_context(
            assemble(
                config, folder, seed=run['seed'], simulation_cpus=simulation_cpus, cluster=cluster
            )
        )
        signals = _stop_on_signals(runner)
        if arguments.resume:
            runner.resume()
        elif arguments.start:
            run['from'] = start_from(runner, config, arguments.start)
        # Only now, so that settings that do not fit leave nothing behind.
        write_atomically(folder / 'config.yaml', to_yaml(config))
        write_atomically(folder / 'run.json', json.dumps(run, indent=1))
        if arguments.start:
            runner.checkpoint()  # a run that is killed before its first one goes on from here
        runner.run()
    steps, best = runner.loop.steps, runner.progress.best_return
    if runner.stopped and steps < config.total_steps:
        print(f'saved at {steps:,} steps; continue with: {PROGRAM} train --resume {folder}')
        return 128 + (signals[0] if signals else signal.SIGINT)
    print(f'finished {steps:,} steps' + (f'; best return {best:.1f}' if best is not None else ''))
    which = '' if best is not None else ' --which last'
    print(f'export the policy with: {PROGRAM} export {folder} --out {folder}/policy{which}')
    return 0


def _cluster(arguments: argparse.Namespace, parts: contextlib.ExitStack) -> Cluster | None:
    """Connect to the cluster that was asked for, until `parts` is closed."""
    if not arguments.cluster:
        return None
    for name in ('workers', 'environments_per_worker'):
        if getattr(arguments, name) < 0:
            raise ConfigurationError(f'--{name.replace("_", "-")} must be at least 1')
    from rl_edge_core.cluster import connected
    from rl_edge_train.cluster.ray_collector import Cluster

    ray = parts.enter_context(connected(arguments.cluster, cpus=arguments.workers or None))
    return Cluster(ray, arguments.workers, arguments.environments_per_worker)


def _is_finished(config: RunConfig, folder: Path) -> bool:
    newest = checkpoint.paths(folder / 'checkpoints')[-1:]
    return any(checkpoint.steps_of(path) >= config.total_steps for path in newest)


def _stop_on_signals(runner: Runner) -> list[int]:
    """Let the first Ctrl-C, SIGTERM or SIGHUP ask for a checkpoint, a later one end at once.

    Return the list that gets the number of each signal that came.
    """
    received: list[int] = []
    end_from_sec = math.inf

    def stop(number: int, _frame: FrameType | None) -> None:
        nonlocal end_from_sec
        if time.monotonic() > end_from_sec:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        if not received:
            end_from_sec = time.monotonic() + SAME_REQUEST_SEC
            runner.request_stop()
        received.append(number)

    for number in signals_to_handle():
        signal.signal(number, stop)
    return received


def _started(arguments: argparse.Namespace) -> tuple[RunConfig, Path, dict[str, Any]]:
    """Return the configuration, the folder and the record of a new run."""
    if not arguments.preset or not arguments.out:
        raise ConfigurationError(
            'train needs --preset and --out, or --resume; --list names presets'
        )
    if not 0 <= arguments.seed < SEEDS:
        raise ConfigurationError(f'--seed is {arguments.seed}, must be from 0 to {SEEDS - 1}')
    config = _overridden(load_preset(arguments.preset), arguments.set)
    folder = hold_folder(arguments.out)
    if (folder / 'config.yaml').exists():
        raise ConfigurationError(f'{folder} holds a run already: --resume it, or choose another')
    return config, folder, {'seed': arguments.seed, 'command': _command(), 'resumed': []}


def _resumed(arguments: argparse.Namespace) -> tuple[RunConfig, Path, dict[str, Any]]:
    """Return the same of a run that goes on."""
    folder: Path = arguments.resume
    if not (folder / 'config.yaml').exists():
        raise ConfigurationError(f'{folder} is not a run: it has no config.yaml')
    hold_folder(folder)
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
        key, equals, value = setting.partition('=')
        if not key or not equals:
            raise ConfigurationError(f'--set is {setting!r}, must be KEY=VALUE')
        place: Any = mapping
        *parents, name = key.split('.')
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise ConfigurationError(f'--set {setting}: {parent} is {place!r}, has no fields')
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
