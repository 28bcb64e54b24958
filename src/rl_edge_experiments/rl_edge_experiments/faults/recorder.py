"""A recorder that is killed or held while it records the loop."""

import os
import signal
from pathlib import Path

from rl_edge_eval.bag.bag import Bag
from rl_edge_experiments.faults.fault import BOTH, REALTIME, Fault
from rl_edge_experiments.rig import FaultFailedError, Rig


def kill_recorder(rig: Rig) -> str:
    """Kill the recorder and read what it has written."""
    bag = rig.folder / f'killed-{rig.mode}'
    recorder = rig.start_recorder(bag)
    _wait_for_bag(rig, bag)
    pid = recorder.pid('recorder')
    os.kill(pid, signal.SIGKILL)
    outcome = recorder.wait(60)
    rig.wait_until_steady()
    count = _count(bag)
    if not count:
        raise FaultFailedError('nothing can be read from the bag')
    return f'{outcome.reason}; {count} messages are read from the bag without metadata'


def stop_recorder(rig: Rig) -> str:
    """Hold the recorder with SIGSTOP, then end it well."""
    bag = rig.folder / f'stopped-{rig.mode}'
    recorder = rig.start_recorder(bag)
    _wait_for_bag(rig, bag)
    with rig.stopped(recorder, 'recorder'):
        rig.wait_until_steady()
    rig.wait_until_steady()
    recorder.stop()
    outcome = recorder.wait(60)
    if outcome.exit_code:
        raise FaultFailedError(f'the recorder ended with {outcome}')
    return f'the loop did not wait for it; the bag was closed with {_count(bag)} messages'


def _wait_for_bag(rig: Rig, bag: Path) -> None:
    rig.wait_for('data in the bag', lambda: sum(f.stat().st_size for f in bag.glob('*')) > 20_000)


def _count(bag: Path) -> int:
    return sum(1 for _ in Bag(bag))


RECORDER_FAULTS = (
    Fault('recorder killed (-9)', BOTH, 'the bag can be read up to there', kill_recorder),
    Fault(
        'recorder stopped (SIGSTOP)', (REALTIME,), 'the loop does not wait for it', stop_recorder
    ),
)
