"""Calls that are spread out: here and in processes; on a cluster: rl_edge_train's test_cluster."""

import importlib.util
import itertools
import operator
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from rl_edge_core.cluster import spread
from rl_edge_core.errors import RlEdgeError

# Functions of the standard library: another process finds no module of tests by its name.


@pytest.mark.parametrize('processes', [1, 2])
def test_results_come_in_order_and_endless_items_end_with_the_iterator(processes):
    results = spread(operator.add, 100, itertools.count(), processes=processes)
    assert list(itertools.islice(results, 7)) == [100 + i for i in range(7)]
    results.close()
    assert list(spread(operator.add, 0, [], processes=processes)) == []


@pytest.mark.parametrize('processes', [1, 2])
def test_what_a_call_raises_ends_the_loop(processes):
    results = spread(operator.floordiv, 6, [3, 2, 1, 0, 6, 6], processes=processes)
    assert [next(results) for _ in range(3)] == [2, 3, 6]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_a_process_that_ended_is_named():
    with pytest.raises(RlEdgeError, match='one of 2 processes was killed'):
        list(spread(operator.call, os._exit, [9, 9], processes=2))


def spawned(process, count):
    """Return the processes that ``process`` spawns for its calls, once there are so many."""
    while True:
        children = psutil.Process(process).children()
        found = [c for c in children if 'spawn_main' in ' '.join(c.cmdline())]
        if len(found) == count:
            return found
        time.sleep(0.01)


def test_ctrl_c_is_for_the_process_that_waits_even_while_the_others_start():
    with ThreadPoolExecutor(1) as thread:
        results = thread.submit(lambda: list(spread(operator.add, 1, [1, 2], processes=2)))
        for process in spawned(os.getpid(), 2):
            process.send_signal(signal.SIGINT)
        assert results.result(60) == [2, 3]


SLEEPS = """
import operator, time
from rl_edge_core.cluster import spread
if __name__ == '__main__':
    list(spread(operator.call, time.sleep, [600, 600], processes=2))
"""


def test_processes_end_with_the_one_that_waits_for_them(tmp_path):
    (tmp_path / 'sleeps.py').write_text(SLEEPS)
    process = subprocess.Popen([sys.executable, tmp_path / 'sleeps.py'])
    workers = spawned(process.pid, 2)
    process.kill()
    process.wait(60)

    assert not psutil.wait_procs(workers, timeout=60)[1]


FILLS_THE_DISK = """
import operator
from rl_edge_core.cluster import spread
from rl_edge_core.errors import StorageError
try:
    list(spread(operator.mul, b'x', [120_000_000], cluster='local'))
except StorageError as error:
    print(error)
"""


@pytest.mark.timeout(600)
@pytest.mark.skipif(
    importlib.util.find_spec('ray') is None,
    reason='the extra ray is not installed: tools/env --with ray',
)
def test_a_full_disk_below_the_object_store_is_named():
    small = {
        'RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES': '80000000',
        'RAY_local_fs_capacity_threshold': '0.0',  # every disk counts as full
    }
    done = subprocess.run(
        [sys.executable, '-c', FILLS_THE_DISK],
        env=os.environ | small,
        capture_output=True,
        text=True,
        check=False,
    )
    assert 'the disk that Ray spills to is full: free some space' in done.stdout, done.stderr
