"""Make the artifacts that the tests load: ``python make_artifacts.py FOLDER``.

In a process of its own, so that tests of the light runtimes run without TensorFlow. The package
that exports artifacts stands above this one and is not used here.
"""

import dataclasses
import hashlib
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from rl_edge_core.artifact import Manifest, ModelFile, Network, write_manifest
from rl_edge_core.environment_spec import EnvironmentSpec

LIGHT = ('litert', 'tflite_runtime')

PLANE = EnvironmentSpec(
    environment_id='Plane-v0',
    observation_names=('plane.x', 'plane.y', 'plane.gain'),
    observation_units=('m', 'm', '1'),
    action_names=('plane.push_x', 'plane.push_y'),
    action_units=('N', 'N'),
    action_low=(-1.0, -2.0),
    action_high=(1.0, 0.5),
    safe_action=(0.0, -0.25),
    control_period_sec=0.05,
    max_episode_steps=100,
)
ANT_SIZED = EnvironmentSpec(
    environment_id='Ant-v5',
    observation_names=tuple(f'observation.{index}' for index in range(105)),
    observation_units=('1',) * 105,
    action_names=tuple(f'action.{index}' for index in range(8)),
    action_units=('N m',) * 8,
    action_low=(-1.0,) * 8,
    action_high=(1.0,) * 8,
    safe_action=(0.0,) * 8,
    control_period_sec=0.05,
    max_episode_steps=1000,
)


def plane_model(sign: float) -> keras.Model:
    """Return push_x = sign x + 10 gain and push_y = sign y; value = x + y + gain."""
    observation = keras.Input((3,), name='observation')
    action = keras.layers.Dense(2, use_bias=False, name='action')
    value = keras.layers.Dense(1, use_bias=False, name='value')
    model = keras.Model(observation, {'action': action(observation), 'value': value(observation)})
    action.set_weights([np.array([[sign, 0], [0, sign], [10, 0]], np.float32)])
    value.set_weights([np.ones((3, 1), np.float32)])
    return model


def squashed_model() -> keras.Model:
    """Return a squashed Gaussian with mean tanh(x), tanh(y) in the limits and std exp(-1)."""
    observation = keras.Input((3,), name='observation')
    mean = keras.layers.Dense(2, use_bias=False, activation='tanh', name='mean')
    log_std = keras.layers.Dense(2, name='log_std')
    scale = keras.layers.Rescaling([1.0, 1.25], offset=[0.0, -0.75], name='action')
    outputs = {
        'action': scale(mean(observation)),
        'value': keras.layers.Dense(1, name='value')(observation),
        'log_std': log_std(observation),
    }
    model = keras.Model(observation, outputs)
    mean.set_weights([np.array([[1, 0], [0, 1], [0, 0]], np.float32)])
    log_std.set_weights([np.zeros((3, 2), np.float32), np.full(2, -1, np.float32)])
    return model


def study_model() -> keras.Model:
    """Return the untrained actor-critic of the study's shape."""
    observation = keras.Input((105,), name='observation')

    def trunk(name: str) -> keras.KerasTensor:
        hidden = keras.layers.Dense(256, activation='relu', name=f'{name}_1')(observation)
        hidden = keras.layers.LayerNormalization(name=f'{name}_norm')(hidden)
        return keras.layers.Dense(256, activation='relu', name=f'{name}_2')(hidden)

    action = keras.layers.Dense(8, activation='tanh', name='action')(trunk('actor'))
    value = keras.layers.Dense(1, name='value')(trunk('critic'))
    return keras.Model(observation, {'action': action, 'value': value})


def tflite_bytes(model: keras.Model, recipe: str) -> bytes:
    """Convert the actor; int8 loads on every runtime, per_channel not on tflite-runtime."""
    actor = keras.Model(model.input, model.output['action'])
    signature = [tf.TensorSpec((1, model.input_shape[1]), tf.float32)]
    function = tf.function(lambda x: actor(x, training=False), input_signature=signature)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()])
    if recipe != 'float32':
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if recipe == 'int8':
        converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    return converter.convert()


def entry(file: Path, recipe: str, action: np.ndarray, runtimes: tuple[str, ...]) -> ModelFile:
    """Describe a file; 8-bit actions differ from the float model's by up to 0.1."""
    content = file.read_bytes()
    tolerance = 0.1 if recipe in ('int8', 'per_channel') else 1e-4
    return ModelFile(
        file=file.name,
        recipe=recipe,
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        numeric_format=recipe,
        runtimes=runtimes,
        golden_action=tuple(float(value) for value in action),
        golden_tolerance=dict.fromkeys(runtimes, tolerance),
    )


def write_artifact(
    folder: Path,
    model: keras.Model,
    spec: EnvironmentSpec,
    *,
    recipes: tuple[str, ...] = ('float32',),
    network: Network | None = None,
) -> None:
    """Write policy.keras, an actor for each recipe and the manifest."""
    folder.mkdir(parents=True)
    golden = np.linspace(-0.4, 0.05, spec.observation_size).astype(np.float32)
    action = spec.limit(np.asarray(model(golden[None])['action'])[0])
    model.save(folder / 'policy.keras')
    files = [entry(folder / 'policy.keras', 'keras', action, ('keras',))]
    for recipe in recipes:
        file = folder / f'actor_{recipe}.tflite'
        file.write_bytes(tflite_bytes(model, recipe))
        files.append(entry(file, recipe, action, LIGHT))
    manifest = Manifest(
        name=folder.name,
        environment=spec,
        algorithm='untrained',
        network=network or Network(),
        golden_observation=tuple(float(value) for value in golden),
        files=tuple(files),
    )
    write_manifest(manifest, folder)


def main(root: Path) -> None:
    """Write all artifacts below ``root``."""
    keras.utils.set_random_seed(1)
    other = dataclasses.replace(PLANE, control_period_sec=0.1)
    noisy = Network(exploration_std=0.25)
    write_artifact(root / 'plane', plane_model(1.0), PLANE, network=noisy)
    write_artifact(root / 'mirrored', plane_model(-1.0), PLANE)
    write_artifact(root / 'slower_plane', plane_model(1.0), other)
    squashed = Network(action_distribution='squashed_gaussian')
    write_artifact(root / 'squashed', squashed_model(), PLANE, network=squashed)
    recipes = ('float32', 'int8', 'per_channel')
    write_artifact(root / 'study', study_model(), ANT_SIZED, recipes=recipes)


if __name__ == '__main__':
    main(Path(sys.argv[1]))
