"""Our side of the comparison: `python -m rl_edge_train.bench.ours TASK`."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from rl_edge_core.configuration import from_mapping
from rl_edge_train.bench.task import SEED, Task
from rl_edge_train.run_config import RunConfig


def run_config(task: Task) -> RunConfig:
    """Say the task in the words of our presets."""
    trunk = {
        'widths': list(task.widths),
        'activations': ['relu' if task.algorithm == 'sac' else 'tanh'],
    }
    agent: dict[str, object] = {'actor': trunk, 'critic': trunk, 'discount': 0.99}
    loop: dict[str, object] = {'environments': task.environments}
    if task.algorithm == 'sac':
        rates = ('actor', 'critic', 'temperature')
        agent |= {f'{name}_learning_rate': task.learning_rate for name in rates}
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
            'normalize_observations': False,
            'scale_rewards': False,
            'initial_log_std': 0.0,
        }
        loop |= {'rollout_length': task.rollout_length}
    mapping = {
        'algorithm': task.algorithm,
        'total_steps': 10**9,
        'environment': {'environment_id': task.environment_id},
        'selection': {'episodes': task.evaluation_episodes},
        # SAC learns while one core simulates, PPO's two networks learn beside one another.
        'simulation_processes': 2 if task.algorithm == 'ppo' else 1,
        'learner_threads': 2 if task.algorithm == 'sac' else 1,
        'loop': loop,
        'agent': agent,
    }
    return from_mapping(RunConfig, mapping)


def measure(task: Task) -> dict[str, float]:
    """Train for the task's time; return the return reached and steps a second while learning."""
    from rl_edge_train.assembly import assemble
    from rl_edge_train.selection import SELECTION_SEED, play

    with tempfile.TemporaryDirectory() as folder:
        runner = assemble(run_config(task), Path(folder), seed=SEED)
        try:
            start = time.perf_counter()
            while not runner.loop.iterate().metrics:  # until everything is compiled
                pass
            first, learning = runner.loop.steps, time.perf_counter()
            while (now := time.perf_counter()) - start < task.seconds:
                runner.loop.iterate()
            episodes = play(
                runner.evaluation_environments,
                lambda observation: runner.agent.act(observation, explore=False).action,
                first_seed=SELECTION_SEED,
            )
            returned = float(np.mean([episode.episode_return for episode in episodes]))
            return {
                'steps_per_second': (runner.loop.steps - first) / (now - learning),
                'steps': runner.loop.steps,
                'seconds_before_learning': learning - start,
                'return': returned,
            }
        finally:
            runner.close()


if __name__ == '__main__':
    print(json.dumps(measure(Task.from_json(sys.argv[1]))))
