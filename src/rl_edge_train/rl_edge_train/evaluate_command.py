"""The `evaluate` command: the one rollout on seeds that training and selection never use."""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from rl_edge_core.artifact import FULL_RECIPE, load_manifest, pack_artifact, unpack_artifact
from rl_edge_core.cluster import spread
from rl_edge_core.episode_result import EpisodeResult
from rl_edge_core.errors import ConfigurationError
from rl_edge_core.evaluation_summary import summarize
from rl_edge_core.files import sha256_of, write_atomically
from rl_edge_core.tensorflow_setup import without_noise
from rl_edge_policy.load import load_policy
from rl_edge_policy.policy import Policy
from rl_edge_sim.environment import environment_of
from rl_edge_sim.rollout import rollout
from rl_edge_train.selection import EVALUATION_SEED

EPISODES_PER_CALL = 10
"""Of a cluster's worker: some seconds of work, so that neither calls nor ends cost much."""


def evaluate(arguments: argparse.Namespace) -> None:
    """Print each metric of the episodes with its 95 % interval."""
    if arguments.episodes < 1:
        raise ConfigurationError(f'--episodes is {arguments.episodes}, must be 1 or more')
    model: Path = arguments.model
    folder = model if model.is_dir() else model.parent
    manifest = load_manifest(folder)
    chosen = arguments.recipe or (FULL_RECIPE if model.is_dir() else None)
    with without_noise():
        policy = load_policy(model, recipe=chosen, runtime=arguments.runtime)
    recipe = chosen or manifest.entry_of_file(model.name).recipe
    seeds = range(EVALUATION_SEED, EVALUATION_SEED + arguments.episodes)
    if arguments.cluster:
        archive = pack_artifact(folder, [recipe])
        packed = PackedPolicy(archive, sha256_of(archive), recipe, arguments.runtime)
        results = play_on_cluster(packed, seeds, cluster=arguments.cluster)
    else:
        environment = environment_of(manifest.environment)
        results = rollout(environment, policy.act, tqdm(seeds, unit='episode'))
        environment.close()
    summary = summarize(results)
    for name, value in summary.rows():
        if not value.startswith('nan'):  # an environment without a forward coordinate
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


@dataclass(frozen=True)
class PackedPolicy:
    """A file of an artifact, to be loaded on another machine."""

    archive: bytes
    """As `pack_artifact` makes it."""
    sha256: str
    """Of the archive."""
    recipe: str
    runtime: str


def play_on_cluster(
    packed: PackedPolicy, seeds: Sequence[int], *, cluster: str
) -> list[EpisodeResult]:
    """Play an episode for each seed all over a cluster; return the results in their order.

    They are those of one machine, however many workers there are: each episode depends on its
    seed alone.
    """
    with tqdm(total=len(seeds), unit='episode') as bar:
        results: list[EpisodeResult] = []
        for part in spread(play_episodes, packed, _parts(seeds), cluster=cluster):
            results += part
            bar.update(len(part))
    return results


def _parts(seeds: Sequence[int]) -> Iterator[tuple[int, ...]]:
    remaining = iter(seeds)
    while part := tuple(itertools.islice(remaining, EPISODES_PER_CALL)):
        yield part


def play_episodes(packed: PackedPolicy, seeds: Sequence[int]) -> list[EpisodeResult]:
    """Play an episode for each seed with a packed policy, in its own environment."""
    policy = _unpacked(packed)
    environment = environment_of(policy.spec)
    try:
        return rollout(environment, policy.act, seeds)
    finally:
        environment.close()


@functools.lru_cache(maxsize=1)
def _unpacked(packed: PackedPolicy) -> Policy:
    with tempfile.TemporaryDirectory() as folder:
        unpack_artifact(packed.archive, packed.sha256, Path(folder) / 'policy')
        return load_policy(Path(folder) / 'policy', recipe=packed.recipe, runtime=packed.runtime)
