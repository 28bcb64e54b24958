"""Running moments of the observations; they become constants of the exported graph."""

import keras
import numpy as np
import tensorflow as tf

from rl_edge_train.acting import CLIP, normalized

MINIMUM_VARIANCE = 1e-4


class ObservationNormalizer:
    """Scale observations by what was seen to mean 0 and variance 1, clipped to +-10."""

    def __init__(self, size: int, *, enabled: bool, frozen_after: int = 0) -> None:
        """Start at mean 0, variance 1; stop counting `frozen_after` observations (0: never)."""
        self.enabled = enabled
        self.frozen_after = frozen_after
        self.count = 0.0
        self.mean = np.zeros(size, np.float64)
        self.sum_of_squares = np.zeros(size, np.float64)
        self._offset = tf.Variable(tf.zeros(size), trainable=False)
        self._scale = tf.Variable(tf.ones(size), trainable=False)

    def observe(self, observation: np.ndarray) -> None:
        """Take observations (batch, size) into the moments (Chan 1979, pairwise update)."""
        if not self.enabled or (self.frozen_after and self.count >= self.frozen_after):
            return
        values = np.asarray(observation, np.float64)
        count, mean = len(values), values.mean(axis=0)
        total, shift = self.count + count, mean - self.mean
        self.sum_of_squares += values.var(axis=0) * count
        self.sum_of_squares += np.square(shift) * self.count * count / total
        self.mean += shift * count / total
        self.count = total
        self._publish()

    def variance(self) -> np.ndarray:
        """Return the variance (size,), at least a small number."""
        if not self.count:
            return np.ones_like(self.mean)
        return np.maximum(self.sum_of_squares / self.count, MINIMUM_VARIANCE)

    def _publish(self) -> None:
        self._offset.assign(self.mean.astype(np.float32))
        self._scale.assign((1.0 / np.sqrt(self.variance())).astype(np.float32))

    def __call__(self, observation: tf.Tensor) -> tf.Tensor:
        """Normalise (batch, size) inside a training graph."""
        if not self.enabled:
            return observation
        return tf.clip_by_value((observation - self._offset) * self._scale, -CLIP, CLIP)

    def normalized(self, observation: np.ndarray) -> np.ndarray:
        """Normalise (batch, size) outside of any graph."""
        if not self.enabled:
            return observation
        return normalized(observation, self._offset.numpy(), self._scale.numpy())

    def moments(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return what is subtracted from observations and then multiplied, each (size,)."""
        return (self._offset.numpy(), self._scale.numpy()) if self.enabled else None

    def exported(self, observation: keras.KerasTensor) -> keras.KerasTensor:
        """Append the same mapping, as constants, to a Keras graph."""
        if not self.enabled:
            return observation
        scaled = keras.layers.Normalization(
            mean=self.mean.astype(np.float32),
            variance=self.variance().astype(np.float32),
            name='observation_normalization',
        )(observation)
        return keras.ops.clip(scaled, -CLIP, CLIP)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the moments by name."""
        return {
            'count': np.array(self.count),
            'mean': self.mean.copy(),
            'sum_of_squares': self.sum_of_squares.copy(),
        }

    def load_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        """Take over the moments that `arrays` returned."""
        self.count = float(arrays['count'])
        self.mean = np.array(arrays['mean'], np.float64)
        self.sum_of_squares = np.array(arrays['sum_of_squares'], np.float64)
        self._publish()
