"""The benchmark of inference, on a small artifact and real processes."""

import numpy as np
import pytest

from rl_edge_compress import benchmark
from rl_edge_compress.benchmark import Candidate, candidates, time_in_turns
from rl_edge_compress.export import export_artifact
from rl_edge_compress.timing_worker import BARE_INTERPRETER, NUMPY, POLICY, load_call, time_calls
from rl_edge_core.artifact import load_manifest
from rl_edge_sim.environment import make_environment, spec_of

SEEN = np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)


@pytest.fixture(scope='module')
def folder(build, tmp_path_factory):
    folder = tmp_path_factory.mktemp('benchmark') / 'pole'
    export_artifact(
        build(observations=4, actions=1, width=8),
        spec=spec_of(make_environment('InvertedPendulum-v5')),
        name='pole',
        out=folder,
        recipes=('float32', 'int8'),
        calibration=np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32),
    )
    return folder


def test_calls_are_timed_in_batches_after_a_warm_up():
    seen = []

    durations = time_calls(seen.append, SEEN, batch=10, calls=30)

    assert len(durations) == 3
    assert len(seen) == 5 + 30
    assert all(duration > 0 for duration in durations)
    assert sum(time_calls(seen.append, SEEN, batch=10, turn_sec=0.001)) >= 1e6


def test_every_form_of_every_file_and_each_baseline_once_is_a_candidate(folder):
    names = [str(candidate) for candidate in candidates(load_manifest(folder))]

    assert {
        'keras on keras, policy',
        'keras graph',
        'keras model(x)',
        'keras predict',
        'float32 on litert, policy',
        'int8 on litert, policy',
        'int8 on litert, bare interpreter',
        'numpy',
    } <= set(names)
    assert len(set(names)) == len(names)


def test_candidates_have_their_turns_and_compute_the_same_action(folder):
    wanted = [
        Candidate('litert', 'float32'),
        Candidate('litert', 'float32', BARE_INTERPRETER),
        Candidate(NUMPY, 'float32'),
    ]
    times, left_out = time_in_turns(folder, wanted, SEEN, turns=3)

    assert left_out == []
    assert {len(values) for values in times.values()} == {3}
    assert all(values.min() > 0 for values in times.values())
    whole, bare = (load_call(folder, 'litert', 'float32', f) for f in (POLICY, BARE_INTERPRETER))
    for observation in SEEN:
        limited = np.clip(bare(observation), -3.0, 3.0)  # the policy keeps the action's limits
        np.testing.assert_allclose(whole(observation), limited, atol=1e-6)


def test_a_baseline_that_computes_another_action_is_left_out(folder, monkeypatch):
    monkeypatch.setattr(benchmark, '_TOLERANCE', 0.0)
    wanted = [Candidate('litert', 'float32'), Candidate(NUMPY, 'float32')]

    times, left_out = time_in_turns(folder, wanted, SEEN, turns=1)

    assert list(times) == wanted[:1]
    assert left_out[0].startswith('numpy: it computes another action')
