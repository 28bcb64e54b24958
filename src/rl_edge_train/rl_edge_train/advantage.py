"""Generalised advantage estimation."""

import numpy as np


def generalized_advantages(
    *,
    reward: np.ndarray,
    value: np.ndarray,
    next_value: np.ndarray,
    terminated: np.ndarray,
    ended: np.ndarray,
    discount: float,
    gae_lambda: float,
) -> np.ndarray:
    """Return the advantages (time, environments); all arrays have that shape.

    Schulman 2016, equation 16. `next_value` is the value of the observation that the step led to,
    before any reset: at a time limit it still counts, after termination it does not, and no
    advantage is carried over the end of an episode (`ended`: terminated or truncated).
    """
    errors = reward + discount * (1.0 - terminated) * next_value - value
    carried = discount * gae_lambda * (1.0 - ended)
    advantages = np.empty_like(errors)
    following = np.zeros_like(errors[0])
    for time in range(len(errors) - 1, -1, -1):
        following = errors[time] + carried[time] * following
        advantages[time] = following
    return advantages
