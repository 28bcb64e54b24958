"""A recorder that is killed or stopped while it records the loop."""

import os
import signal
from pathlib import Path

import pytest
from fault_loop import FaultLoop

from rl_edge_eval.bag.bag import Bag


def wait_for_data(loop: FaultLoop, bag: Path) -> None:
    loop.wait_for('data in the bag', lambda: sum(f.stat().st_size for f in bag.glob('*')) > 20_000)


def messages_in(bag: Path) -> int:
    return sum(1 for _ in Bag(bag))


@pytest.mark.faults('recorder killed (-9)', expected='the bag can be read up to there')
def test_recorder_killed(loop, happened):
    bag = loop.folder / 'killed'
    recorder = loop.start_recorder(bag)
    wait_for_data(loop, bag)

    os.kill(recorder.pid('recorder'), signal.SIGKILL)

    outcome = recorder.wait(60)
    loop.wait_until_steady()
    count = messages_in(bag)
    assert count > 0
    happened(f'{outcome.reason}; {count} messages are read from the bag without metadata')


@pytest.mark.faults(
    'recorder stopped (SIGSTOP)', expected='the loop does not wait for it', only='realtime'
)
def test_recorder_stopped(loop, happened):
    bag = loop.folder / 'stopped'
    recorder = loop.start_recorder(bag)
    wait_for_data(loop, bag)

    with loop.stopped(recorder, 'recorder'):
        loop.wait_until_steady()

    loop.wait_until_steady()
    recorder.stop()
    outcome = recorder.wait(60)
    assert outcome.exit_code == 0, outcome
    happened(f'the loop did not wait for it; the bag was closed with {messages_in(bag)} messages')
