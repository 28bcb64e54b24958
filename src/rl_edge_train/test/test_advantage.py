"""Generalised advantage estimation and the scaling of rewards, worked by hand."""

import numpy as np
import pytest

from rl_edge_train.advantage import ReturnScaler, generalized_advantages


def column(*values):
    return np.array(values, np.float32)[:, None]


def advantages(*, terminated, ended, value=(1.0, 1.0, 1.0)):
    return generalized_advantages(
        reward=column(1.0, 1.0, 1.0),
        value=column(*value),
        next_value=column(1.0, 1.0, 3.0),
        terminated=column(*terminated),
        ended=column(*ended),
        discount=0.5,
        gae_lambda=0.5,
    )[:, 0]


def test_advantages_of_an_open_rollout():
    # Errors: 1 + 0.5 * 1 - 1 = 0.5 twice, 1 + 0.5 * 3 - 1 = 1.5 at the end, carried by 0.25:
    # 1.5; 0.5 + 0.25 * 1.5 = 0.875; 0.5 + 0.25 * 0.875 = 0.71875.
    result = advantages(terminated=(0, 0, 0), ended=(0, 0, 0))
    np.testing.assert_allclose(result, [0.71875, 0.875, 1.5])


def test_termination_has_no_next_value_and_carries_nothing():
    # At the second step: 1 - 1 = 0, and nothing of the third; first: 0.5 + 0.25 * 0.
    result = advantages(terminated=(0, 1, 0), ended=(0, 1, 0))
    np.testing.assert_allclose(result, [0.5, 0.0, 1.5])


def test_truncation_keeps_the_next_value_and_carries_nothing():
    # At the second step 1 + 0.5 * 1 - 1 = 0.5 without the third; first: 0.5 + 0.25 * 0.5.
    result = advantages(terminated=(0, 0, 0), ended=(0, 1, 0))
    np.testing.assert_allclose(result, [0.625, 0.5, 1.5])


def test_rewards_are_divided_by_the_spread_of_the_discounted_return():
    # Returns of one environment, discount 0.5: 2, then 1 + 4 = 5: mean 3.5, deviation 1.5.
    scaler = ReturnScaler(discount=0.5, enabled=True)
    scaled = scaler.scaled(column(2.0, 4.0), column(0, 0))
    np.testing.assert_allclose(scaled, column(2 / 1.5, 4 / 1.5), rtol=1e-6)


def test_the_discounted_return_starts_anew_after_an_episode():
    # 2 ends the episode, so the second return is 4 alone: deviation of (2, 4) is 1.
    scaler = ReturnScaler(discount=0.5, enabled=True)
    scaled = scaler.scaled(column(2.0, 4.0), column(1, 0))
    np.testing.assert_allclose(scaled, column(2.0, 4.0), rtol=1e-6)


def test_a_restored_scaler_goes_on_as_the_saved_one():
    first = ReturnScaler(discount=0.9, enabled=True)
    first.scaled(column(1.0, 3.0, -2.0), column(0, 0, 0))
    second = ReturnScaler(discount=0.9, enabled=True)
    second.load_arrays(first.arrays())
    rewards, ended = column(5.0, 1.0), column(0, 1)
    np.testing.assert_array_equal(first.scaled(rewards, ended), second.scaled(rewards, ended))


def test_a_disabled_scaler_changes_nothing():
    rewards = column(1.0, 300.0)
    scaler = ReturnScaler(discount=0.9, enabled=False)
    assert scaler.scaled(rewards, column(0, 0)) is rewards
    assert scaler.count == pytest.approx(0)
