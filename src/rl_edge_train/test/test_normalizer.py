"""Running moments of the observations."""

import keras
import numpy as np

from rl_edge_train.normalizer import ObservationNormalizer


def test_batches_give_the_moments_of_all_observations():
    observations = np.random.default_rng(0).normal(5.0, 3.0, (100, 2))
    normalizer = ObservationNormalizer(2, enabled=True)
    for part in np.split(observations, [1, 10, 60]):
        normalizer.observe(part)
    np.testing.assert_allclose(normalizer.mean, observations.mean(axis=0))
    np.testing.assert_allclose(normalizer.variance(), observations.var(axis=0))


def test_observations_are_scaled_and_clipped():
    # Of 2 and 6: mean 4, deviation 2. So 8 becomes 2, and 100 is cut to 10.
    normalizer = ObservationNormalizer(1, enabled=True)
    normalizer.observe(np.array([[2.0], [6.0]]))
    np.testing.assert_allclose(normalizer(np.float32([[8.0], [100.0]])), [[2.0], [10.0]])


def test_the_exported_graph_scales_alike():
    normalizer = ObservationNormalizer(1, enabled=True)
    normalizer.observe(np.array([[2.0], [6.0]]))
    source = keras.Input((1,))
    model = keras.Model(source, normalizer.exported(source))
    values = np.float32([[8.0], [-3.0], [1000.0]])
    np.testing.assert_allclose(model(values), normalizer(values), rtol=1e-5)


def test_a_constant_input_does_not_explode():
    normalizer = ObservationNormalizer(1, enabled=True)
    normalizer.observe(np.full((10, 1), 7.0))
    np.testing.assert_allclose(normalizer(np.float32([[7.0]])), [[0.0]], atol=1e-6)


def test_frozen_moments_stay():
    normalizer = ObservationNormalizer(1, enabled=True, frozen_after=2)
    normalizer.observe(np.array([[2.0], [6.0]]))
    normalizer.observe(np.array([[1000.0]]))
    assert normalizer.mean[0] == 4.0


def test_disabled_it_leaves_observations_alone():
    normalizer = ObservationNormalizer(1, enabled=False)
    normalizer.observe(np.array([[2.0], [6.0]]))
    np.testing.assert_array_equal(normalizer(np.float32([[8.0]])), [[8.0]])


def test_outside_of_a_graph_observations_are_scaled_alike():
    normalizer = ObservationNormalizer(2, enabled=True)
    normalizer.observe(np.array([[1.0, 10.0], [3.0, 30.0]], np.float32))
    observation = np.array([[2.5, -5.0], [1e6, 0.0]], np.float32)
    np.testing.assert_allclose(
        normalizer.normalized(observation), normalizer(observation), rtol=1e-6
    )
