"""Run both sides of the comparison one after the other and write down what came out."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from rl_edge_core.configuration import to_mapping
from rl_edge_core.errors import ConfigurationError, RlEdgeError
from rl_edge_core.files import write_atomically
from rl_edge_core.results import describe_machine
from rl_edge_train.bench.stable_baselines import VECTOR_ENVIRONMENTS
from rl_edge_train.bench.task import TASKS, Task

TRIAL_SHARE = 0.2
"""Share of the time that each of Stable-Baselines3's settings is tried for."""


def compare(arguments: argparse.Namespace) -> None:
    """Write `steps_over_sb3` of each algorithm, and the figures behind it, as JSON."""
    report: dict[str, Any] = {
        'machine': {'cpu_count': os.cpu_count(), **describe_machine()},
        'command': ' '.join(['python -m rl_edge_train', *sys.argv[1:]]),
    }
    for algorithm in arguments.algorithms:
        if algorithm not in TASKS:
            raise ConfigurationError(
                f'{algorithm!r} is not compared; valid are {", ".join(TASKS)}'
            )
        task = dataclasses.replace(TASKS[algorithm], seconds=arguments.seconds)
        report[algorithm] = _compare(task)
        print(_summary(algorithm, report[algorithm]), flush=True)
    write_atomically(arguments.out, json.dumps(report, indent=1))
    print(arguments.out)


def _compare(task: Task) -> dict[str, Any]:
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
    threads = sorted({1, os.cpu_count() or 1})
    rates = {
        (kind, str(count)): _run('stable_baselines', trial, [kind, str(count)])['steps_per_second']
        for kind in VECTOR_ENVIRONMENTS
        for count in threads
    }
    fastest = max(rates, key=lambda setting: rates[setting])
    return list(fastest), {f'{kind}, {count} threads': r for (kind, count), r in rates.items()}


def _run(side: str, task: Task, arguments: Sequence[str]) -> dict[str, float]:
    command = [sys.executable, '-m', f'rl_edge_train.bench.{side}', task.to_json(), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = '\n'.join(done.stderr.splitlines()[-5:])
        raise RlEdgeError(f'{side} failed on {task.algorithm}: {last}')
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def _summary(algorithm: str, figures: dict[str, Any]) -> str:
    ours, theirs = figures['ours'], figures['sb3']
    return (
        f'{algorithm}: ours {ours["steps_per_second"]:.0f} steps/s, return {ours["return"]:.0f}; '
        f'Stable-Baselines3 {theirs["steps_per_second"]:.0f} steps/s, return '
        f'{theirs["return"]:.0f}; {figures["steps_over_sb3"]:.2f} times its steps'
    )
