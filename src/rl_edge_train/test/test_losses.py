"""Targets and losses, each against numbers worked by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf

from rl_edge_train import losses
from rl_edge_train.advantage import generalized_advantages


def floats(*values):
    return tf.constant(values, tf.float32)


def test_termination_cuts_the_future_off_and_truncation_does_not():
    # 1 + 0.9 * 10 = 10 where the episode goes on or was cut by its time limit, 1 where it ended.
    target = losses.td_target(floats(1, 1), floats(0, 1), floats(10, 10), discount=0.9)
    np.testing.assert_allclose(target, [10.0, 1.0], rtol=1e-6)


def test_gaussian_log_prob():
    # At the mean with std 1: -0.5 log(2 pi) a dimension; one std away 0.5 less;
    # with std e the density is e times smaller.
    log_prob = losses.gaussian_log_prob(
        tf.constant([[0.0, 0.0], [1.0, 0.0]]), tf.zeros((2, 2)), tf.constant([[0.0, 1.0]] * 2)
    )
    at_mean = -math.log(2 * math.pi) - 1.0
    np.testing.assert_allclose(log_prob, [at_mean, at_mean - 0.5], rtol=1e-6)


def test_gaussian_entropy():
    # 0.5 log(2 pi e) + log std a dimension.
    expected = math.log(2 * math.pi * math.e) + 0.5
    assert float(losses.gaussian_entropy(floats(0.5, 0.0))) == pytest.approx(expected)


def test_squashed_gaussian_log_prob_is_the_density_of_the_squashed_action():
    # a = tanh(u), u ~ N(0, 1), at u = 0.5: N(0.5) / (1 - tanh(0.5)^2).
    density = math.exp(-0.125) / math.sqrt(2 * math.pi) / (1 - math.tanh(0.5) ** 2)
    log_prob = losses.squashed_gaussian_log_prob(
        tf.constant([[0.5]]), tf.zeros((1, 1)), tf.zeros((1, 1))
    )
    assert float(log_prob[0]) == pytest.approx(math.log(density), rel=1e-5)


def test_squashed_gaussian_density_integrates_to_one():
    unsquashed = np.linspace(-8.0, 8.0, 4001, dtype=np.float32)[:, None]
    mean, log_std = tf.fill(unsquashed.shape, 0.3), tf.fill(unsquashed.shape, -0.2)
    density = np.exp(losses.squashed_gaussian_log_prob(tf.constant(unsquashed), mean, log_std))
    action = np.tanh(unsquashed[:, 0])
    area = np.sum(np.diff(action) * (density[1:] + density[:-1]) / 2)
    assert area == pytest.approx(1.0, abs=2e-3)


def test_squash_correction_does_not_overflow():
    assert np.all(np.isfinite(losses.squash_correction(tf.constant([[50.0], [-50.0]]))))


def test_temperature_loss_raises_the_temperature_while_entropy_is_too_low():
    # Entropy 1 (log_prob -1) against a target of 3: the gradient on log alpha is
    # -(log_prob + target) = -(-1 + 3) = -2, so a descent step raises it; at entropy 5 it falls.
    log_temperature = tf.Variable(0.7)
    for log_prob, expected in ((-1.0, -2.0), (-5.0, 2.0)):
        with tf.GradientTape() as tape:
            loss = losses.temperature_loss(log_temperature, floats(log_prob), target_entropy=3.0)
        assert float(tape.gradient(loss, log_temperature)) == pytest.approx(expected)


def test_clipped_policy_loss():
    # Ratios 1.5, 0.5, 1.5, 0.5 with clip 0.2 and advantages 1, 1, -1, -1:
    # min(1.5, 1.2) = 1.2; min(0.5, 0.8) = 0.5; min(-1.5, -1.2) = -1.5; min(-0.5, -0.8) = -0.8.
    loss = losses.clipped_policy_loss(
        floats(1.5, 0.5, 1.5, 0.5), floats(1, 1, -1, -1), clip_range=0.2
    )
    assert float(loss) == pytest.approx(-(1.2 + 0.5 - 1.5 - 0.8) / 4)


def test_clipped_ratio_has_no_gradient():
    ratio = tf.Variable([1.5, 1.0])
    with tf.GradientTape() as tape:
        loss = losses.clipped_policy_loss(ratio, floats(1, 1), clip_range=0.2)
    np.testing.assert_allclose(tape.gradient(loss, ratio), [0.0, -0.5])


def test_standardized():
    np.testing.assert_allclose(losses.standardized(floats(1, 3)), [-1.0, 1.0], rtol=1e-6)


def test_approximate_kl_of_equal_policies_is_zero_and_else_positive():
    # (e^x - 1) - x at x = log 2: 1 - 0.6931.
    assert float(losses.approximate_kl(floats(0.0))) == 0.0
    assert float(losses.approximate_kl(floats(math.log(2)))) == pytest.approx(1 - math.log(2))


def test_importance_weight_is_cut_and_has_no_gradient():
    # pi / mu = e^0.5 = 1.6487 cut to 1; e^-1 = 0.3679 stays.
    log_prob = tf.Variable([-1.0, -2.5])
    with tf.GradientTape() as tape:
        weight = losses.importance_weight(log_prob, floats(-1.5, -1.5), maximum=1.0)
    np.testing.assert_allclose(weight, [1.0, math.exp(-1)], rtol=1e-6)
    assert tape.gradient(weight, log_prob) is None


def test_traced_advantages():
    # From the end: 3; 2 + 0.5 * 0.5 * 3; 1 + 0.5 * 1 * 2.75. Cut after step 1: 3; 2; 1 + 0.5 * 2.
    error = tf.constant([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
    weight = tf.constant([[9.0, 1.0, 0.5], [9.0, 1.0, 0.5]])
    ended = tf.constant([[0.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    found = losses.traced_advantages(error, weight, ended, decay=0.5)
    np.testing.assert_allclose(found, [[2.375, 2.75, 3.0], [2.0, 2.0, 3.0]])


def test_traced_advantages_with_weights_of_1_are_generalized_advantages():
    rng = np.random.default_rng(0)
    error, ended = rng.normal(size=(3, 7)).astype(np.float32), rng.random((3, 7)) < 0.3
    found = losses.traced_advantages(
        tf.constant(error), tf.ones((3, 7)), tf.cast(ended, tf.float32), decay=0.9 * 0.8
    )
    expected = generalized_advantages(
        reward=error.T,
        value=np.zeros((7, 3)),
        next_value=np.zeros((7, 3)),
        terminated=np.zeros((7, 3)),
        ended=ended.T,
        discount=0.9,
        gae_lambda=0.8,
    )
    np.testing.assert_allclose(found, expected.T, rtol=1e-5)


def test_advantage_loss_has_the_weighted_policy_gradient():
    # d/dlogp of -mean(w A logp) = -w A / 2.
    log_prob = tf.Variable([-1.0, -2.0])
    with tf.GradientTape() as tape:
        loss = losses.advantage_loss(log_prob, floats(2, -3), floats(1.0, 0.5))
    np.testing.assert_allclose(tape.gradient(loss, log_prob), [-1.0, 0.75])


def test_quantile_huber_loss():
    # Quantile levels 0.25 and 0.75 at 0 against one target 2: error 2, huber 2 - 0.5 = 1.5,
    # weights 0.25 and 0.75, mean 0.75. Against -2 the weights are 0.75 and 0.25: the same mean.
    zeros = tf.zeros((1, 2))
    for target in (2.0, -2.0):
        loss = losses.quantile_huber_loss(zeros, tf.constant([[target]]))
        assert float(loss) == pytest.approx(0.75)


def test_truncated_quantiles_drop_the_largest():
    kept = losses.truncated_quantiles(tf.constant([[3.0, 1.0, 2.0, 9.0]]), drop=1)
    np.testing.assert_allclose(kept, [[1.0, 2.0, 3.0]])
