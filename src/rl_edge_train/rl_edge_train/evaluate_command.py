"""The `evaluate` command: the one rollout on seeds that training and selection never use."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tqdm import tqdm

from rl_edge_core.artifact import FULL_RECIPE, load_manifest
from rl_edge_core.errors import ConfigurationError, SpecMismatchError
from rl_edge_core.evaluation_summary import summarize
from rl_edge_core.files import write_atomically
from rl_edge_policy.load import load_policy
from rl_edge_sim.environment import make_environment, spec_of
from rl_edge_sim.rollout import rollout
from rl_edge_train.selection import EVALUATION_SEED


def evaluate(arguments: argparse.Namespace) -> None:
    """Print each figure of the episodes with its 95 % interval."""
    if arguments.episodes < 1:
        raise ConfigurationError(f'--episodes is {arguments.episodes}, must be 1 or more')
    model: Path = arguments.model
    recipe = arguments.recipe or (FULL_RECIPE if model.is_dir() else None)
    manifest = load_manifest(model if model.is_dir() else model.parent)
    policy = load_policy(model, recipe=recipe, runtime=arguments.runtime)
    environment = make_environment(
        manifest.environment.environment_id, **manifest.environment.arguments
    )
    differences = manifest.environment.differences(spec_of(environment))
    if differences:
        raise SpecMismatchError(f'the policy was made for another environment: {differences}')
    seeds = range(EVALUATION_SEED, EVALUATION_SEED + arguments.episodes)
    results = rollout(environment, policy.act, tqdm(seeds, unit='episode'))
    environment.close()
    summary = summarize(results)
    for name, value in summary.rows():
        print(f'{name:28s} {value}')
    if arguments.json:
        content = {
            'model': manifest.name,
            'recipe': recipe,
            'runtime': policy.runtime,
            'first_seed': EVALUATION_SEED,
            'episodes': arguments.episodes,
            **summary.to_dict(),
        }
        write_atomically(arguments.json, json.dumps(content, indent=1))
