"""The `export` command: the policy of a run as an artifact, with its learning curve."""

import argparse
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np

from rl_edge_compress.export import export_artifact
from rl_edge_compress.keras_models import load_keras
from rl_edge_core.artifact import Manifest
from rl_edge_core.configuration import load, to_mapping
from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.errors import ConfigurationError
from rl_edge_core.files import write_atomically
from rl_edge_sim.rollout import visited_observations
from rl_edge_train import checkpoint, environments
from rl_edge_train.algorithms.registry import make_agent, network_of
from rl_edge_train.array_archive import below
from rl_edge_train.metrics import draw_learning_curve
from rl_edge_train.run_config import RunConfig
from rl_edge_train.selection import SELECTION_SEED

CALIBRATION_EPISODES = 3


def export(arguments: argparse.Namespace) -> None:
    """Write the best or the last policy of a run as an artifact."""
    run: Path = arguments.run_folder
    out: Path = arguments.out
    done = 'replaced' if out.is_dir() else 'wrote'
    config = load(RunConfig, run / 'config.yaml')
    spec = environments.spec_of(config.environment)
    model, metrics = (_best if arguments.which == 'best' else _last)(run, config, spec)
    manifest = export_model(
        model,
        spec=spec,
        config=config,
        name=arguments.name or '/'.join(out.absolute().parts[-2:]),
        out=out,
        training={**json.loads((run / 'run.json').read_text()), 'selection': metrics},
    )
    draw_learning_curve(run, out=out)
    write_atomically(out / 'config.yaml', (run / 'config.yaml').read_bytes())
    print(f'{done} {out} ({", ".join(entry.file for entry in manifest.files)})')


def export_model(
    model: keras.Model,
    *,
    spec: EnvironmentSpec,
    config: RunConfig,
    name: str,
    out: Path,
    training: dict[str, Any],
) -> Manifest:
    """Write an actor-critic as an artifact, calibrated on episodes of its own."""
    return export_artifact(
        model,
        spec=spec,
        name=name,
        out=out,
        algorithm=config.algorithm,
        training={**training, 'config': to_mapping(config)},
        network=network_of(model, config, spec),
        calibration=observations_of(model, config),
    )


def observations_of(model: keras.Model, config: RunConfig) -> np.ndarray:
    """Return observations (count, n) of a few episodes of the policy, on selection seeds."""
    import tensorflow as tf

    act = tf.function(lambda observation: model(observation, training=False)['action'])
    environment = environments.make(config.environment)
    seeds = range(SELECTION_SEED, SELECTION_SEED + CALIBRATION_EPISODES)
    seen = visited_observations(environment, lambda o: act(o[None]).numpy()[0], seeds)
    environment.close()
    return seen


def _best(
    run: Path, _config: RunConfig, _spec: EnvironmentSpec
) -> tuple[keras.Model, dict[str, Any]]:
    path = run / 'best' / 'policy.keras'
    if not path.exists():
        raise ConfigurationError(f'{run} has no best policy yet: use --which last')
    return load_keras(path), json.loads((run / 'best' / 'figures.json').read_text())


def _last(
    run: Path, config: RunConfig, spec: EnvironmentSpec
) -> tuple[keras.Model, dict[str, Any]]:
    seed = json.loads((run / 'run.json').read_text())['seed']
    content, _ = checkpoint.read_newest(run / 'checkpoints')
    agent = make_agent(config.algorithm, spec, config.agent, seed=seed)
    agent.load_arrays(below(content.arrays, 'agent/'))
    return agent.policy_model(), {
        'steps': content.steps,
        'seconds': content.state['progress']['seconds'],
    }
