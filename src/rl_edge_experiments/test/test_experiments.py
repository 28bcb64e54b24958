"""The arithmetic of the experiments, and the files they write."""

import json
import math
import subprocess

import pytest

from rl_edge_core.errors import StorageError
from rl_edge_core.results import result_folder, write_json
from rl_edge_experiments.bench.spread import section, spread
from rl_edge_experiments.figures import FIGURES, comparison_table, ratios

FULL = {figure.key: 6.0 for figure in FIGURES}
COMPRESSED = {figure.key: 2.0 for figure in FIGURES}


def test_ratios_are_full_over_compressed_and_undefined_over_zero():
    quotients = ratios(FULL, {**COMPRESSED, 'return_mean': 0.0})

    assert quotients['policy_memory_mb'] == 3.0
    assert math.isnan(quotients['return_mean'])
    assert list(quotients) == list(FULL)


def test_the_table_has_a_row_for_every_figure_and_the_note():
    table = comparison_table(FULL, COMPRESSED, title='both', note='untrained')

    assert table.row_count == len(FIGURES)
    assert table.caption == 'untrained'


def test_spread_is_the_median_with_the_quartiles():
    figure = spread([1.0, 2.0, 3.0, 4.0, 100.0])

    assert (figure.quartile_low, figure.median, figure.quartile_high) == (2.0, 3.0, 4.0)
    assert section({'a': figure}, rounds=5) == {
        'a': 3.0,
        'quartiles': {'a': [2.0, 4.0]},
        'rounds': 5,
    }


def test_json_has_null_where_a_figure_is_not_finite(tmp_path):
    path = tmp_path / 'summary.json'

    write_json(path, {'a': math.nan, 'b': [1.0, math.inf], 'c': {'d': 2}})

    assert json.loads(path.read_text()) == {'a': None, 'b': [1.0, None], 'c': {'d': 2}}


def test_a_results_folder_below_a_file_is_an_error(tmp_path):
    (tmp_path / 'results').write_text('')

    with pytest.raises(StorageError, match='a file'):
        result_folder(tmp_path / 'results' / 'demo')


def test_a_full_disk_is_an_error(tmp_path):
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip('mounting a small disk needs root')
    try:
        with pytest.raises(StorageError, match='the disk is full'):
            result_folder(tmp_path / 'demo')
    finally:
        subprocess.run(['umount', str(tmp_path)], check=True)
