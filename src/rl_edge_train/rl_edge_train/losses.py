"""Losses and targets as pure functions of tensors; every one has a test worked by hand."""

import math

import tensorflow as tf

LOG_TWO_PI = math.log(2.0 * math.pi)


def td_target(
    reward: tf.Tensor, terminated: tf.Tensor, next_value: tf.Tensor, *, discount: tf.Tensor | float
) -> tf.Tensor:
    """Return reward + discount * (1 - terminated) * next_value, all (batch,).

    Only termination cuts the future off; at a time limit (truncation) the value of the next
    observation still counts (Pardo 2018).
    """
    return reward + discount * (1.0 - terminated) * next_value


def gaussian_log_prob(sample: tf.Tensor, mean: tf.Tensor, log_std: tf.Tensor) -> tf.Tensor:
    """Return log N(sample; mean, exp(log_std)), summed: (batch, n) -> (batch,)."""
    deviation = (sample - mean) * tf.exp(-log_std)
    return tf.reduce_sum(-0.5 * tf.square(deviation) - log_std - 0.5 * LOG_TWO_PI, axis=-1)


def gaussian_entropy(log_std: tf.Tensor) -> tf.Tensor:
    """Return the entropy of a diagonal Gaussian, summed over the last axis."""
    return tf.reduce_sum(log_std + 0.5 * (LOG_TWO_PI + 1.0), axis=-1)


def squash_correction(unsquashed: tf.Tensor) -> tf.Tensor:
    """Return sum log(1 - tanh(u)^2), in the form that does not overflow (SAC, appendix C)."""
    return tf.reduce_sum(
        2.0 * (math.log(2.0) - unsquashed - tf.math.softplus(-2.0 * unsquashed)), axis=-1
    )


def squashed_gaussian_log_prob(
    unsquashed: tf.Tensor, mean: tf.Tensor, log_std: tf.Tensor
) -> tf.Tensor:
    """Return the log density of tanh(u), u ~ N(mean, exp(log_std)), at `unsquashed` (batch, n)."""
    return gaussian_log_prob(unsquashed, mean, log_std) - squash_correction(unsquashed)


def temperature_loss(
    log_temperature: tf.Tensor, log_prob: tf.Tensor, *, target_entropy: tf.Tensor | float
) -> tf.Tensor:
    """Return the loss that raises the temperature while entropy is under its target.

    Equation 18 of Haarnoja 2018b, on the logarithm of the temperature.
    """
    return -log_temperature * tf.reduce_mean(tf.stop_gradient(log_prob) + target_entropy)


def quantile_huber_loss(predicted: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Return the quantile Huber loss of (batch, n) quantiles against (batch, m) target samples.

    Equation 10 of Dabney 2017 with kappa 1, mean over the batch, both quantile axes.
    """
    count = predicted.shape[-1]
    levels = (tf.range(count, dtype=predicted.dtype) + 0.5) / count
    error = target[:, None, :] - predicted[:, :, None]
    size = tf.abs(error)
    huber = tf.where(size > 1.0, size - 0.5, 0.5 * tf.square(error))
    weight = tf.abs(levels[None, :, None] - tf.cast(error < 0.0, predicted.dtype))
    return tf.reduce_mean(weight * huber)


def truncated_quantiles(quantiles: tf.Tensor, *, drop: int) -> tf.Tensor:
    """Return the (batch, n - drop) smallest of pooled quantiles (TQC, Kuznetsov 2020)."""
    ordered = tf.sort(quantiles, axis=-1)
    return ordered[:, : quantiles.shape[-1] - drop]


def clipped_policy_loss(ratio: tf.Tensor, advantage: tf.Tensor, *, clip_range: float) -> tf.Tensor:
    """Return PPO's loss, the negative of equation 7 of Schulman 2017; both (batch,)."""
    clipped = tf.clip_by_value(ratio, 1.0 - clip_range, 1.0 + clip_range)
    return -tf.reduce_mean(tf.minimum(ratio * advantage, clipped * advantage))


def standardized(values: tf.Tensor) -> tf.Tensor:
    """Return values (batch,) with mean 0 and standard deviation 1."""
    centred = values - tf.reduce_mean(values)
    return centred / (tf.sqrt(tf.reduce_mean(tf.square(centred))) + 1e-8)


def approximate_kl(log_ratio: tf.Tensor) -> tf.Tensor:
    """Return KL(old || new) from samples of the old policy: ratio - 1 - log ratio, 0 or more."""
    return tf.reduce_mean(tf.exp(log_ratio) - 1.0 - log_ratio)


def importance_weight(
    log_prob: tf.Tensor, behaviour_log_prob: tf.Tensor, *, maximum: float
) -> tf.Tensor:
    """Return min(pi / mu, maximum) (batch,) without gradient (IMPALA, Espeholt 2018)."""
    return tf.stop_gradient(tf.minimum(tf.exp(log_prob - behaviour_log_prob), maximum))


def traced_advantages(
    error: tf.Tensor, weight: tf.Tensor, ended: tf.Tensor, *, decay: float
) -> tf.Tensor:
    """Return advantages that look ahead to the end of each sequence; all (batch, length).

    a_t = error_t + decay * weight_{t+1} * a_{t+1}, cut where an episode `ended` (terminated or
    truncated): the V-trace of IMPALA (Espeholt 2018) with lambda, where `error` are TD errors,
    `weight` its cut importance weights, and `decay` is gamma times lambda. With weights of 1 it is
    generalised advantage estimation, with a length of 1 the one-step advantage.
    """
    advantages = [error[:, -1]]
    for step in range(error.shape[1] - 2, -1, -1):
        carried = decay * (1.0 - ended[:, step]) * weight[:, step + 1]
        advantages.append(error[:, step] + carried * advantages[-1])
    return tf.stack(advantages[::-1], axis=1)


def advantage_loss(log_prob: tf.Tensor, advantage: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """Return the loss whose gradient is the weighted advantage policy gradient; all (batch,)."""
    return -tf.reduce_mean(weight * tf.stop_gradient(advantage) * log_prob)
