"""The arithmetic of the experiments, and the files they write."""

import json
import math
import subprocess

import numpy as np
import pytest

from rl_edge_bringup.locations import results_folder
from rl_edge_bringup.models import UNTRAINED
from rl_edge_bringup.untrained import ensure_untrained
from rl_edge_compress.numpy_graph import numpy_graph
from rl_edge_core.artifact import load_manifest
from rl_edge_core.errors import StorageError
from rl_edge_core.results import result_folder, write_json
from rl_edge_experiments.bench.contenders import observations_for
from rl_edge_experiments.bench.other_runtimes import numpy_call, onnx_call
from rl_edge_experiments.bench.timing import Contender, section, spread, time_round
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


def test_every_contender_has_its_turn_with_the_observations():
    seen = {'first': 0, 'second': 0}

    def call(name):
        def count(observation):
            assert observation.shape == (3,)
            seen[name] += 1

        return count

    contenders = [
        Contender('first', call('first')),
        Contender('second', call('second')),
    ]
    times = time_round(contenders, np.zeros((2, 3)), np.random.default_rng(0))

    assert all(count and count % 10 == 0 for count in seen.values())
    assert all(value > 0 for value in times.values())


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


@pytest.fixture(scope='module')
def artifact():
    return ensure_untrained('Pendulum-v1', '', results_folder() / UNTRAINED)


@pytest.mark.timeout(300)
def test_numpy_and_onnx_compute_the_actions_of_the_file(artifact):
    pytest.importorskip('onnxruntime', reason='onnxruntime is in the extra onnx')
    from rl_edge_policy.load import load_policy

    manifest = load_manifest(artifact)
    graph = numpy_graph((artifact / manifest.entry('float32').file).read_bytes())
    expected = load_policy(artifact, recipe='float32').act
    onnx = onnx_call(graph, observation_size=3)
    for observation in observations_for(manifest):
        np.testing.assert_allclose(
            numpy_call(graph)(observation), expected(observation), atol=1e-5
        )
        np.testing.assert_allclose(onnx(observation), expected(observation), atol=1e-5)
