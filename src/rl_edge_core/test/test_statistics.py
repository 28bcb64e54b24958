import math

import numpy as np
import pytest

from rl_edge_core.episode_result import EndedBy, EpisodeResult
from rl_edge_core.errors import ConfigurationError
from rl_edge_core.evaluation_summary import summarize
from rl_edge_core.statistics import (
    difference_interval,
    kept_interval,
    mean_interval,
    median_interval,
    share_interval,
    share_kept,
    unpaired_difference,
)


def test_mean_of_equal_values_has_no_spread():
    interval = mean_interval([2.0, 2.0, 2.0])
    assert (interval.estimate, interval.low, interval.high, interval.count) == (2.0, 2.0, 2.0, 3)


@pytest.mark.parametrize(
    'interval',
    [
        mean_interval([7176.0]),
        median_interval([7176.0]),
        kept_interval([7176.0], [1.0]),
        difference_interval([7177.0], [1.0]),
        unpaired_difference([1.0, 3.0], [7178.0]),
    ],
)
def test_one_value_has_no_interval(interval):
    assert str(interval) == '7176'
    assert np.isnan([interval.low, interval.high]).all()


def test_mean_interval_agrees_with_the_normal_one_on_many_normal_values():
    values = np.random.default_rng(3).normal(10.0, 2.0, 1000)
    interval = mean_interval(values)
    half = 1.96 * values.std() / np.sqrt(1000)
    assert interval.estimate == pytest.approx(values.mean())
    assert interval.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_mean_interval_covers_the_truth_about_95_times_in_100():
    generator = np.random.default_rng(0)
    intervals = [mean_interval(generator.normal(1.0, 1.0, 40)) for _ in range(200)]
    covered = sum(interval.low <= 1.0 <= interval.high for interval in intervals)
    assert 0.90 <= covered / 200 <= 0.99


def test_median_ignores_an_outlier():
    assert median_interval([1.0, 2.0, 3.0, 4.0, 1e6]).estimate == 3.0


def test_share_interval_is_wilsons():
    # Wilson's interval of 8 in 10: (0.4902, 0.9433).
    interval = share_interval(8, 10)
    assert interval.estimate == 0.8
    assert interval.low == pytest.approx(0.4902, abs=1e-4)
    assert interval.high == pytest.approx(0.9433, abs=1e-4)
    assert share_interval(0, 100).low == pytest.approx(0.0, abs=1e-12)
    assert share_interval(0, 100).high == pytest.approx(0.0370, abs=1e-4)


@pytest.mark.parametrize(
    ('value', 'reference', 'kept'),
    [
        (90.0, 100.0, 0.9),
        (-110.0, -100.0, 0.9),
        (100.0, -100.0, 3.0),
        (-1021.0, -661.7, 1 - (1021.0 - 661.7) / 661.7),
        (1.0, 0.0, math.nan),
        (math.nan, 1.0, math.nan),
    ],
)
def test_less_is_kept_of_what_loses_more_whatever_its_sign(value, reference, kept):
    assert share_kept(value, reference) == pytest.approx(kept, nan_ok=True)


def test_the_return_kept_of_a_negative_one_by_hand():
    # 1 - (1021 - 661.7) / 661.7 = 0.457; their quotient is 1.543, as if more were kept.
    spread = np.array([-100.0, 0.0, 100.0])
    kept = kept_interval(spread - 1021.0, spread - 661.7)
    assert kept.estimate == pytest.approx(0.457, abs=5e-4)
    # Every resample loses the same 359.3, of a reference between -761.7 and -561.7.
    bounds = 1 - 359.3 / 561.7, 1 - 359.3 / 761.7
    assert (kept.low, kept.high) == pytest.approx(bounds)


@pytest.mark.parametrize('reference', [[0.0] * 3, [-1.0, 1.0, 0.5], [2.0, -2.0]])
def test_of_about_nothing_there_is_no_share(reference):
    kept = kept_interval(np.ones(len(reference)), reference)
    assert (kept.count, str(kept)) == (len(reference), '-')
    assert np.isnan([kept.estimate, kept.low, kept.high]).all()


def test_a_share_of_rare_rewards_leaves_out_resamples_without_one():
    rare = np.array([1.0] * 4 + [0.0] * 14)
    kept = kept_interval(0.5 * rare, rare)
    assert (kept.estimate, kept.low, kept.high) == pytest.approx((0.5, 0.5, 0.5))


def test_what_is_kept_pairs_seeds():
    # Each pair has the same ratio: pairing leaves no uncertainty, whatever the seeds' spread.
    hard_and_easy = np.array([10.0, 1000.0, 50.0, 7000.0])
    interval = kept_interval(0.9 * hard_and_easy, hard_and_easy)
    assert interval.estimate == pytest.approx(0.9)
    assert interval.low == pytest.approx(0.9)
    assert interval.high == pytest.approx(0.9)


def test_difference_pairs_seeds():
    values = np.array([1.0, 100.0, 10000.0])
    interval = difference_interval(values + 5.0, values)
    assert (interval.low, interval.estimate, interval.high) == pytest.approx((5.0, 5.0, 5.0))


@pytest.mark.parametrize(
    'call',
    [
        lambda: mean_interval([]),
        lambda: mean_interval([[1.0]]),
        lambda: kept_interval([1.0], [1.0, 2.0]),
        lambda: share_interval(2, 1),
        lambda: share_interval(0, 0),
        lambda: summarize([]),
    ],
)
def test_refuses_what_has_no_answer(call):
    with pytest.raises(ConfigurationError):
        call()


def test_summary_counts_early_ends_apart_from_time_limits():
    ended = [EndedBy.TERMINATION, EndedBy.TIME_LIMIT, EndedBy.TIME_LIMIT, EndedBy.TIME_LIMIT]
    results = [
        EpisodeResult(
            seed=seed,
            episode_return=100.0 * seed,
            length=1000,
            forward_distance=float(seed),
            mean_speed=seed / 50.0,
            ended_by=reason,
        )
        for seed, reason in enumerate(ended)
    ]
    summary = summarize(results)
    assert summary.episode_return.estimate == 150.0
    assert summary.forward_distance_median_m.estimate == 1.5
    assert summary.early_end_share.estimate == 0.25


def test_unpaired_difference_of_constants_has_no_width() -> None:
    interval = unpaired_difference(np.full(3, 2.0), np.full(5, 7.0))
    assert (interval.estimate, interval.low, interval.high, interval.count) == (5.0, 5.0, 5.0, 8)


def test_unpaired_interval_has_the_width_of_the_normal_theory() -> None:
    generator = np.random.default_rng(1)
    a, b = generator.normal(0, 1, 400), generator.normal(1, 2, 400)
    interval = unpaired_difference(a, b)
    half = 1.96 * np.sqrt(a.var() / 400 + b.var() / 400)
    assert interval.high - interval.low == pytest.approx(2 * half, rel=0.08)


def test_summary_counts_what_ended_episodes_early():
    def early(reason):
        return EpisodeResult(0, 1.0, 5, 0.0, 0.0, EndedBy.TERMINATION, termination_reason=reason)

    summary = summarize([early(r) for r in ('too low', '', 'too high', 'too high', 'too high')])
    assert summary.termination_reasons == {'too high': 3, 'too low': 1, 'terminated': 1}
    assert dict(summary.rows())['termination_reasons'] == '3 too high, 1 too low, 1 terminated'
    content = summary.to_dict()
    assert content['termination_reasons']['too low'] == 1
    assert content['fall_share'] == content['early_end_share']  # the name it had first
    assert content['early_end_share']['estimate'] == 1.0
    on_time = EpisodeResult(0, 1.0, 5, 0.0, 0.0, EndedBy.TIME_LIMIT)
    assert 'termination_reasons' not in dict(summarize([on_time]).rows())


def test_a_task_without_a_distance_has_no_rows_of_it():
    ended = [
        EpisodeResult(seed, -100.0, 200, math.nan, math.nan, EndedBy.TIME_LIMIT) for seed in (0, 1)
    ]
    summary = summarize(ended)
    assert [name for name, _ in summary.rows()] == [
        'episode_return',
        'episode_length',
        'early_end_share',
    ]
    assert math.isnan(summary.to_dict()['forward_distance_m']['low'])
