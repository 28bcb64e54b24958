"""Columns over runs: tables, rows of JSON, and how two runs differ."""

import math

import pytest

from rl_edge_eval.output.columns import (
    HIGHER,
    LOWER,
    Column,
    comparison_rows,
    comparison_table,
    ratios_of,
    values_of,
)

COLUMNS = (
    Column('return', '', lambda run: run['return'], HIGHER, 1, is_difference=True),
    Column('peak memory', 'MB', lambda run: run['memory'], LOWER, 0, 'memory_mb'),
)
RUNS = {
    'full': {'return': 5.0, 'memory': 600.0},
    'compressed': {'return': -2.5, 'memory': 100.0},
}


def test_values_are_keyed_by_run_and_column():
    assert values_of(RUNS, COLUMNS)['full'] == {'return': 5.0, 'memory_mb': 600.0}
    assert ratios_of(*RUNS.values(), COLUMNS) == pytest.approx(
        {'return': math.nan, 'memory_mb': 6.0}, nan_ok=True
    )


@pytest.mark.parametrize(('first', 'second'), [(5.0, 0.0), (-10.0, -5.0), (5.0, math.nan)])
def test_only_positive_values_have_a_ratio(first, second):
    runs = ({'return': value, 'memory': 1.0} for value in (first, second))

    assert math.isnan(ratios_of(*runs, COLUMNS)['return'])


def test_a_row_says_what_is_better_and_how_the_second_run_differs():
    assert comparison_rows(RUNS, COLUMNS) == [
        ('return ↑', '5.0', '-2.5', '-7.5'),
        ('peak memory (MB) ↓', '600', '100', '6.00x less'),
    ]
    table = comparison_table(RUNS, COLUMNS, title='both', note='a note')
    assert [column.header for column in table.columns] == [
        '',
        'full',
        'compressed',
        'compressed is',
    ]
    assert (table.row_count, table.caption) == (2, 'a note')


@pytest.mark.parametrize(
    ('first', 'second', 'text'),
    [
        (100.0, 250.0, '2.50x more'),
        (250.0, 100.0, '2.50x less'),
        (3.0, 3.0, 'same'),
        (1000.0, 1004.0, 'same'),
        (1000.0, 994.0, '1.01x less'),
        (0.0, 0.0, 'same'),
        (1.0, 0.0, '-'),
        (math.nan, 1.0, '-'),
    ],
)
def test_two_values_are_compared_by_their_ratio(first, second, text):
    assert COLUMNS[1].compare(first, second) == text
