"""What learning from rollouts makes of rewards: scaled ones, and generalised advantages."""

import numpy as np

MINIMUM_VARIANCE = 1e-8
CLIP = 10.0


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


class ReturnScaler:
    """Divide rewards by the spread of the discounted return, as in Engstrom 2020, section 3."""

    def __init__(self, *, discount: float, enabled: bool) -> None:
        self.discount, self.enabled = discount, enabled
        self.count = self.mean = self.sum_of_squares = 0.0
        self._returns: np.ndarray = np.zeros(0)

    def scaled(self, reward: np.ndarray, ended: np.ndarray) -> np.ndarray:
        """Take rewards (time, environments) in and return them scaled and clipped to +-10."""
        if not self.enabled:
            return reward
        returns = self._returns if len(self._returns) else np.zeros(reward.shape[1])
        seen = []
        for now, end in zip(reward, ended, strict=True):
            returns = returns * self.discount + now
            seen.append(returns)
            returns = returns * (1.0 - end)
        self._returns = returns
        self._take(np.concatenate(seen))
        deviation = np.sqrt(max(self.sum_of_squares / self.count, MINIMUM_VARIANCE))
        return np.clip(reward / deviation, -CLIP, CLIP).astype(np.float32)

    def _take(self, values: np.ndarray) -> None:
        total, shift = self.count + len(values), values.mean() - self.mean
        self.sum_of_squares += values.var() * len(values)
        self.sum_of_squares += shift**2 * self.count * len(values) / total
        self.mean += shift * len(values) / total
        self.count = total

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the running metrics by name."""
        moments = np.array([self.count, self.mean, self.sum_of_squares])
        return {'moments': moments, 'returns': self._returns.copy()}

    def load_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        """Take over what `arrays` returned."""
        self.count, self.mean, self.sum_of_squares = map(float, arrays['moments'])
        self._returns = np.array(arrays['returns'])
