"""The `sweep` command: seeds and settings side by side, each trial an ordinary run folder.

Trials are processes of `train`, on this machine or as plain Ray tasks. Ray Tune would bring pandas
and pyarrow, a result store and a checkpoint protocol of its own; what it would add, a stopping
rule and a table, is the little that follows.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import io
import itertools
import json
import os
import signal
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from rl_edge_core import cluster
from rl_edge_core.configuration import load
from rl_edge_core.errors import ConfigurationError, RlEdgeError
from rl_edge_core.files import ensure_folder, write_atomically
from rl_edge_core.statistics import mean_interval
from rl_edge_core.wording import counted
from rl_edge_train import checkpoint
from rl_edge_train.metrics import CsvLog
from rl_edge_train.run_config import RunConfig

STOPPED = 'stopped.json'
"""In the folder of a trial that the stopping rule ended; it is not taken up again."""
FEWEST_OTHERS = 2
"""Trials at the same step that a median is taken of."""
_LOOK_SEC = 1.0
_interrupted = threading.Event()
_libc = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
_CURVES = 'curves.png'


@dataclass(frozen=True)
class Trial:
    """One run of a sweep."""

    setting: str
    """What tells it from others but for the seed, such as `agent.discount=0.99`."""
    folder: str
    command: tuple[str, ...]
    """Arguments of `train` that start it."""


@dataclass(frozen=True)
class Plan:
    """What every machine of a sweep knows."""

    folders: tuple[str, ...]
    """Of all trials, to compare with."""
    marker: str
    """A file that is there where the folders are shared."""
    stops: bool
    """Whether trials below the median of the others end."""


@dataclass(frozen=True)
class Outcome:
    """How a trial ended."""

    status: str
    """`finished`, `stopped` (by the rule), `interrupted` or `failed`."""
    said: str = ''
    """The last lines of one that failed."""
    archive: bytes = b''
    """Its folder, packed, where that is not shared."""


def sweep(arguments: argparse.Namespace) -> int:
    """Run every combination that is not finished yet; write table and picture."""
    out = ensure_folder(arguments.out)
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
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        for trial, outcome in _outcomes(plan, waiting, arguments):
            if outcome.archive:
                _unpack(outcome.archive, Path(trial.folder))
            print(f'{trial.folder}: {outcome.status}{_indented(outcome.said)}', flush=True)
            failed |= outcome.status == 'failed'
    except KeyboardInterrupt:
        print(
            f'interrupted; go on with the same command: {counted(len(trials), "trial")} in {out}'
        )
        return 128 + signal.SIGINT
    finally:
        marker.unlink(missing_ok=True)
    _summarize(trials, out)
    return int(failed)


def _trials(arguments: argparse.Namespace, out: Path) -> list[Trial]:
    seeds = [text.strip() for text in arguments.seeds.split(',')]
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
            _interrupted.set()  # before the pool waits for its threads
            raise


def run_trial(plan: Plan, trial: Trial) -> Outcome:
    """Run one trial in a process of its own, where its folder is, or else in a scratch folder."""
    if Path(plan.marker).exists():
        return _run_in(Path(trial.folder), plan, trial)
    with tempfile.TemporaryDirectory(prefix='rl_edge_sweep-') as scratch:
        folder = Path(scratch) / 'run'
        outcome = _run_in(folder, plan, trial)
        return Outcome(outcome.status, outcome.said, _packed(folder))


def _run_in(folder: Path, plan: Plan, trial: Trial) -> Outcome:
    goes_on = (folder / 'config.yaml').exists()
    start = ['--resume', str(folder)] if goes_on else [*trial.command, '--out', str(folder)]
    folder.parent.mkdir(parents=True, exist_ok=True)
    log = folder.parent / f'{folder.name}.log'
    with log.open('ab') as output:
        process = subprocess.Popen(
            [sys.executable, '-m', 'rl_edge_train', 'train', *start],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches it once, from here
            preexec_fn=_end_with_parent,
        )
        try:
            is_stopped = _wait(process, folder, plan)
        except KeyboardInterrupt:  # on a cluster, where the sweep was interrupted
            process.send_signal(signal.SIGINT)  # it saves what it has learned
            process.wait()
            raise
    if is_stopped:
        return Outcome('stopped')
    if process.returncode == 0:
        return Outcome('finished')
    if process.returncode in (128 + signal.SIGINT, 128 + signal.SIGTERM):
        return Outcome('interrupted')
    return Outcome('failed', '\n'.join(log.read_text().splitlines()[-3:]))


def _end_with_parent() -> None:
    """Let Linux interrupt this process when the one that started it was killed."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def _wait(process: subprocess.Popen[bytes], folder: Path, plan: Plan) -> bool:
    """Wait for a trial; return whether the stopping rule ended it."""
    compared = 0
    while process.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_LOOK_SEC)
        if _interrupted.is_set() and process.poll() is None:
            process.send_signal(signal.SIGINT)  # it saves what it has learned
            process.wait()
        rows = _evaluations(folder) if plan.stops else []
        if len(rows) <= compared or process.poll() is not None:
            continue
        compared = len(rows)
        reason = below_median(folder, plan.folders)
        if reason:
            write_atomically(folder / STOPPED, json.dumps({'reason': reason}))
            process.send_signal(signal.SIGINT)
            process.wait()
            return True
    return False


def below_median(folder: Path, folders: Sequence[str | Path]) -> str:
    """Return why a trial should end: its best return is below the median of the others' there.

    Compared are best returns up to the trial's newest evaluation, with those of the others that
    have got as far (Golovin 2017, section 3.2.2). Empty when it should go on, or too few have.
    """
    steps, best = _evaluations(folder)[-1]
    others = []
    for other in map(Path, folders):
        rows = _evaluations(other)
        if other != folder and rows and rows[-1][0] >= steps:
            others.append(max(value for at, value in rows if at <= steps))
    best = max(value for at, value in _evaluations(folder) if at <= steps)
    if len(others) < FEWEST_OTHERS or best >= statistics.median(others):
        return ''
    return (
        f'best return {best:.1f} at {steps:,} steps is below the median {len(others)} others had '
        f'there, {statistics.median(others):.1f}'
    )


def _evaluations(folder: Path) -> list[tuple[int, float]]:
    rows = CsvLog(folder / 'evaluations.csv').rows()
    return [(int(row['steps']), float(row['episode_return'])) for row in rows]


def _summarize(trials: Sequence[Trial], out: Path) -> None:
    """Print and write a row per setting, and draw the curves."""
    groups: dict[str, list[list[tuple[int, float]]]] = {}
    for trial in trials:
        groups.setdefault(trial.setting, []).append(_evaluations(Path(trial.folder)))
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
            row |= {f'{name}_{key}': value for key, value in interval.to_dict().items()}
        table.append(row)
    write_atomically(out / _CURVES, lambda path: _draw(groups, path))
    print(f'\n{out / "sweep.csv"}, {out / _CURVES}')


def _draw(groups: dict[str, list[list[tuple[int, float]]]], path: Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), dpi=100, layout='constrained')
    FigureCanvasAgg(figure)
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


def _packed(folder: Path) -> bytes:
    """Return a run folder as an archive; the replay alone is left out, which is large."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode='w:gz') as archive:
        for path in sorted(folder.rglob('*')):
            if path.is_file() and path.relative_to(folder).parts[0] != 'replay':
                archive.add(path, path.relative_to(folder))
    return content.getvalue()


def _unpack(content: bytes, folder: Path) -> None:
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode='r:gz') as archive:
            archive.extractall(ensure_folder(folder), filter='data')
    except tarfile.TarError as error:
        raise RlEdgeError(f'what came back of {folder} cannot be unpacked: {error}') from error


def _indented(text: str) -> str:
    return ''.join(f'\n    {line}' for line in text.splitlines())
