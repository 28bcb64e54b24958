import dataclasses
import json
import math

import numpy as np
import pytest

from rl_edge_compress import benchmark, closed_loop
from rl_edge_compress.benchmark import Timing
from rl_edge_compress.export import export_artifact
from rl_edge_compress.report import ReportConfig, make_report
from rl_edge_compress.report_pictures import pareto, pareto_front
from rl_edge_compress.report_table import kept_timings, markdown
from rl_edge_compress.select_recipe import (
    RecipeReport,
    action_errors,
    compare_episodes,
    fastest_that_keeps_return,
    recipes_to_confirm,
    select_recipe,
)
from rl_edge_core.artifact import load_manifest
from rl_edge_core.episode_result import EndedBy, EpisodeResult
from rl_edge_core.errors import ArtifactError
from rl_edge_sim.environment import make_environment, spec_of


def episode(seed, value, ended_by=EndedBy.TIME_LIMIT):
    return EpisodeResult(
        seed=seed,
        episode_return=value,
        length=10,
        forward_distance=value / 10,
        mean_speed=1.0,
        ended_by=ended_by,
    )


def loop(kept, count=50):
    reference = {seed: episode(seed, 100.0 + seed) for seed in range(count)}
    results = {seed: episode(seed, kept * e.episode_return) for seed, e in reference.items()}
    return compare_episodes(results, reference)


def loop_of(returns, full):
    """Compare returns with those of the full policy, in the order of their seeds."""
    return compare_episodes(
        *({seed: episode(seed, r) for seed, r in enumerate(side)} for side in (returns, full))
    )


def report(recipe, *, size, kept, confirmed=None, p50=5.0):
    return RecipeReport(
        recipe=recipe,
        description='',
        numeric_format='int8',
        parameters=10,
        bytes=size,
        gzip_bytes=size,
        sparsity=0.0,
        runtimes=('litert',),
        unsupported={},
        timings={'litert': Timing(p50, p50, 1.0, 1.0)},
        action_rmse=0.0,
        action_rmse_of_joint={'push': 0.0},
        action_error_max=0.0,
        chosen_by=loop(kept),
        confirmed=None if confirmed is None else loop(confirmed),
    )


REPORTS = [
    report('float32', size=300_000, kept=1.0, p50=5.0),
    report('int8', size=80_000, kept=0.99, confirmed=0.99, p50=3.0),
    report('int4', size=40_000, kept=1.0, confirmed=1.0, p50=6.0),
    report('pruned90_int8', size=79_000, kept=0.96, confirmed=0.96),
    report('student64_int8', size=12_000, kept=0.98, confirmed=0.95),
    report('student32_int8', size=6_000, kept=0.5),
]


def test_return_kept_pairs_seeds():
    kept = loop(0.9).return_kept
    assert kept.estimate == pytest.approx(0.9)
    # The same seeds on both sides: nothing is left to chance.
    assert kept.low == pytest.approx(0.9)
    assert kept.high == pytest.approx(0.9)


def test_action_error_by_joint():
    error = action_errors(np.array([[1.0, 0.0], [1.0, 2.0]]), np.zeros((2, 2)), ('hip', 'knee'))
    assert error['action_rmse_of_joint'] == pytest.approx({'hip': 1.0, 'knee': np.sqrt(2.0)})
    assert error['action_rmse'] == pytest.approx(np.sqrt(6 / 4))
    assert error['action_error_max'] == 2.0


def test_what_is_confirmed_on_fresh_seeds():
    assert recipes_to_confirm(REPORTS, runtime='litert') == {
        'int8': 'int8',
        'pruned90_int8': '90 % pruned',
        'student64_int8': 'student of at most 16000 bytes',
    }


def test_the_default_is_the_smallest_that_keeps_the_return_and_is_no_slower():
    # int4 is smaller but slower than float32, the student's fresh seeds fell short.
    assert select_recipe(REPORTS, runtime='litert') == 'int8'
    unconfirmed = [dataclasses.replace(r, confirmed=None) for r in REPORTS]
    assert select_recipe(unconfirmed, runtime='litert') == 'float32'


def test_what_suits_a_runtime_is_the_fastest_that_keeps_the_return():
    assert fastest_that_keeps_return(REPORTS, runtime='litert') == 'int8'
    slow = [
        dataclasses.replace(r, timings={'tflite_runtime': Timing(t, t, 1.0, 1.0)})
        for r, t in zip(REPORTS, (8.0, 290.0, 400.0, 290.0, 5.0, 3.0), strict=True)
    ]
    # The students are faster, but their return was not confirmed to stay.
    assert fastest_that_keeps_return(slow, runtime='tflite_runtime') == 'float32'


PENDULUM = np.linspace(-200.0, 200.0, 10)
"""Around the mean of ten episodes."""


def reports_of(returns, full):
    """Report on recipes by their returns; the smaller, the faster."""
    return [
        dataclasses.replace(
            report(recipe, size=size, kept=1.0, p50=size / 1000),
            chosen_by=loop_of(own, full),
            confirmed=loop_of(own, full),
        )
        for recipe, size, own in zip(
            ('float32', 'int8', 'student26_int8'), (20_000, 7_000, 3_000), returns, strict=True
        )
    ]


def test_a_ruined_policy_of_negative_returns_is_not_chosen():
    full = PENDULUM - 661.7
    reports = reports_of((full, PENDULUM - 665.3, PENDULUM - 1021.0), full)
    kept = [round(report.best_known.return_kept.estimate, 3) for report in reports]
    # 1 - 3.6 / 661.7 and 1 - 359.3 / 661.7.
    assert kept == [1.0, 0.995, 0.457]
    assert [report.best_known.keeps_return for report in reports] == [True, True, False]
    assert select_recipe(reports, runtime='litert') == 'int8'
    assert fastest_that_keeps_return(reports, runtime='litert') == 'int8'
    confirmed = recipes_to_confirm(reports, runtime='litert')
    assert confirmed == {'int8': 'int8', 'student26_int8': 'student of at most 16000 bytes'}
    text = markdown(reports, default='')
    assert 'On litert, the fastest that keeps the return: int8.' in text


def test_a_task_without_a_distance_has_no_column_of_it():
    far = report('int8', size=1, kept=1.0)
    nowhere = {0: dataclasses.replace(episode(0, 1.0), forward_distance=math.nan)}
    near = dataclasses.replace(far, chosen_by=compare_episodes(nowhere, nowhere))
    assert 'distance (m)' in markdown([far], default='')
    assert 'distance (m)' not in markdown([near], default='')


def test_of_a_return_about_0_the_difference_is_told_and_nothing_chosen():
    reports = reports_of((PENDULUM, PENDULUM - 3.0, PENDULUM + 3.0), PENDULUM)
    assert select_recipe(reports, runtime='litert') == 'float32'
    rows = markdown(reports, default='float32').splitlines()
    assert ['difference -3.000 [-3.000, -3.000]' in row for row in rows].count(True) == 1
    axes = pareto(reports, lambda r: r.bytes, 'bytes').axes[0]
    assert axes.get_ylabel() == 'return minus that of the full policy, 95 % interval'
    assert axes.dataLim.ymin == pytest.approx(-3.0)


def test_pareto_front_holds_what_nothing_cheaper_equals():
    points = [(3.0, 0.9), (1.0, 0.5), (2.0, 0.4), (2.5, 0.9), (4.0, 1.0)]
    assert pareto_front(points) == [(1.0, 0.5), (2.5, 0.9), (4.0, 1.0)]


@pytest.fixture(scope='module')
def folder(build, tmp_path_factory):
    folder = tmp_path_factory.mktemp('compressed') / 'pole'
    export_artifact(
        build(observations=4, actions=1, width=8),
        spec=spec_of(make_environment('InvertedPendulum-v5')),
        name='pole',
        out=folder,
        recipes=('float32', 'int8'),
        calibration=np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32),
    )
    return folder


def test_a_report_measures_everything(folder):
    config = ReportConfig(episodes=6, confirm=2, processes=1, timing_rounds=1)
    reports, default = make_report(folder, config)
    assert [r.recipe for r in reports] == ['keras', 'float32', 'int8']
    assert load_manifest(folder).compressed_recipe() == default
    content = json.loads((folder / 'report' / 'report.json').read_text())
    int8 = content['recipes'][2]
    assert int8['bytes'] == load_manifest(folder).entry('int8').bytes
    assert set(int8['action_rmse_of_joint']) == {'slider'}
    assert int8['chosen_by']['episode_return']['count'] == 6
    assert int8['confirmed']['return_kept']['count'] == 2
    timing = int8['timings']['litert']
    assert 0 < timing['p50_us'] <= timing['p99_us']
    assert timing['resident_memory_mb'] > 10
    assert 'numpy' in content['recipes'][1]['timings']
    assert '| int8 |' in (folder / 'report' / 'report.md').read_text().replace('**', '')
    for picture in ('pareto_bytes', 'pareto_time', 'action_error'):
        assert (folder / 'report' / f'{picture}.png').read_bytes().startswith(b'\x89PNG')


def test_timings_that_were_taken_are_not_taken_again(folder, tmp_path, monkeypatch):
    manifest = load_manifest(folder)
    seen = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    measured = []
    measure = benchmark.measure
    monkeypatch.setattr(
        benchmark,
        'measure',
        lambda folder, wanted, *a, **k: (
            measured.append(wanted) or measure(folder, wanted, *a, **k)
        ),
    )
    float32 = dataclasses.replace(manifest, files=manifest.files[1:2])
    first = kept_timings(folder, float32, seen, kept=tmp_path, rounds=1)
    assert set(first) == set(benchmark.combinations(float32))
    compressed = dataclasses.replace(manifest, files=manifest.files[1:])
    both = kept_timings(folder, compressed, seen, kept=tmp_path, rounds=1)
    assert both.items() >= first.items()
    assert kept_timings(folder, compressed, seen, kept=tmp_path, rounds=1) == both
    assert [{recipe for _, recipe in wanted} for wanted in measured] == [{'float32'}, {'int8'}]
    (tmp_path / 'timings.json').write_text('[{}')
    with pytest.raises(ArtifactError, match='delete it'):
        kept_timings(folder, compressed, seen, kept=tmp_path, rounds=1)


def test_episodes_that_were_run_are_not_run_again(folder, tmp_path):
    wanted = {'float32': range(3)}
    kept = tmp_path / 'episodes'
    first = closed_loop.run_episodes(folder, wanted, kept=kept, processes=1)
    assert closed_loop.count_missing(folder, {'float32': range(5)}, kept=kept) == 2
    again = closed_loop.run_episodes(folder, wanted, kept=kept, processes=1)
    # As text: distances are NaN here, which equal nothing.
    assert repr(again) == repr(first)
    (kept / 'float32.json').write_text('{"sha256"')
    with pytest.raises(ArtifactError, match='delete it'):
        closed_loop.count_missing(folder, wanted, kept=kept)


def test_an_artifact_without_compressed_files_is_refused(build, tmp_path):
    spec = spec_of(make_environment('InvertedPendulum-v5'))
    model = build(observations=4, actions=1, width=8)
    export_artifact(model, spec=spec, name='x', out=tmp_path / 'x', recipes=())
    with pytest.raises(ArtifactError, match='compress it first'):
        make_report(tmp_path / 'x', ReportConfig())
