"""Calls that are spread out: here and in processes; on a cluster: rl_edge_train's test_cluster."""

import itertools
import os

import pytest

from rl_edge_core.cluster import spread
from rl_edge_core.errors import RlEdgeError


def add(common, item):
    return common + item


def fail_at_three(_, item):
    if item == 3:
        raise RlEdgeError(f'item {item} is broken')
    return item


def end_process(_, item):
    os._exit(9)


@pytest.mark.parametrize('processes', [1, 2])
def test_results_come_in_order_and_endless_items_end_with_the_iterator(processes):
    results = spread(add, 100, itertools.count(), processes=processes)
    assert list(itertools.islice(results, 7)) == [100 + i for i in range(7)]
    results.close()
    assert list(spread(add, 0, [], processes=processes)) == []


@pytest.mark.parametrize('processes', [1, 2])
def test_what_a_call_raises_ends_the_loop(processes):
    results = spread(fail_at_three, None, range(9), processes=processes)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(RlEdgeError, match='item 3 is broken'):
        next(results)


def test_a_process_that_ended_is_named():
    with pytest.raises(RlEdgeError, match='one of 2 processes was killed'):
        list(spread(end_process, None, range(2), processes=2))
