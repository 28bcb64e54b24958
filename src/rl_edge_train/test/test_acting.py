"""Networks evaluated in NumPy answer as Keras does."""

import os
import subprocess
import sys

import numpy as np
import pytest

from rl_edge_train.acting import ACTIVATIONS, NumpyNetwork, gaussian_log_prob
from rl_edge_train.networks import LAYER_NORM_PLACES, TrunkConfig, build_network


@pytest.mark.parametrize('place', LAYER_NORM_PLACES)
@pytest.mark.parametrize('activation', ACTIVATIONS)
def test_every_trunk_answers_as_in_keras(activation, place):
    trunk = TrunkConfig((16, 8), activations=(activation,), layer_norms=(place,))
    network = build_network(5, 3, trunk, name='n', seed=1)
    generator = np.random.default_rng(0)
    for weights in network.weights:  # LayerNorm starts as one that changes nothing
        weights.assign(generator.normal(size=weights.shape))
    inputs = generator.normal(0.0, 3.0, (7, 5)).astype(np.float32)
    answer = NumpyNetwork(network)(inputs)
    assert answer.dtype == np.float32
    np.testing.assert_allclose(answer, network(inputs), rtol=1e-4, atol=1e-4)


def test_the_copy_keeps_its_weights():
    network = build_network(2, 1, TrunkConfig((4,)), name='n', seed=0)
    inputs = np.ones((1, 2), np.float32)
    copy = NumpyNetwork(network)
    before = copy(inputs)
    network.layers[-1].bias.assign([7.0])
    np.testing.assert_array_equal(copy(inputs), before)


def test_gaussian_log_prob():
    # Two dimensions, log std 0 and log 2, noise 0 and 1: -log(2 pi) - log 2 - 1/2.
    result = gaussian_log_prob(np.array([[0.0, 1.0]]), np.log([1.0, 2.0]))
    np.testing.assert_allclose(result, [-np.log(2 * np.pi) - np.log(2) - 0.5])


def test_numpy_leaves_the_other_cores_to_the_simulation():
    program = """
import os
import rl_edge_train
import numpy as np

np.ones((512, 512)) @ np.ones((512, 512))
print(len(os.listdir('/proc/self/task')))
"""
    environment = {k: v for k, v in os.environ.items() if not k.endswith('_NUM_THREADS')}
    done = subprocess.run(
        [sys.executable, '-c', program],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ['1']
