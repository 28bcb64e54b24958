"""Calls that are spread out: here and in processes; on a cluster: rl_edge_train's test_cluster."""

import importlib.util
import itertools
import operator
import os
import subprocess
import sys

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
