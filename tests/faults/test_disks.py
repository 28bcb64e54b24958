"""Disks that fill up or cannot be written."""

import contextlib
import errno
import itertools
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rl_edge_bringup.running_system import Outcome, RunningSystem
from rl_edge_interfaces.srv import SaveCheckpoint

LOOP_RUNS = 'a named cause; the loop runs on'
MOST_ATTEMPTS = 10


@contextlib.contextmanager
def small_disk(size: int) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix='rl_edge-disk-') as folder:
        options = f'size={size}'
        subprocess.run(['mount', '-t', 'tmpfs', '-o', options, 'tmpfs', folder], check=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run(['umount', '--lazy', folder], check=True)


def fill(disk: Path) -> None:
    """Write until the disk is full, whatever others write or remove meanwhile."""
    for number in itertools.count():
        with open(disk / f'filler-{number}', 'wb', buffering=0) as file:
            with contextlib.suppress(OSError):
                while file.write(bytes(1 << 20)):
                    pass
            try:
                file.write(bytes(1))
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    return
                raise


def outcome_of(system: RunningSystem) -> Outcome | None:
    return None if system.is_running() else system.wait()


@pytest.mark.faults(
    'disk full while recording', expected=LOOP_RUNS, only='realtime', needs_root=True
)
def test_disk_full_while_recording(loop, happened):
    with small_disk(600_000) as disk:
        recorder = loop.start_recorder(disk / 'bag')

        outcome = loop.wait_for('the end of the recorder', lambda: outcome_of(recorder))

        error = next((x for x in recorder.log.of('recorder') if 'recording ended' in x), '')
        assert outcome.exit_code == 1, outcome
        assert error
        loop.wait_until_steady()
    cause = error.partition('recording ended: ')[2]
    happened(f'exit code 1, {cause!r}; the loop runs on')


@pytest.mark.faults(
    'disk read-only when recording starts', expected=LOOP_RUNS, only='realtime', needs_root=True
)
def test_read_only_disk(loop, happened):
    with small_disk(600_000) as disk:
        subprocess.run(['mount', '-o', 'remount,ro', disk], check=True)
        recorder = loop.start_recorder(disk / 'bag')

        outcome = loop.wait_for('the end of the recorder', lambda: outcome_of(recorder))

        error = next((x for x in recorder.log.of('recorder') if 'error' in x), '')
        assert outcome.exit_code == 1, outcome
        assert 'ead-only' in error
        loop.wait_until_steady()
    happened(f'exit code 1 at start: {error!r}; the loop runs on')


@pytest.mark.faults(
    'disk full while checkpointing',
    expected=LOOP_RUNS,
    only='realtime',
    needs_root=True,
    may_lose=True,
)
def test_disk_full_while_checkpointing(loop, happened):
    with small_disk(500_000_000) as disk:
        trainer = loop.start_program(
            'rl_edge_train', 'train_node', 'train',
            '-p', f'output:={disk / "run"}', '-p', f'robots:=[/{loop.namespace}]',
            '-p', 'preset:=sac_small', '-p', 'export_period_sec:=100000.0',
        )  # fmt: skip
        pid = trainer.pid('train')
        with loop.observer.client(SaveCheckpoint, 'train/save_checkpoint') as client:
            loop.wait_for('the service save_checkpoint', client.service_is_ready, 240)

            def answer() -> SaveCheckpoint.Response:
                future = client.call_async(SaveCheckpoint.Request())
                loop.wait_for(
                    'an answer of save_checkpoint',
                    lambda: future.done() or not trainer.is_running(),
                    480,
                )
                assert trainer.is_running(), trainer.log.of('train')[-1:]
                return future.result()

            def answer_with_a_robot() -> SaveCheckpoint.Response | None:
                response = answer()
                return None if 'no robot' in response.message else response

            before = loop.wait_for('a robot at the train node', answer_with_a_robot, 240)
            assert before.success, before.message
            for _ in range(MOST_ATTEMPTS):  # the trainer may remove an old file meanwhile
                fill(disk)
                refused = answer()
                if not refused.success:
                    break
        assert not refused.success
        assert 'cannot be written' in refused.message
        loop.wait_until_steady()
        assert trainer.pid('train') == pid
        trainer.stop()
        trainer.wait(60)
    happened(f'refused: {refused.message}; the train node and the loop run on')
