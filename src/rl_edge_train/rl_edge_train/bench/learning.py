"""Whether both sides learn as much from a step, and how long each takes to a return.

Each seed of each side is a run of its own, kept in a file once it is whole: a comparison that was
stopped goes on with the runs that are missing.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rl_edge_core.configuration import from_mapping, to_mapping
from rl_edge_core.files import ensure_folder, write_atomically
from rl_edge_core.statistics import mean_interval
from rl_edge_train.bench.task import LearningCurve, Task

SIDES = ('ours', 'sb3')
RETURNS = (1000.0, 2000.0, 3000.0)
"""Returns to which the time is taken."""
FIRST_SEED = 1

RunSide = Callable[[str, Task], dict[str, Any]]
"""Run one side (`ours` or `sb3`) of a task and return its learning curve as a mapping."""


def compare_learning(
    task: Task, *, seeds: int, folder: Path, run_side: RunSide
) -> Iterator[dict[str, Any]]:
    """Run what is missing in `folder`; after each run yield what all whole runs come to.

    Sides alternate, so that a comparison that is stopped early has as many seeds of both.
    """
    ensure_folder(folder)
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        for side in SIDES:
            of_seed = dataclasses.replace(task, seed=seed)
            path = folder / f'{task.algorithm}_seed{seed}_{side}.json'
            if _read(path, of_seed) is None:
                content = {'task': to_mapping(of_seed), 'curve': run_side(side, of_seed)}
                write_atomically(path, json.dumps(content))
            yield summarize_learning(task, _curves(task, folder, seeds))


def _read(path: Path, task: Task) -> LearningCurve | None:
    """Return the curve in a file; None where there is none of exactly this task."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    if content.get('task') != to_mapping(task):
        return None
    return from_mapping(LearningCurve, content['curve'])


def _curves(task: Task, folder: Path, seeds: int) -> dict[str, list[LearningCurve]]:
    """Return the curves of the seeds that both sides have run, by side."""
    curves: dict[str, list[LearningCurve]] = {side: [] for side in SIDES}
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        of_seed = dataclasses.replace(task, seed=seed)
        pair = {
            side: _read(folder / f'{task.algorithm}_seed{seed}_{side}.json', of_seed)
            for side in SIDES
        }
        for side, curve in pair.items():
            if curve is not None and None not in pair.values():
                curves[side].append(curve)
    return curves


def summarize_learning(task: Task, curves: dict[str, list[LearningCurve]]) -> dict[str, Any]:
    """Return `parity`, returns at equal steps, and `time_to`, seconds to returns."""
    count = len(curves[SIDES[0]])
    if not count:
        return {'parity': [], 'time_to': {}}
    parity = []
    for steps in task.compared_at:
        row: dict[str, Any] = {'steps': steps}
        for side in SIDES:
            interval = mean_interval([c.returns[c.steps.index(steps)] for c in curves[side]])
            row[side] = {'mean': interval.estimate, 'low': interval.low, 'high': interval.high}
        parity.append({**row, 'seeds': count})
    time_to = {
        f'{wanted:.0f}': {f'{side}_s': median_time_to(curves[side], wanted) for side in SIDES}
        for wanted in RETURNS
    }
    return {'parity': parity, 'time_to': time_to}


def median_time_to(curves: Sequence[LearningCurve], wanted: float) -> float | None:
    """Return the median over the seeds of the seconds to a return; None where half never got it.

    A seed that never reached it took for ever.
    """
    times = [
        next((s for s, r in zip(c.seconds, c.returns, strict=True) if r >= wanted), math.inf)
        for c in curves
    ]
    median = float(np.median(times))
    return median if math.isfinite(median) else None
