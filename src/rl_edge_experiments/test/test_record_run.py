"""What recorded runs have beside them."""

import psutil
import pytest

from rl_edge_experiments.record_run import busy_processes


@pytest.mark.parametrize('count', [0, 2])
def test_busy_processes_run_while_the_block_does(count):
    mine = psutil.Process()
    before = {child.pid for child in mine.children()}

    with busy_processes(count):
        busy = [child for child in mine.children() if child.pid not in before]
        assert len(busy) == count
        for process in busy:
            # They compute and do not wait: it gets there, however busy the machine is.
            while process.cpu_times().user < 0.05:
                pass

    assert not [child for child in busy if child.is_running()]
