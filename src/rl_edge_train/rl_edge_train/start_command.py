"""`train --from`: give the agent of a new run the weights of a shipped policy."""

from pathlib import Path
from typing import Any

import numpy as np

from rl_edge_compress.keras_models import load_keras
from rl_edge_core.artifact import FULL_RECIPE, checked_file, load_manifest
from rl_edge_core.errors import ArtifactError, ConfigurationError
from rl_edge_train import environments
from rl_edge_train.export_command import observations_of
from rl_edge_train.run_config import RunConfig
from rl_edge_train.runner import Runner
from rl_edge_train.starting import StartingWeights


def start_from(runner: Runner, config: RunConfig, artifact: Path) -> dict[str, Any]:
    """Start from the policy in the folder `artifact`; return what the run's record says of it.

    Raise ArtifactError when it is no artifact, ConfigurationError when it is a policy for other
    observations and actions or its actor does not fit the algorithm's.
    """
    manifest = load_manifest(artifact)
    differences = manifest.environment.differences(environments.spec_of(config.environment))
    if differences:
        raise ConfigurationError(f'{artifact} was made for another environment: {differences}')
    entry = manifest.entry(FULL_RECIPE)
    model = load_keras(checked_file(artifact, entry))
    observations: np.ndarray | None = None
    try:
        weights = StartingWeights.of(model)
        if not weights.normalized:
            observations = observations_of(model, config)
        taken = runner.agent.start_from(weights, observations)
    except (ConfigurationError, ArtifactError) as error:
        raise ConfigurationError(f'no training can start from {artifact}: {error}') from error
    fresh = [part for part, is_taken in taken.items() if not is_taken]
    runner.display.say(
        f'started from {manifest.name}: '
        + ', '.join(part for part, is_taken in taken.items() if is_taken)
        + (f'; new: {", ".join(fresh)}' if fresh else '')
    )
    return {'name': manifest.name, 'sha256': entry.sha256, 'taken': dict(taken)}
