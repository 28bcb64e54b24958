"""Run policies in the simulator, side by side, and keep every episode on disk."""

import functools
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import gymnasium
import numpy as np

from rl_edge_core.archive import pack_artifact, unpack_artifact
from rl_edge_core.artifact import load_manifest
from rl_edge_core.cluster import spread
from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.episode_result import EndedBy, EpisodeResult
from rl_edge_core.errors import ArtifactError
from rl_edge_core.files import ensure_folder, sha256_of, write_atomically
from rl_edge_core.loop.events import StepEvent
from rl_edge_policy.load import load_policy
from rl_edge_policy.policy import Policy
from rl_edge_sim.environment import environment_of
from rl_edge_sim.rollout import rollout

CHUNK = 5
"""Episodes that are run and handed over at once: some seconds of work."""

Task = tuple[str, tuple[int, ...]]
"""(recipe, seeds)."""


@dataclass(frozen=True)
class PackedPolicies:
    """Files of one artifact, for processes and machines that do not have its folder."""

    archive: bytes
    """As `pack_artifact` makes it."""
    sha256: str
    """Of the archive."""
    runtime: str = 'auto'


def packed_policies(
    folder: Path, recipes: Sequence[str], *, runtime: str = 'auto'
) -> PackedPolicies:
    """Pack the files of some recipes; raise ArtifactError for a damaged one."""
    archive = pack_artifact(folder, recipes)
    return PackedPolicies(archive, sha256_of(archive), runtime)


def play(policies: PackedPolicies, task: Task) -> list[EpisodeResult]:
    """Play an episode for each seed of the task; each depends on its seed alone."""
    recipe, seeds = task
    policy = policy_of(policies, recipe)
    return rollout(shared_environment(policy.spec), policy.act, seeds)


@functools.lru_cache(maxsize=64)
def policy_of(policies: PackedPolicies, recipe: str) -> Policy:
    """Load one of the packed policies, once in a process."""
    with tempfile.TemporaryDirectory() as folder:
        unpack_artifact(policies.archive, policies.sha256, Path(folder) / 'policy')
        return load_policy(Path(folder) / 'policy', recipe=recipe, runtime=policies.runtime)


@functools.lru_cache(maxsize=1)
def shared_environment(spec: EnvironmentSpec) -> gymnasium.Env:
    """Return the environment that this process runs episodes of `spec` in, one after another."""
    return environment_of(spec)


def run_episodes(
    folder: Path,
    wanted: Mapping[str, Sequence[int]],
    *,
    kept: Path,
    processes: int,
    cluster: str = '',
    on_episodes: Callable[[int], None] = lambda count: None,
) -> dict[str, dict[int, EpisodeResult]]:
    """Return recipe -> seed -> episode for the seeds ``wanted`` of each recipe.

    They run in so many ``processes``, or on a ``cluster``, with the same results. Episodes found
    in ``kept`` (one file per recipe) are not run again, so that an interrupted call goes on; those
    of another file of the same recipe are. Recipes take turns by chunks of seeds.
    """
    ensure_folder(kept)
    hashes, done = _kept_episodes(folder, wanted, kept)
    tasks = list(_tasks(wanted, done))
    if tasks:
        policies = packed_policies(folder, list(wanted))
        played = spread(play, policies, tasks, cluster=cluster, processes=processes)
        for (recipe, _), results in zip(tasks, played, strict=True):
            done[recipe].update({result.seed: result for result in results})
            _write(kept / f'{recipe}.json', hashes[recipe], done[recipe])
            on_episodes(len(results))
    return {
        recipe: {seed: done[recipe][seed] for seed in seeds} for recipe, seeds in wanted.items()
    }


def count_missing(folder: Path, wanted: Mapping[str, Sequence[int]], *, kept: Path) -> int:
    """Return how many episodes `run_episodes` would have to run."""
    _, done = _kept_episodes(folder, wanted, kept)
    return sum(len(task[1]) for task in _tasks(wanted, done))


def _kept_episodes(
    folder: Path, recipes: Iterable[str], kept: Path
) -> tuple[dict[str, str], dict[str, dict[int, EpisodeResult]]]:
    """Return the hashes of all files, and recipe -> seed -> episode of what ``kept`` has."""
    hashes = {entry.recipe: entry.sha256 for entry in load_manifest(folder).files}
    return hashes, {recipe: _read(kept / f'{recipe}.json', hashes[recipe]) for recipe in recipes}


def _tasks(
    wanted: Mapping[str, Sequence[int]], done: Mapping[str, Mapping[int, EpisodeResult]]
) -> Iterator[Task]:
    missing = {
        recipe: [seed for seed in seeds if seed not in done[recipe]]
        for recipe, seeds in wanted.items()
    }
    for start in range(0, max(map(len, missing.values()), default=0), CHUNK):
        for recipe, seeds in missing.items():
            chunk = tuple(seeds[start : start + CHUNK])
            if chunk:
                yield recipe, chunk


def visited_states(
    folder: Path, recipe: str, seeds: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return (observations, actions) of episodes that a recipe's policy drives."""
    policy = load_policy(folder, recipe=recipe)
    steps: list[StepEvent] = []
    rollout(environment_of(policy.spec), policy.act, seeds, steps.append)
    return (
        np.asarray([step.observation for step in steps], np.float32),
        np.asarray([step.applied.values for step in steps], np.float32),
    )


def _write(path: Path, sha256: str, results: Mapping[int, EpisodeResult]) -> None:
    rows = [
        {**vars(results[seed]), 'ended_by': results[seed].ended_by.name}
        for seed in sorted(results)
    ]
    write_atomically(path, json.dumps({'sha256': sha256, 'episodes': rows}, default=dict))


def _read(path: Path, sha256: str) -> dict[int, EpisodeResult]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text())
        if content['sha256'] != sha256:
            return {}
        rows = [{**row, 'ended_by': EndedBy[row['ended_by']]} for row in content['episodes']]
        return {row['seed']: EpisodeResult(**row) for row in rows}
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(f'{path} is damaged ({error}): delete it, and run again') from error
