"""The `sweep` command: seeds and settings side by side, each trial an ordinary run folder.

Trials are processes of `train`, on this machine or as plain Ray tasks. Ray Tune would bring pandas
and pyarrow, a result store and a checkpoint protocol of its own; what it would add, a stopping
rule and a table, is the little in `sweep_trial` and `summarize`.
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
from typing import Any

import numpy as np
import yaml

from rl_edge_core import cluster
from rl_edge_core.configuration import load
from rl_edge_core.errors import ConfigurationError
from rl_edge_core.files import hold_folder, write_atomically
from rl_edge_core.statistics import mean_interval
from rl_edge_core.wording import counted
from rl_edge_train import checkpoint
from rl_edge_train.metrics import CsvLog
from rl_edge_train.run_config import RunConfig
from rl_edge_train.sweep_trial import (
    STOPPED,
    Outcome,
    Plan,
    Trial,
    evaluations,
    interrupted,
    run_trial,
    unpack_run,
)

CURVES = 'curves.png'


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
            said = ''.join(f'\n    {line}' for line in outcome.said.splitlines())
            print(f'{trial.folder}: {outcome.status}{said}', flush=True)
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


def summarize(trials: Sequence[Trial], out: Path) -> None:
    """Print and write a row per setting, and draw the curves."""
    groups: dict[str, list[list[tuple[int, float]]]] = {}
    for trial in trials:
        groups.setdefault(trial.setting, []).append(evaluations(Path(trial.folder)))
    groups = {
        setting: evaluated
        for setting, curves in groups.items()
        if (evaluated := [curve for curve in curves if curve])
    }
    if not groups:
        print('no trial has been evaluated yet')
        return
    table = CsvLog(out / 'sweep.csv')
    table.path.unlink(missing_ok=True)
    print(f'\n{"setting":40s} {"seeds":>5s} {"best return":>22s} {"last return":>22s}')
    for setting, curves in groups.items():
        best = mean_interval([max(value for _, value in curve) for curve in curves])
        last = mean_interval([curve[-1][1] for curve in curves])
        print(f'{setting:40s} {len(curves):5d} {best!s:>22s} {last!s:>22s}')
        steps = max(curve[-1][0] for curve in curves)
        row: dict[str, Any] = {'setting': setting, 'seeds': len(curves), 'steps': steps}
        for name, interval in (('best', best), ('last', last)):
            row |= {f'{name}_{key}': value for key, value in vars(interval).items()}
        table.append(row)
    write_atomically(out / CURVES, lambda path: _draw(groups, path))
    print(f'\n{out / "sweep.csv"}, {out / CURVES}')


def _draw(groups: dict[str, list[list[tuple[int, float]]]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), dpi=100, layout='constrained')
    axes = figure.subplots()
    lines = itertools.cycle(('-', '--', '-.', ':'))  # so that equal curves can be told apart
    has_intervals = False
    for (setting, curves), style in zip(groups.items(), lines, strict=False):
        steps = sorted({at for curve in curves for at, _ in curve})
        values = [[dict(curve)[at] for curve in curves if at in dict(curve)] for at in steps]
        line = axes.plot(
            steps,
            [np.mean(at) for at in values],
            style,
            marker='.',
            label=f'{setting} ({counted(len(curves), "seed")})',
        )[0]
        if len(curves) > 2:  # of two, an interval says next to nothing
            has_intervals = True
            bounds = [mean_interval(at) for at in values]
            axes.fill_between(
                steps,
                [bound.low for bound in bounds],
                [bound.high for bound in bounds],
                color=line.get_color(),
                alpha=0.2,
                linewidth=0,
            )
    axes.set_xlabel('environment steps')
    axes.set_ylabel('return of evaluations' + ', with 95 % intervals' * has_intervals)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path)
