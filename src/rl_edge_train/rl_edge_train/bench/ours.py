"""Our side of the comparison: `python -m rl_edge_train.bench.ours TASK`."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rl_edge_core.configuration import from_mapping
from rl_edge_train.bench.task import SEED, LearningCurve, Task, cores
from rl_edge_train.run_config import RunConfig

if TYPE_CHECKING:
    from rl_edge_train.runner import Runner


def run_config(task: Task) -> RunConfig:
    """Say the task in the words of our presets."""
    trunk = {
        'widths': list(task.widths),
        'activations': ['tanh' if task.algorithm == 'ppo' else 'relu'],
    }
    agent: dict[str, object] = {'actor': trunk, 'critic': trunk, 'discount': 0.99}
    loop: dict[str, object] = {'environments': task.environments}
    if task.algorithm in ('sac', 'td3'):
        rates = ('actor', 'critic', 'temperature')[: 3 if task.algorithm == 'sac' else 2]
        agent |= {f'{name}_learning_rate': task.learning_rate for name in rates}
        if task.algorithm == 'sac':
            agent |= {'initial_temperature': 1.0, 'log_std_minimum': -20.0}
        loop |= {
            'updates_per_iteration': task.updates_per_iteration,
            'batch_size': task.batch_size,
            'warmup_steps': task.warmup_steps,
            'replay_capacity': 1_000_000,
        }
    else:
        agent |= {
            'policy_learning_rate': task.learning_rate,
            'value_learning_rate': task.learning_rate,
            'policy_epochs': task.epochs,
            'value_epochs': task.epochs,
            'minibatches': task.environments * task.rollout_length // task.batch_size,
            'normalize_observations': task.normalize,
            'scale_rewards': task.normalize,
            'initial_log_std': task.initial_log_std,
        }
        loop |= {'rollout_length': task.rollout_length}
    mapping = {
        'algorithm': task.algorithm,
        'total_steps': 10**9,
        'environment': {'environment_id': task.environment_id},
        'selection': {'episodes': task.evaluation_episodes},
        # SAC learns while one core simulates, PPO's two networks learn beside one another.
        'simulation_processes': min(cores(), 2) if task.algorithm == 'ppo' else 1,
        'learner_threads': 1 if task.algorithm == 'ppo' else min(cores(), 2),
        'loop': loop,
        'agent': agent,
    }
    return from_mapping(RunConfig, mapping)


def measure(task: Task) -> dict[str, float]:
    """Train for the task's time; return the return reached and steps per second of learning."""
    from rl_edge_train.assembly import assemble

    with (
        tempfile.TemporaryDirectory() as folder,
        assemble(run_config(task), Path(folder), seed=SEED) as runner,
    ):
        start = time.perf_counter()
        while not runner.loop.iterate().metrics:  # until everything is compiled
            pass
        first, learning = runner.loop.steps, time.perf_counter()
        while (now := time.perf_counter()) - start < task.seconds:
            runner.loop.iterate()
        return {
            'steps_per_second': (runner.loop.steps - first) / (now - learning),
            'steps': runner.loop.steps,
            'seconds_before_learning': learning - start,
            'return': _evaluate(runner),
        }


def learn(task: Task) -> LearningCurve:
    """Train for the task's steps; return what was reached on the way."""
    from rl_edge_train.assembly import assemble

    curve = LearningCurve([], [], [])
    with (
        tempfile.TemporaryDirectory() as folder,
        assemble(run_config(task), Path(folder), seed=task.seed) as runner,
    ):
        paused, start = 0.0, time.perf_counter()
        while len(curve.steps) * task.evaluate_every < task.total_steps:
            runner.loop.iterate()
            due = (len(curve.steps) + 1) * task.evaluate_every
            if runner.loop.steps >= due:
                now = time.perf_counter()
                curve.steps.append(due)
                curve.seconds.append(now - start - paused)
                curve.returns.append(_evaluate(runner))
                paused += time.perf_counter() - now
    return curve


def _evaluate(runner: Runner) -> float:
    from rl_edge_train.selection import SELECTION_SEED, play

    episodes = play(
        runner.evaluation_environments,
        lambda observation: runner.agent.act(observation, explore=False).action,
        first_seed=SELECTION_SEED,
    )
    return float(np.mean([episode.episode_return for episode in episodes]))


if __name__ == '__main__':
    _task = Task.from_json(sys.argv[1])
    print(json.dumps(asdict(learn(_task)) if _task.total_steps else measure(_task)))
