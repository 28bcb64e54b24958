"""Run policies in the simulator, in several processes, and keep every episode on disk."""

import json
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from rl_edge_core.artifact import load_manifest
from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.episode_result import EndedBy, EpisodeResult
from rl_edge_core.errors import ArtifactError
from rl_edge_core.files import ensure_folder, write_atomically
from rl_edge_policy.load import load_policy
from rl_edge_policy.policy import Policy
from rl_edge_sim.environment import environment_of
from rl_edge_sim.rollout import RolloutStep, rollout

CHUNK = 5
"""Episodes that a process runs and hands over at once."""

Task = tuple[str, tuple[int, ...]]
"""(recipe, seeds)."""


def run_episodes(
    folder: Path,
    wanted: Mapping[str, Sequence[int]],
    *,
    kept: Path,
    processes: int,
    on_episodes: Callable[[int], None] = lambda count: None,
) -> dict[str, dict[int, EpisodeResult]]:
    """Return recipe -> seed -> episode for the seeds ``wanted`` of each recipe.

    Episodes found in ``kept`` (one file a recipe) are not run again, so that an interrupted call
    goes on; those of another file of the same recipe are. Recipes take turns by chunks of seeds.
    """
    ensure_folder(kept)
    hashes = {entry.recipe: entry.sha256 for entry in load_manifest(folder).files}
    done = {recipe: _read(kept / f'{recipe}.json', hashes[recipe]) for recipe in wanted}
    tasks = list(_tasks(wanted, done))
    context = multiprocessing.get_context('spawn')
    with context.Pool(min(processes, max(1, len(tasks))), _prepare, (str(folder),)) as pool:
        for recipe, results in pool.imap_unordered(_run_task, tasks):
            done[recipe].update({result.seed: result for result in results})
            _write(kept / f'{recipe}.json', hashes[recipe], done[recipe])
            on_episodes(len(results))
    return {
        recipe: {seed: done[recipe][seed] for seed in seeds} for recipe, seeds in wanted.items()
    }


def count_missing(folder: Path, wanted: Mapping[str, Sequence[int]], *, kept: Path) -> int:
    """Return how many episodes `run_episodes` would have to run."""
    hashes = {entry.recipe: entry.sha256 for entry in load_manifest(folder).files}
    done = {recipe: _read(kept / f'{recipe}.json', hashes[recipe]) for recipe in wanted}
    return sum(len(task[1]) for task in _tasks(wanted, done))


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


_worker_folder = ''


def _prepare(folder: str) -> None:
    global _worker_folder
    _worker_folder = folder


@lru_cache(maxsize=64)
def _policy(folder: str, recipe: str) -> Policy:
    return load_policy(folder, recipe=recipe)


@lru_cache(maxsize=1)
def _environment(spec: EnvironmentSpec) -> gymnasium.Env:
    return environment_of(spec)


def _run_task(task: Task) -> tuple[str, list[EpisodeResult]]:
    recipe, seeds = task
    policy = _policy(_worker_folder, recipe)
    return recipe, rollout(_environment(policy.spec), policy.act, seeds)


def visited_states(
    folder: Path, recipe: str, seeds: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return (observations, actions) of episodes that a recipe's policy drives."""
    policy = load_policy(folder, recipe=recipe)
    steps: list[RolloutStep] = []
    rollout(environment_of(policy.spec), policy.act, seeds, steps.append)
    return (
        np.asarray([step.observation for step in steps], np.float32),
        np.asarray([step.action for step in steps], np.float32),
    )


def _write(path: Path, sha256: str, results: Mapping[int, EpisodeResult]) -> None:
    rows = [_row(results[seed]) for seed in sorted(results)]
    write_atomically(path, json.dumps({'sha256': sha256, 'episodes': rows}))


def _row(result: EpisodeResult) -> dict[str, Any]:
    return {
        'seed': result.seed,
        'episode_return': result.episode_return,
        'length': result.length,
        'forward_distance': result.forward_distance,
        'mean_speed': result.mean_speed,
        'ended_by': result.ended_by.name,
        'termination_reason': result.termination_reason,
        'reward_terms': dict(result.reward_terms),
    }


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
