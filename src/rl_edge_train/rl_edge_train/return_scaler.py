"""Rewards divided by the spread of the discounted return."""

import numpy as np

MINIMUM_VARIANCE = 1e-8
CLIP = 10.0


class ReturnScaler:
    """Running variance of the discounted return, as in Engstrom 2020, section 3."""

    def __init__(self, *, discount: float, enabled: bool) -> None:
        """Start without a return."""
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
