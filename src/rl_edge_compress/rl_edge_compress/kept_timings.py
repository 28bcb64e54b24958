"""Timings kept between runs, so that they can be taken once, while the machine is quiet."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from rl_edge_compress import benchmark
from rl_edge_compress.benchmark import Combination, Timing
from rl_edge_core.artifact import Manifest, load_manifest
from rl_edge_core.errors import ArtifactError
from rl_edge_core.files import write_atomically

FILE = 'timings.json'
Timings = dict[Combination, Timing]


def kept_timings(
    folder: Path,
    manifest: Manifest,
    observations: np.ndarray,
    *,
    kept: Path,
    rounds: int,
    on_start: Callable[[int], None] = lambda steps: None,
    on_step: Callable[[], None] = lambda: None,
) -> Timings:
    """Return the timings of every file of ``manifest``; take those that ``kept`` does not have.

    Those taken in one call take turns, and compare best: delete the file to have all taken again.
    Raise ArtifactError for a damaged one.
    """
    path, whole = kept / FILE, load_manifest(folder)
    wanted = benchmark.combinations(manifest)
    timings = _read(path, whole)
    missing = [key for key in wanted if key not in timings]
    if missing:
        on_start(rounds + len(missing))
        timings |= benchmark.measure(folder, missing, observations, rounds=rounds, on_step=on_step)
        _write(path, whole, timings)
    return {key: timings[key] for key in wanted}


def _write(path: Path, manifest: Manifest, timings: Timings) -> None:
    rows = [
        {
            'runtime': runtime,
            'recipe': recipe,
            'sha256': manifest.entry(recipe).sha256,
            **dataclasses.asdict(timing),
        }
        for (runtime, recipe), timing in timings.items()
    ]
    write_atomically(path, json.dumps(rows, indent=1) + '\n')


def _read(path: Path, manifest: Manifest) -> Timings:
    """Return the kept timings of files that are still the same."""
    if not path.is_file():
        return {}
    hashes = {entry.recipe: entry.sha256 for entry in manifest.files}
    timings: Timings = {}
    try:
        for row in json.loads(path.read_text()):
            runtime, recipe, sha256 = (row.pop(key) for key in ('runtime', 'recipe', 'sha256'))
            if hashes.get(recipe) == sha256:
                timings[runtime, recipe] = Timing(**row)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(f'{path} is damaged ({error}): delete it, and run again') from error
    return timings
