import numpy as np
import pytest

from rl_edge_core.errors import ConfigurationError
from rl_edge_experiments.soak import fit_slope, slopes_of


def test_the_slope_of_a_line_is_found_per_hour_and_in_percent_of_the_mean():
    # 100 MB growing by 1 MB in half an hour: 2 MB per hour on a mean of 100.5 MB.
    slope = fit_slope([0.0, 900.0, 1800.0], [100.0, 100.5, 101.0])

    assert slope.per_hour == pytest.approx(2.0)
    assert slope.mean == pytest.approx(100.5)
    assert slope.percent_per_hour == pytest.approx(200.0 / 100.5)
    assert slope.low_percent_per_hour == pytest.approx(slope.high_percent_per_hour)


def test_noise_without_growth_has_an_interval_around_zero():
    noise = np.random.default_rng(0).normal(80.0, 0.5, 400)

    slope = fit_slope(np.arange(400) * 10.0, noise)

    assert slope.low_percent_per_hour < 0 < slope.high_percent_per_hour


def test_the_warm_up_is_left_out():
    times = np.arange(100.0)

    slopes = slopes_of({'memory': (times, np.where(times < 20.0, 10.0, 50.0))})

    assert slopes['memory'].mean == 50.0
    assert slopes['memory'].per_hour == pytest.approx(0.0)


def test_slopes_are_those_of_medians_over_windows():
    times = np.arange(0.0, 1000.0, 0.1)
    values = 100.0 + times / 3600.0  # 1 more per hour
    values[::10] = 1e6  # a single slow one in each second decides nothing
    values[5::10] = np.nan

    slope = slopes_of({'response': (times, values)})['response']

    assert slope.per_hour == pytest.approx(1.0, rel=0.05)
    assert slope.samples == 200


def test_a_value_with_too_few_samples_has_no_slope():
    long = (np.arange(100.0), np.ones(100))

    assert set(slopes_of({'a': long, 'b': (np.array([99.0]), np.array([1.0]))})) == {'a'}


@pytest.mark.parametrize(
    ('times', 'values'),
    [([0.0, 1.0], [1.0, 1.0]), ([5.0] * 4, [1.0] * 4), ([0.0, 1.0], [1.0] * 3)],
)
def test_too_few_samples_are_refused(times, values):
    with pytest.raises(ConfigurationError):
        fit_slope(times, values)
