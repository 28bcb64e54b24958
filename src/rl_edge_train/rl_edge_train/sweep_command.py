"""The `sweep` command: seeds and settings side by side, each trial an ordinary run folder.

Trials are processes of `train`, on this machine or as plain Ray tasks. Ray Tune would bring pandas
and pyarrow, a result store and a checkpoint protocol of its own; what it would add, a stopping
rule and a table, is the little in `sweep_trial` and `sweep_table`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from rl_edge_core import cluster
from rl_edge_core.configuration import load
from rl_edge_core.errors import ConfigurationError
from rl_edge_core.files import hold_folder, write_atomically
from rl_edge_core.wording import counted
from rl_edge_train import checkpoint
from rl_edge_train.run_config import RunConfig
from rl_edge_train.sweep_table import summarize
from rl_edge_train.sweep_trial import (
    STOPPED,
    Outcome,
    Plan,
    Trial,
    interrupted,
    run_trial,
    unpack_run,
)


def sweep(arguments: argparse.Namespace) -> int:
    """Run every combination that is not finished yet; write table and picture."""
    out = hold_folder(arguments.out)
    trials = _trials(arguments, out)
    _check_same_sweep(out, trials)
    marker = out / f'.sweep-{uuid.uuid4().hex}'
    write_atomically(marker, '')
    plan = Plan(
        tuple(trial.folder for trial in trials),
        str(marker.absolute()),
        arguments.stop_below_median,
    )
    waiting = [trial for trial in trials if not _is_over(Path(trial.folder))]
    print(f'{counted(len(trials), "trial")}, {len(trials) - len(waiting)} of them over already')
    failed = False
    try:
        for trial, outcome in _outcomes(plan, waiting, arguments):
            if outcome.archive:
                unpack_run(outcome.archive, Path(trial.folder))
            print(f'{trial.folder}: {outcome.status}{_indented(outcome.said)}', flush=True)
            failed |= outcome.status == 'failed'
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f'go on with the same command: {counted(len(trials), "trial")} in {out}'
        ) from None
    finally:
        marker.unlink(missing_ok=True)
    summarize(trials, out)
    return int(failed)


def _trials(arguments: argparse.Namespace, out: Path) -> list[Trial]:
    seeds = list(dict.fromkeys(text.strip() for text in arguments.seeds.split(',')))
    for seed in seeds:
        if not seed.isdecimal():
            raise ConfigurationError(f'--seeds has {seed!r}, must be whole numbers, e.g. 1,2,3')
    choices: list[list[str]] = []
    for setting in arguments.set:
        key, equals, values = setting.partition('=')
        parsed = yaml.safe_load(f'[{values}]')
        if not equals or not parsed:
            raise ConfigurationError(f'--set is {setting!r}, must be KEY=VALUE[,VALUE]...')
        choices.append([f'{key}={json.dumps(value)}' for value in parsed])
    trials = []
    for settings in itertools.product(*choices):
        named = [s for s, values in zip(settings, choices, strict=True) if len(values) > 1]
        name = ' '.join(named).replace('"', '') or arguments.preset
        for seed in seeds:
            folder = out / name.replace(' ', '_').replace('/', '_') / f'seed_{seed}'
            command = ['--preset', arguments.preset, '--seed', seed]
            for setting in settings:
                command += ['--set', setting]
            trials.append(Trial(name, str(folder.absolute()), tuple(command)))
    return trials


def _check_same_sweep(out: Path, trials: Sequence[Trial]) -> None:
    """Raise ConfigurationError when the folder holds trials that were started otherwise."""
    record = out / 'sweep.json'
    commands = {Path(t.folder).relative_to(out.absolute()).as_posix(): t.command for t in trials}
    if record.exists():
        before = {name: tuple(c) for name, c in json.loads(record.read_text()).items()}
        changed = [n for n, command in commands.items() if before.get(n, command) != command]
        if changed:
            raise ConfigurationError(
                f'{out} holds another sweep: {changed[0]} was started by '
                f'{" ".join(before[changed[0]])}: choose another folder'
            )
        commands = before | commands
    write_atomically(record, json.dumps(commands, indent=1))


def _is_over(folder: Path) -> bool:
    if (folder / STOPPED).exists():
        return True
    paths = checkpoint.paths(folder / 'checkpoints')
    if not paths or not (folder / 'config.yaml').exists():
        return False
    return checkpoint.steps_of(paths[-1]) >= load(RunConfig, folder / 'config.yaml').total_steps


def _outcomes(
    plan: Plan, trials: Sequence[Trial], arguments: argparse.Namespace
) -> Iterator[tuple[Trial, Outcome]]:
    """Run trials, as many at a time as there are slots; yield them as listed."""
    if arguments.cluster:
        local_slots = arguments.slots if arguments.cluster == cluster.LOCAL else 0
        with cluster.connected(arguments.cluster, cpus=local_slots or None):
            yield from zip(
                trials,
                cluster.spread(run_trial, plan, trials, cluster=arguments.cluster),
                strict=True,
            )
        return
    slots = arguments.slots or max(1, (os.cpu_count() or 1) // 2)
    with ThreadPoolExecutor(slots) as pool:
        try:
            ended = pool.map(lambda trial: run_trial(plan, trial), trials)
            yield from zip(trials, ended, strict=True)
        except BaseException:
            interrupted.set()  # before the pool waits for its threads
            raise


def _indented(text: str) -> str:
    return ''.join(f'\n    {line}' for line in text.splitlines())
