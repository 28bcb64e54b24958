import importlib.util
import os
from pathlib import Path

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('CUDA_VISIBLE_DEVICES', '-1')

import keras
import numpy as np
import pytest

from rl_edge_compress.formats import compact, float32_tflite
from rl_edge_compress.keras_models import CRITIC_INPUT, actor_of
from rl_edge_core.environment_spec import EnvironmentSpec

OBSERVATIONS, ACTIONS = 6, 2


def make_spec(observations=OBSERVATIONS, actions=ACTIONS):
    return EnvironmentSpec(
        environment_id='Cart-v0',
        observation_names=tuple(f'cart.{i}' for i in range(observations)),
        observation_units=('m',) * observations,
        action_names=tuple(f'push_{i}' for i in range(actions)),
        action_units=('N',) * actions,
        action_low=(-2.0,) * actions,
        action_high=(2.0,) * actions,
        safe_action=(0.0,) * actions,
        control_period_sec=0.05,
        max_episode_steps=100,
    )


def make_actor_critic(
    *,
    observations=OBSERVATIONS,
    actions=ACTIONS,
    kept=None,
    width=16,
    normalize=True,
    layer_norm=False,
    joint_head=False,
    values_actions=False,
    limit=2.0,
    seed=0,
):
    """Build what the trainer exports: selection, normalisation, nested trunk, heads, scaling."""
    keras.utils.set_random_seed(seed)
    kept = kept or observations
    generator = np.random.default_rng(seed)
    source = keras.Input((observations,), name='observation')
    value = source[:, :kept] if kept < observations else source
    if normalize:
        mean, variance = generator.normal(size=kept), generator.uniform(0.5, 9.0, kept)
        value = keras.layers.Normalization(mean=mean, variance=variance)(value)
        value = keras.ops.clip(value, -5.0, 5.0)
    trunk_input = keras.Input((kept,))
    hidden = trunk_input
    for _ in range(2):
        hidden = keras.layers.Dense(
            width, activation='relu', bias_initializer=keras.initializers.RandomNormal(0, 0.1)
        )(hidden)
        if layer_norm:
            hidden = keras.layers.LayerNormalization()(hidden)
    trunk = keras.Model(trunk_input, hidden, name='trunk')
    features = trunk(value)
    if joint_head:
        mean, log_std = keras.ops.split(keras.layers.Dense(2 * actions)(features), 2, axis=-1)
    else:
        mean, log_std = (
            keras.layers.Dense(actions)(features),
            keras.layers.Dense(actions)(features),
        )
    squashed = keras.layers.Activation('tanh')(mean)
    if values_actions:
        features = keras.layers.Concatenate(name=CRITIC_INPUT)([value, squashed])
    return keras.Model(
        source,
        {
            'action': keras.layers.Rescaling([limit] * actions, name='action')(squashed),
            'value': keras.layers.Dense(1, name='value')(features),
            'log_std': keras.layers.Identity(name='log_std')(log_std),
        },
    )


@pytest.fixture(scope='session')
def files():
    """Return the module that writes files as other frameworks do."""
    path = Path(__file__).with_name('foreign_files.py')
    spec = importlib.util.spec_from_file_location('foreign_files', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pytest_collection_modifyitems(items):
    """Give tests of this folder time to import TensorFlow: seconds, on a busy machine minutes."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope='session')
def build():
    """Return the function that builds an actor-critic; see `make_actor_critic`."""
    return make_actor_critic


@pytest.fixture(scope='session')
def spec_for():
    """Return the function that builds a spec of given sizes."""
    return make_spec


@pytest.fixture(scope='session')
def spec():
    return make_spec()


@pytest.fixture(scope='session')
def visited():
    """Observations of very different sizes, as positions and velocities are."""
    sizes = np.array([0.1, 0.5, 1.0, 2.0, 5.0, 10.0])
    generator = np.random.default_rng(1)
    return (generator.normal(size=(400, OBSERVATIONS)) * sizes).astype(np.float32)


@pytest.fixture(scope='session')
def actor_critic():
    return make_actor_critic()


@pytest.fixture(scope='session')
def actor(actor_critic):
    return actor_of(actor_critic)


@pytest.fixture(scope='session')
def float32(actor):
    return float32_tflite(compact(actor))
