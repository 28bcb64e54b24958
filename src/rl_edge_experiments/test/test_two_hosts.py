"""What loops side by side reached; the loops themselves are in tests/faults."""

from types import SimpleNamespace

import numpy as np
import pytest

from rl_edge_eval.metrics.series import STEP
from rl_edge_experiments.two_hosts import WARM_UP_STEPS, Measured


def recorded(steps, *, period_ms, steps_before=0):
    series = np.zeros(steps, STEP).view(np.recarray)
    series.time_ns = np.arange(steps) * period_ms * 1_000_000
    series.response_us = np.arange(steps)
    return SimpleNamespace(robot=SimpleNamespace(series=series), steps_before=steps_before)


def test_a_loop_counts_from_what_had_been_seen_whenever_that_arrived():
    run = recorded(30 + WARM_UP_STEPS + 200, period_ms=1, steps_before=30)

    measured = Measured.together([run], 200)

    first = 30 + WARM_UP_STEPS
    assert measured.response_us.tolist() == list(range(first, first + 200))
    assert measured.steps_per_sec == pytest.approx(1000)


def test_loops_together_are_measured_while_all_of_them_run():
    fast, slow = recorded(1000, period_ms=1), recorded(300, period_ms=2)

    measured = Measured.together([fast, slow], 200)

    # From the slow one's step 100 at 200 ms to its step 299 at 598 ms: 399 and 200 steps.
    assert len(measured.response_us) == 399 + 200
    assert measured.steps_per_sec == pytest.approx((398 + 199) / 0.398)
