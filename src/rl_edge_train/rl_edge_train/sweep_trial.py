"""One trial of a sweep: a process of `train`, watched, and ended where the rule says so."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rl_edge_core.errors import RlEdgeError
from rl_edge_core.files import ensure_folder, write_atomically
from rl_edge_core.signals import die_with
from rl_edge_train.metrics import CsvLog

STOPPED = 'stopped.json'
"""In the folder of a trial that the stopping rule ended; it is not taken up again."""
FEWEST_OTHERS = 2
"""Trials at the same step that a median is taken of."""
interrupted = threading.Event()
"""Set once the sweep is to end: trials of this machine save what they have learned."""
_LOOK_SEC = 1.0


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


def run_trial(plan: Plan, trial: Trial) -> Outcome:
    """Run one trial in a process of its own, where its folder is, or else in a scratch folder."""
    if Path(plan.marker).exists():
        return _run_in(Path(trial.folder), plan, trial)
    with tempfile.TemporaryDirectory(prefix='rl_edge_sweep-') as scratch:
        folder = Path(scratch) / 'run'
        outcome = _run_in(folder, plan, trial)
        return Outcome(outcome.status, outcome.said, pack_run(folder))


def _run_in(folder: Path, plan: Plan, trial: Trial) -> Outcome:
    goes_on = (folder / 'config.yaml').exists()
    start = ['--resume', str(folder)] if goes_on else [*trial.command, '--out', str(folder)]
    folder.parent.mkdir(parents=True, exist_ok=True)
    log, me = folder.parent / f'{folder.name}.log', os.getpid()
    with log.open('ab') as output:
        process = subprocess.Popen(
            [sys.executable, '-m', 'rl_edge_train', 'train', *start],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C reaches it once, from here
            # Linux interrupts it when the process that started it was killed.
            preexec_fn=lambda: die_with(me, signal.SIGINT),
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


def _wait(process: subprocess.Popen[bytes], folder: Path, plan: Plan) -> bool:
    """Wait for a trial; return whether the stopping rule ended it."""
    compared = 0
    while process.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_LOOK_SEC)
        if interrupted.is_set() and process.poll() is None:
            process.send_signal(signal.SIGINT)  # it saves what it has learned
            process.wait()
        rows = evaluations(folder) if plan.stops else []
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
    steps, best = evaluations(folder)[-1]
    others = []
    for other in map(Path, folders):
        rows = evaluations(other)
        if other != folder and rows and rows[-1][0] >= steps:
            others.append(max(value for at, value in rows if at <= steps))
    best = max(value for at, value in evaluations(folder) if at <= steps)
    if len(others) < FEWEST_OTHERS or best >= statistics.median(others):
        return ''
    return (
        f'best return {best:.1f} at {steps:,} steps is below the median {len(others)} others had '
        f'there, {statistics.median(others):.1f}'
    )


def evaluations(folder: Path) -> list[tuple[int, float]]:
    """Return (steps, return) of each evaluation of a run; none where there is no such run."""
    rows = CsvLog(folder / 'evaluations.csv').rows()
    return [(int(row['steps']), float(row['episode_return'])) for row in rows]


def pack_run(folder: Path) -> bytes:
    """Return a run folder as an archive; the replay alone is left out, which is large."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode='w:gz') as archive:
        for path in sorted(folder.rglob('*')):
            if path.is_file() and path.relative_to(folder).parts[0] != 'replay':
                archive.add(path, path.relative_to(folder))
    return content.getvalue()


def unpack_run(content: bytes, folder: Path) -> None:
    """Unpack what `pack_run` returned; raise RlEdgeError for a damaged archive."""
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode='r:gz') as archive:
            archive.extractall(ensure_folder(folder), filter='data')
    except tarfile.TarError as error:
        raise RlEdgeError(f'what came back of {folder} cannot be unpacked: {error}') from error
