"""The other side: `python -m rl_edge_train.bench.stable_baselines TASK dummy|subproc THREADS`."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np

from rl_edge_train.bench.task import SEED, Task
from rl_edge_train.environments import EnvironmentConfig, make
from rl_edge_train.selection import SELECTION_SEED

VECTOR_ENVIRONMENTS = ('dummy', 'subproc')


def build_model(task: Task, vector_environment: str) -> Any:
    """Return the Stable-Baselines3 algorithm that does the task."""
    import torch
    from stable_baselines3 import PPO, SAC
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

    environment = make_vec_env(
        task.environment_id,
        n_envs=task.environments,
        seed=SEED,
        vec_env_cls=SubprocVecEnv if vector_environment == 'subproc' else DummyVecEnv,
    )
    common: dict[str, Any] = {
        'learning_rate': task.learning_rate,
        'batch_size': task.batch_size,
        'seed': SEED,
    }
    if task.algorithm == 'sac':
        policy = {'net_arch': list(task.widths)}
        return SAC(
            'MlpPolicy',
            environment,
            train_freq=1,
            gradient_steps=task.updates_per_iteration,
            learning_starts=task.warmup_steps,
            buffer_size=1_000_000,
            policy_kwargs=policy,
            device='cpu',
            **common,
        )
    policy_networks: dict[str, Any] = {
        'net_arch': {'pi': list(task.widths), 'vf': list(task.widths)},
        'activation_fn': torch.nn.Tanh,
    }
    return PPO(
        'MlpPolicy',
        environment,
        n_steps=task.rollout_length,
        n_epochs=task.epochs,
        policy_kwargs=policy_networks,
        device='cpu',
        **common,
    )


def measure(task: Task, vector_environment: str, threads: int) -> dict[str, float]:
    """Train for the task's time; return the return reached and steps a second while learning."""
    import torch
    from stable_baselines3.common.callbacks import BaseCallback

    class Clock(BaseCallback):
        """Note whole rounds of collecting and learning; stop the run when its time is up."""

        start = 0.0
        rounds: list[tuple[float, int]]
        """Time and steps at the start of the first round after an update, and of the latest."""

        def _on_training_start(self) -> None:
            self.start, self.rounds = time.perf_counter(), []

        def _on_rollout_start(self) -> None:
            if self.model._n_updates > 0:
                self.rounds = [*self.rounds[:1], (time.perf_counter(), self.num_timesteps)]

        def _on_step(self) -> bool:
            return len(self.rounds) < 2 or time.perf_counter() - self.start < task.seconds

    torch.set_num_threads(threads)
    model = build_model(task, vector_environment)
    clock = Clock()
    model.learn(10**9, callback=clock)
    (began, first), (ended, last) = clock.rounds
    returned = float(
        np.mean([_episode_return(task, model, i) for i in range(task.evaluation_episodes)])
    )
    steps = model.num_timesteps
    model.get_env().close()
    return {
        'steps_per_second': (last - first) / (ended - began),
        'steps': steps,
        'seconds_before_learning': began - clock.start,
        'return': returned,
    }


def _episode_return(task: Task, model: Any, episode: int) -> float:
    environment = make(EnvironmentConfig(task.environment_id))
    observation, _ = environment.reset(seed=SELECTION_SEED + episode)
    total, ended = 0.0, False
    while not ended:
        action, _ = model.predict(observation, deterministic=True)
        observation, reward, terminated, truncated, _ = environment.step(action)
        total += float(reward)
        ended = terminated or truncated
    environment.close()
    return total


if __name__ == '__main__':
    print(json.dumps(measure(Task.from_json(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))
