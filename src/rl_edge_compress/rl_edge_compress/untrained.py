"""Artifacts with random weights, of the study's shape: they stand in until a policy is trained.

Run as a program (``python -m rl_edge_compress.untrained ID ARGUMENTS FOLDER``) it prints the
folder of the one for an environment, and makes it first where there is none, so that TensorFlow is
loaded in a process of its own and not in the one that starts nodes.
"""

import contextlib
import fcntl
import subprocess
import sys
from pathlib import Path

import numpy as np

from rl_edge_core.artifact import MANIFEST_NAME, load_manifest
from rl_edge_core.environment_spec import EnvironmentSpec, environment_arguments
from rl_edge_core.errors import ArtifactError, RlEdgeError
from rl_edge_core.files import ensure_folder
from rl_edge_sim.environment import make_environment, spec_of
from rl_edge_sim.rollout import visited_observations

ALGORITHM = 'untrained'
SEED = 0
_WIDTH = 256
_CALIBRATION_EPISODES = 5


def ensure_untrained(environment_id: str, arguments: str, folder: Path) -> Path:
    """Return the folder of an untrained artifact for an environment, below ``folder``.

    It is made when it is not there, which takes about ten seconds. ``arguments`` is a YAML
    mapping for the environment. Raise ConfigurationError for an unknown environment,
    ArtifactError when it can't be made.
    """
    with contextlib.closing(
        make_environment(environment_id, **environment_arguments(arguments))
    ) as env:
        spec = spec_of(env)
    path = folder / f'{environment_id.replace("/", "_")}-{spec.hash[:8]}'
    with (ensure_folder(folder) / '.lock').open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one process at a time looks for it and makes it
        there = None
        with contextlib.suppress(ArtifactError):  # of an older version: made again
            there = load_manifest(path).environment if (path / MANIFEST_NAME).is_file() else None
        if there != spec:
            command = [sys.executable, '-m', 'rl_edge_compress.untrained', '--make']
            command += [environment_id, arguments, str(path)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                last = '\n'.join((done.stderr or done.stdout).splitlines()[-3:])
                raise ArtifactError(f'no policy was made for {environment_id}: {last}')
    return path


def make_untrained(environment_id: str, arguments: str, path: Path) -> None:
    """Write the artifact; imports TensorFlow."""
    import keras

    from rl_edge_compress.export import export_artifact

    env = make_environment(environment_id, **environment_arguments(arguments))
    spec = spec_of(env)
    keras.utils.set_random_seed(SEED)
    model = _actor_critic(spec)
    generator = np.random.default_rng(SEED)
    seen = visited_observations(
        env,
        lambda _: generator.uniform(spec.low, spec.high).astype(np.float32),
        range(SEED, SEED + _CALIBRATION_EPISODES),
    )
    env.close()
    export_artifact(
        model,
        spec=spec,
        name=f'{ALGORITHM}/{environment_id}',
        out=path,
        algorithm=ALGORITHM,
        training={'seed': SEED, 'steps': 0},
        recipes=('int8', 'float32'),  # the first one is the preferred one
        calibration=seen,
    )


def _actor_critic(spec: EnvironmentSpec):  # type: ignore[no-untyped-def]  # keras comes late
    """Return the study's actor and critic: Dense 256 relu, LayerNorm, Dense 256 relu, head."""
    import keras

    layers = keras.layers
    observation = keras.Input((spec.observation_size,), name='observation')

    def trunk(name: str) -> keras.KerasTensor:
        hidden = layers.Dense(_WIDTH, 'relu', name=f'{name}_1')(observation)
        hidden = layers.LayerNormalization(name=f'{name}_norm')(hidden)
        return layers.Dense(_WIDTH, 'relu', name=f'{name}_2')(hidden)

    squashed = layers.Dense(spec.action_size, 'tanh', name='actor_head')(trunk('actor'))
    scale, offset = (spec.high - spec.low) / 2, (spec.high + spec.low) / 2
    if not (np.all(scale == 1.0) and np.all(offset == 0.0)):
        squashed = layers.Rescaling(scale.tolist(), offset.tolist(), name='limits')(squashed)
    action = layers.Identity(name='action')(squashed)
    value = layers.Dense(1, name='value')(trunk('critic'))
    return keras.Model(observation, {'action': action, 'value': value}, name='actor_critic')


if __name__ == '__main__':
    *_make, _id, _arguments, _path = sys.argv[1:]
    try:
        if _make:
            make_untrained(_id, _arguments, Path(_path))
        else:
            print(ensure_untrained(_id, _arguments, Path(_path)))
    except RlEdgeError as error:
        sys.exit(f'error: {error}')
