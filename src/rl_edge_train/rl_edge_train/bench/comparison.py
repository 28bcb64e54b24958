"""Run both sides of the comparison one after the other and write down what came out.

Of `learning` each seed of each side is a run of its own, kept in a file once it is whole: a
comparison that was stopped goes on with the runs that are missing.
"""

import argparse
import dataclasses
import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rl_edge_core.configuration import from_mapping, to_mapping
from rl_edge_core.errors import ConfigurationError, RlEdgeError
from rl_edge_core.files import ensure_folder, write_atomically
from rl_edge_core.results import describe_machine, write_json
from rl_edge_core.statistics import mean_interval
from rl_edge_train.bench.stable_baselines import VECTOR_ENVIRONMENTS
from rl_edge_train.bench.task import LEARNING_TASKS, TASKS, LearningCurve, Task, cores

TRIAL_SHARE = 0.2
"""Share of the time that each of Stable-Baselines3's settings is tried for."""
PARTS = ('speed', 'learning')
SIDES = ('ours', 'sb3')
RETURNS = (1000.0, 2000.0, 3000.0)
"""Returns to which the time is taken."""
FIRST_SEED = 1

RunSide = Callable[[str, Task], dict[str, Any]]
"""Run one side (`ours` or `sb3`) of a task and return its learning curve as a mapping."""


def compare(arguments: argparse.Namespace) -> None:
    """Write what each part finds, and the numbers behind it, as JSON.

    `speed` is steps per second in a given time, `learning` the return at equal numbers of steps
    and the time to returns. What the file holds of other parts and algorithms stays.
    """
    out: Path = arguments.out
    _check_names('part', arguments.parts, PARTS)
    _check_names('algorithm', arguments.algorithms or [], {**TASKS, **LEARNING_TASKS})
    report: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {}
    report['machine'] = {'cpu_count': cores(), **describe_machine()}
    report['command'] = ' '.join(['python -m rl_edge_train', *sys.argv[1:]])
    if 'speed' in arguments.parts:
        for algorithm in _chosen(arguments.algorithms, TASKS):
            task = dataclasses.replace(TASKS[algorithm], seconds=arguments.seconds)
            report[algorithm] = _compare_speed(task)
            write_json(out, report)
            print(_summary(algorithm, report[algorithm]), flush=True)
    if 'learning' in arguments.parts:
        for algorithm in _chosen(arguments.algorithms, LEARNING_TASKS):
            for result in compare_learning(
                LEARNING_TASKS[algorithm],
                seeds=arguments.seeds,
                folder=out.with_suffix(''),
                run_side=_run_learning,
            ):
                for key, value in result.items():
                    report.setdefault(key, {})[algorithm] = value
                write_json(out, report)
            for row in report['parity'][algorithm]:
                print(f'{algorithm}: {_parity_line(row)}', flush=True)
    print(out)


def _check_names(what: str, names: Sequence[str], valid: Sequence[str] | dict[str, Any]) -> None:
    for name in names:
        if name not in valid:
            raise ConfigurationError(
                f'{what} {name!r} is not compared; valid are {", ".join(valid)}'
            )


def _chosen(algorithms: Sequence[str] | None, tasks: dict[str, Task]) -> list[str]:
    return [name for name in tasks if not algorithms or name in algorithms]


def _compare_speed(task: Task) -> dict[str, Any]:
    setting, trials = _fastest_setting(task)
    theirs = _run('stable_baselines', task, setting)
    ours = _run('ours', task, [])
    return {
        'steps_over_sb3': ours['steps_per_second'] / theirs['steps_per_second'],
        'ours': ours,
        'sb3': {**theirs, 'vector_environment': setting[0], 'threads': int(setting[1])},
        'sb3_trials': trials,
        'task': to_mapping(task),
    }


def _fastest_setting(task: Task) -> tuple[list[str], dict[str, float]]:
    """Return Stable-Baselines3's faster vector environment and thread count, and all trials."""
    trial = dataclasses.replace(task, seconds=task.seconds * TRIAL_SHARE, evaluation_episodes=1)
    threads = sorted({1, cores()})
    rates = {
        (kind, str(count)): _run('stable_baselines', trial, [kind, str(count)])['steps_per_second']
        for kind in VECTOR_ENVIRONMENTS
        for count in threads
    }
    fastest = max(rates, key=lambda setting: rates[setting])
    return list(fastest), {f'{kind}, {count} threads': r for (kind, count), r in rates.items()}


def _run_learning(side: str, task: Task) -> dict[str, Any]:
    print(f'{task.algorithm}, seed {task.seed}, {side}: {task.total_steps:,} steps', flush=True)
    if side == 'ours':
        return _run('ours', task, [])
    # What its speed part has found the faster setting on every machine so far.
    kind, threads = ('subproc', 1) if task.algorithm == 'ppo' else ('dummy', cores())
    return _run('stable_baselines', task, [kind, str(threads)])


def _run(side: str, task: Task, arguments: Sequence[str]) -> dict[str, Any]:
    command = [sys.executable, '-m', f'rl_edge_train.bench.{side}', task.to_json(), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = '\n'.join(done.stderr.splitlines()[-5:])
        raise RlEdgeError(f'{side} failed on {task.algorithm}: {last}')
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _summary(algorithm: str, figures: dict[str, Any]) -> str:
    ours, theirs = figures['ours'], figures['sb3']
    return (
        f'{algorithm}: ours {ours["steps_per_second"]:.0f} steps/s, return {ours["return"]:.0f}; '
        f'Stable-Baselines3 {theirs["steps_per_second"]:.0f} steps/s, return '
        f'{theirs["return"]:.0f}; {figures["steps_over_sb3"]:.2f} times its steps'
    )


def _parity_line(row: dict[str, Any]) -> str:
    ours, theirs = (
        '{mean:.0f} [{low:.0f}, {high:.0f}]'.format(**row[side]) for side in ('ours', 'sb3')
    )
    return (
        f'{row["steps"]:,} steps: ours {ours}, Stable-Baselines3 {theirs} ({row["seeds"]} seeds)'
    )


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
    """Return `parity`, returns at equal steps, `time_to`, seconds to returns, and `curves`."""
    count = len(curves[SIDES[0]])
    if not count:
        return {'parity': [], 'time_to': {}, 'curves': {}}
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
    by_side = {side: [to_mapping(curve) for curve in curves[side]] for side in SIDES}
    return {'parity': parity, 'time_to': time_to, 'curves': by_side}


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
