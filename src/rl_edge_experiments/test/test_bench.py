"""The arithmetic of the benchmarks, and the keys of bench.json."""

import numpy as np
import pytest

from rl_edge_bringup.models import results_folder
from rl_edge_bringup.systems import UNTRAINED
from rl_edge_compress.untrained import ensure_untrained
from rl_edge_core.resources import ResourceSample
from rl_edge_experiments.bench import bench, lockstep, policy_process, section

STARTS = {
    'floor': [(1.0, 50.0), (1.0, 50.0)],
    'compressed': [(1.5, 55.0), (2.5, 60.0)],
    'uncompressed': [(15.0, 550.0), (10.0, 600.0)],
}


@pytest.fixture(scope='module')
def artifact():
    return ensure_untrained('Pendulum-v1', '', results_folder() / UNTRAINED)


def test_a_section_has_medians_and_their_quartiles():
    assert section({'a': np.array([1.0, 2.0, 3.0, 4.0, 100.0])}, rounds=5) == {
        'a': 3.0,
        'quartiles': {'a': [2.0, 4.0]},
        'rounds': 5,
    }


def test_the_limit_of_the_loop_is_the_sum_of_its_parts():
    values = lockstep.values_of(np.array([[300.0, 250.0, 50.0, 800.0]]))

    assert list(values) == [
        'share_of_limit',
        'steps_per_s',
        'limit_steps_per_s',
        'simulation_step_us',
        'echo_us',
        'inference_us',
    ]
    assert np.median(values['share_of_limit']) == pytest.approx(600 / 800)
    assert np.median(values['steps_per_s']) == pytest.approx(1250.0)
    assert np.median(values['limit_steps_per_s']) == pytest.approx(1e6 / 600)


def test_processes_are_compared_round_by_round():
    starts = {
        name: [
            policy_process.Start(first, ResourceSample(0.0, 0.0, peak, peak, peak, 1, 1))
            for first, peak in rows
        ]
        for name, rows in STARTS.items()
    }

    values = policy_process.values_of(starts)

    ratios = {'memory_over_floor', 'start_speedup', 'start_over_floor'}
    of_each = {'peak_memory_mb', 'unique_memory_mb', 'first_action_s'}
    assert set(values) == {
        *ratios,
        'full_memory_over_compressed',
        *(f'{name}_{what}' for name in STARTS for what in of_each),
    }
    assert np.median(values['memory_over_floor']) == pytest.approx((1.1 + 1.2) / 2)
    assert np.median(values['start_speedup']) == pytest.approx((10.0 + 4.0) / 2)
    assert np.median(values['full_memory_over_compressed']) == pytest.approx(10.0)


def test_inference_is_compared_turn_by_turn(artifact, monkeypatch):
    def timed(folder, wanted, observations, *, turns):
        assert observations.shape == (10, 3)
        times = {'graph': 300.0, 'model(x)': 1500.0, 'policy': 5.0, 'bare interpreter': 4.0}
        return {c: np.full(turns, times.get(c.form, 9.0)) for c in wanted}, ['onnxruntime: none']

    monkeypatch.setattr(bench, 'time_in_turns', timed)

    content = bench.measure_inference(artifact, rounds=1)

    assert content['full_over_compressed'] == 60.0
    assert content['compressed_over_interpreter'] == 1.25
    assert content['keras_call_over_compressed'] == 300.0
    assert content['compressed'] == 'int8 on litert, policy'
    assert content['us']['keras predict'] == 9.0
    assert content['us']['quartiles']['int8 on litert, bare interpreter'] == [4.0, 4.0]
    assert content['left_out'] == ['onnxruntime: none']
    assert content['turns'] == 20
