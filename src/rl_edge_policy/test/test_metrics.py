import math

import pytest

from rl_edge_policy.metrics import LatencyHistogram


def test_it_is_empty_at_first():
    assert math.isnan(LatencyHistogram().quantile(0.5))


def test_quantiles_are_those_of_all_durations():
    histogram = LatencyHistogram()
    for duration in range(1, 1001):
        histogram.add(float(duration))
    assert histogram.total == 1000
    assert histogram.quantile(0.5) == pytest.approx(500.0, rel=0.0026)
    assert histogram.quantile(0.99) == pytest.approx(990.0, rel=0.0026)
    assert histogram.quantile(0.0) == pytest.approx(1.0, rel=0.0026)
    assert histogram.quantile(1.0) == pytest.approx(1000.0, rel=0.0026)


def test_durations_beyond_the_range_count_at_its_ends():
    histogram = LatencyHistogram()
    for duration in (0.0, 1.0e12):
        histogram.add(duration)
    assert histogram.quantile(0.5) == pytest.approx(0.1, rel=0.01)
    assert histogram.quantile(1.0) == pytest.approx(1.0e8, rel=0.01)
