import dataclasses

import numpy as np
import pytest

from rl_edge_core.artifact import Network, load_manifest, write_manifest
from rl_edge_core.errors import ArtifactError, ConfigurationError
from rl_edge_core.files import sha256_of
from rl_edge_policy.exploration import Explorer, additive, gaussian, squashed_gaussian
from rl_edge_policy.load import load_policy
from rl_edge_policy.policy import RejectedActionError, RejectedObservationError


@pytest.fixture(scope='module')
def full(artifacts):
    return load_policy(artifacts / 'plane', recipe='keras')


def observation(*values):
    return np.array(values, np.float32)


def put_model(folder, content):
    """Make ``content`` the full model, with a manifest that knows it."""
    (folder / 'policy.keras').write_bytes(content)
    manifest = load_manifest(folder)
    files = tuple(
        dataclasses.replace(entry, sha256=sha256_of(content), bytes=len(content))
        if entry.recipe == 'keras'
        else entry
        for entry in manifest.files
    )
    write_manifest(dataclasses.replace(manifest, files=files), folder)


def test_the_full_model_acts_and_values(full):
    assert (full.runtime, full.recipe) == ('keras', 'keras')
    assert full.act(observation(0.25, 9.0, 0.0)).tolist() == [0.25, 0.5]
    outputs = full.outputs(observation(0.25, 9.0, 0.5))
    assert outputs['action'].tolist() == [5.25, 9.0]
    assert outputs['value'].tolist() == [9.75]


def test_the_full_model_rejects_what_the_compressed_one_does(full):
    with pytest.raises(RejectedObservationError, match=r'observation\[1\] is nan'):
        full.act(observation(0, np.nan, 0))
    with pytest.raises(RejectedObservationError, match='shape'):
        full.act(observation(0, 0))
    with pytest.raises(RejectedActionError, match=r'action\[0\] is inf'):
        full.act(observation(0, 0, 3e38))


def test_both_runtimes_answer_alike(artifacts):
    full = load_policy(artifacts / 'study', recipe='keras')
    compressed = load_policy(artifacts / 'study', recipe='float32')
    for seen in np.random.default_rng(5).normal(size=(20, 105)).astype(np.float32):
        assert np.allclose(full.act(seen), compressed.act(seen), atol=1e-5)


def test_a_damaged_keras_file_is_refused(plane):
    put_model(plane, b'no zip file')
    with pytest.raises(ArtifactError, match='cannot be loaded by Keras'):
        load_policy(plane, recipe='keras')


def test_a_keras_file_of_another_shape_is_refused(artifacts, plane):
    put_model(plane, (artifacts / 'study' / 'policy.keras').read_bytes())
    with pytest.raises(ArtifactError, match=r'input of shape \(None, 105\)'):
        load_policy(plane, recipe='keras')


def save(model, folder):
    model.save(folder / 'new.keras')
    put_model(folder, (folder / 'new.keras').read_bytes())


def test_a_model_with_code_in_it_is_refused(plane):
    import keras

    source = keras.Input((3,))
    action = keras.layers.Lambda(lambda x: x[:, :2])(source)
    save(keras.Model(source, {'action': action, 'value': keras.layers.Dense(1)(source)}), plane)
    with pytest.raises(ArtifactError, match='safe mode'):
        load_policy(plane, recipe='keras')


def test_a_model_without_an_action_is_refused(plane):
    import keras

    source = keras.Input((3,))
    save(keras.Model(source, {'value': keras.layers.Dense(1)(source)}), plane)
    with pytest.raises(ArtifactError, match='has the outputs value; a policy has action'):
        load_policy(plane, recipe='keras')


def test_tflite_runtime_is_refused_beside_tensorflow(artifacts, full):
    pytest.importorskip('ai_edge_litert')
    with pytest.raises(ConfigurationError, match='tflite_runtime'):
        load_policy(artifacts / 'plane', runtime='tflite_runtime')


# Exploration ---------------------------------------------------------------------------------


def test_squashed_gaussian_by_hand():
    mean, log_std = np.array([0.5]), np.array([np.log(2.0)])
    # tanh(artanh(0.5) + 2 * 0.25) with artanh(0.5) = 0.549306
    assert squashed_gaussian(mean, log_std, np.array([0.25]))[0] == pytest.approx(
        0.7815365, abs=1e-6
    )
    assert squashed_gaussian(mean, log_std, np.array([0.0]))[0] == pytest.approx(0.5)
    assert np.isfinite(squashed_gaussian(np.array([1.0]), log_std, np.array([-3.0]))[0])


def test_gaussian_and_additive_by_hand():
    mean, noise = np.array([0.5]), np.array([-2.0])
    assert gaussian(mean, np.array([np.log(0.1)]), noise)[0] == pytest.approx(0.3)
    assert additive(0.1)(mean, None, noise)[0] == pytest.approx(0.3)
    with pytest.raises(ConfigurationError, match='exploration_std of the manifest is 0'):
        additive(0.0)


@pytest.mark.parametrize('name', ['plane', 'squashed'])
def test_exploration_is_seeded_bounded_and_addressed(artifacts, name):
    policy = load_policy(artifacts / name, recipe='keras')
    seen = observation(0.25, -0.5, 0.0)

    def actions(seed, episodes=range(4)):
        explorer = Explorer(policy, seed=seed)
        return np.array(
            [[explorer.act(seen, episode=e, step=s) for s in range(50)] for e in episodes]
        )

    first = actions(7)
    assert first.dtype == np.float32
    assert np.array_equal(first, actions(7))
    # The noise of an address does not depend on what came before it.
    assert np.array_equal(first[2:], actions(7, range(2, 4)))
    assert not np.array_equal(first, actions(8))
    assert len(np.unique(first.reshape(-1, 2), axis=0)) > 190
    assert np.all(first >= policy.spec.low)
    assert np.all(first <= policy.spec.high)


def test_additive_exploration_has_the_declared_spread(artifacts):
    explorer = Explorer(load_policy(artifacts / 'plane', recipe='keras'), seed=1)
    seen = observation(0.0, -0.75, 0.0)
    actions = np.array([explorer.act(seen, episode=0, step=step) for step in range(1000)])
    # exploration_std 0.25 of the half ranges 1 and 1.25, around the middle: clipping is rare.
    assert actions.mean(axis=0) == pytest.approx([0.0, -0.75], abs=0.04)
    assert actions.std(axis=0) == pytest.approx([0.25, 0.3125], rel=0.08)


def test_a_compressed_policy_does_not_explore(artifacts):
    with pytest.raises(ConfigurationError, match='use recipe keras, or exploration none'):
        Explorer(load_policy(artifacts / 'plane'), seed=1)


def test_what_exploration_needs_of_the_model(artifacts):
    policy = load_policy(artifacts / 'plane', recipe='keras')
    policy.network = Network(action_distribution='gaussian')
    with pytest.raises(ConfigurationError, match='no output log_std'):
        Explorer(policy, seed=1).act(observation(0, 0, 0), episode=0, step=0)
    policy.network = Network(action_distribution='cauchy')
    with pytest.raises(ConfigurationError, match="is 'cauchy', must be one of deterministic"):
        Explorer(policy, seed=1)
