"""The `evaluate` command: the one rollout on seeds that training and selection never use."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from rl_edge_compress.closed_loop import CHUNK, PackedPolicies, packed_policies, play, policy_of
from rl_edge_compress.progress import Progress
from rl_edge_core.artifact import FULL_RECIPE
from rl_edge_core.cluster import spread
from rl_edge_core.episode_result import EpisodeResult
from rl_edge_core.errors import ConfigurationError
from rl_edge_core.evaluation_summary import summarize
from rl_edge_core.results import write_json
from rl_edge_core.tensorflow_setup import without_noise
from rl_edge_core.wording import counted
from rl_edge_policy.load import find_model
from rl_edge_train.selection import EVALUATION_SEED


def evaluate(arguments: argparse.Namespace) -> None:
    """Print each metric of the episodes with its 95 % interval."""
    if arguments.episodes < 1:
        raise ConfigurationError(f'--episodes is {arguments.episodes}, must be 1 or more')
    model: Path = arguments.model
    default_recipe = FULL_RECIPE if model.is_dir() else None
    folder, manifest, entry = find_model(model, arguments.recipe or default_recipe)
    recipe = entry.recipe
    policies = packed_policies(folder, [recipe], runtime=arguments.runtime)
    with without_noise():
        policy = policy_of(policies, recipe)
    seeds = range(EVALUATION_SEED, EVALUATION_SEED + arguments.episodes)
    print(
        f'{policy.model_id} ({recipe} on {policy.runtime}) in {policy.spec.environment_id}, '
        f'{counted(len(seeds), "episode")}, '
        + (f'seeds {seeds[0]} to {seeds[-1]}' if len(seeds) > 1 else f'seed {seeds[0]}')
    )
    others = [one for one in manifest.recipes if one != recipe]
    if model.is_dir() and not arguments.recipe and others:
        print(f'the full policy; --recipe {manifest.compressed_recipe()} is what compressed uses')
    results = play_all(policies, recipe, seeds, cluster=arguments.cluster)
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
        write_json(arguments.json, content)


def play_all(
    policies: PackedPolicies, recipe: str, seeds: Sequence[int], *, cluster: str = ''
) -> list[EpisodeResult]:
    """Play an episode for each seed, here or all over a cluster; return them in that order.

    The results are the same, however many workers there are.
    """
    chunk = CHUNK if cluster else 1
    tasks = [(recipe, tuple(seeds[at : at + chunk])) for at in range(0, len(seeds), chunk)]
    results: list[EpisodeResult] = []
    with Progress(len(seeds), 'episode') as progress:
        for part in spread(play, policies, tasks, cluster=cluster):
            results += part
            progress.update(len(part))
    return results
