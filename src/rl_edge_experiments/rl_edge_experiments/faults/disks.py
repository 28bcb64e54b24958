"""Disks that fill up or can't be written."""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rl_edge_bringup.running_system import RunningSystem
from rl_edge_experiments.faults.fault import REALTIME, Fault, check_same
from rl_edge_experiments.rig import FaultFailedError, Rig
from rl_edge_interfaces.srv import SaveCheckpoint


def full_disk_while_recording(rig: Rig) -> str:
    """Record to a disk that is soon full."""
    with _small_disk(600_000) as disk:
        recorder = rig.start_recorder(disk / 'bag')
        outcome = rig.wait_for('the end of the recorder', lambda: _outcome(recorder))
        error = next((x for x in recorder.log.of('recorder') if 'recording ended' in x), '')
        if outcome.exit_code != 1 or not error:
            raise FaultFailedError(f'the recorder ended with {outcome}')
        rig.wait_until_steady()
        return f'exit code 1, {error.partition("recording ended: ")[2]!r}; the loop runs on'


def read_only_disk(rig: Rig) -> str:
    """Record to a disk that can't be written."""
    with _small_disk(600_000) as disk:
        subprocess.run(['mount', '-o', 'remount,ro', disk], check=True)
        recorder = rig.start_recorder(disk / 'bag')
        outcome = rig.wait_for('the end of the recorder', lambda: _outcome(recorder))
        error = next((x for x in recorder.log.of('recorder') if 'error' in x), '')
        if outcome.exit_code != 1 or 'ead-only' not in error:
            raise FaultFailedError(f'the recorder ended with {outcome}: {error}')
        rig.wait_until_steady()
        return f'exit code 1 at start: {error!r}; the loop runs on'


def full_disk_while_checkpointing(rig: Rig) -> str:
    """Ask the train node for a checkpoint on a full disk."""
    with _small_disk(500_000_000) as disk:
        trainer = rig.start_program(
            'rl_edge_train', 'train_node', 'train',
            '-p', f'output:={disk / "run"}', '-p', f'robots:=[/{rig.namespace}]',
            '-p', 'preset:=sac_small', '-p', 'export_period_sec:=100000.0',
        )  # fmt: skip
        with rig.observer.client(SaveCheckpoint, 'train/save_checkpoint') as client:
            rig.wait_for('the service save_checkpoint', client.service_is_ready, 240)
            pid = trainer.pid('train')

            def answer() -> Any:
                if outcome := _outcome(trainer):
                    last = trainer.log.of('train')[-1:]
                    raise FaultFailedError(f'{outcome.reason}: {last}')
                future = client.call_async(SaveCheckpoint.Request())
                rig.wait_for('an answer of save_checkpoint', future.done, 480)
                return None if 'no robot' in future.result().message else future.result()

            before = rig.wait_for('a robot at the train node', answer, 240)
            if not before.success:
                raise FaultFailedError(f'with space left it answered {before.message}')
            (disk / 'filler').write_bytes(b'x' * _free_bytes(disk))
            refused = answer()
        if refused.success or 'cannot be written' not in refused.message:
            raise FaultFailedError(f'answered {refused.success}: {refused.message}')
        rig.wait_until_steady()
        check_same(trainer, 'train', pid)
        trainer.stop()
        trainer.wait(60)
        return f'refused: {refused.message}; the train node and the loop run on'


def _free_bytes(disk: Path) -> int:
    status = os.statvfs(disk)
    return status.f_bavail * status.f_frsize


@contextlib.contextmanager
def _small_disk(size: int) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix='rl_edge-disk-') as folder:
        options = f'size={size}'
        subprocess.run(['mount', '-t', 'tmpfs', '-o', options, 'tmpfs', folder], check=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run(['umount', '--lazy', folder], check=True)


def _outcome(system: RunningSystem):  # type: ignore[no-untyped-def]
    return None if system.is_running() else system.wait()


_LOOP_RUNS = 'a named cause; the loop runs on'

DISK_FAULTS = (
    Fault(
        'disk full while recording',
        (REALTIME,),
        _LOOP_RUNS,
        full_disk_while_recording,
        needs_root=True,
    ),
    Fault(
        'disk read-only when recording starts',
        (REALTIME,),
        _LOOP_RUNS,
        read_only_disk,
        needs_root=True,
    ),
    Fault(
        'disk full while checkpointing',
        (REALTIME,),
        _LOOP_RUNS,
        full_disk_while_checkpointing,
        needs_root=True,
        may_lose=True,
    ),
)
