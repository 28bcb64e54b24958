"""The other side: `python -m rl_edge_train.bench.stable_baselines TASK dummy|subproc THREADS`."""

import json
import sys
import time
from dataclasses import asdict
from typing import Any

import numpy as np

from rl_edge_train.bench.task import LearningCurve, Task
from rl_edge_train.environments import EnvironmentConfig, make
from rl_edge_train.selection import SELECTION_SEED

VECTOR_ENVIRONMENTS = ('dummy', 'subproc')


def build_model(task: Task, vector_environment: str) -> Any:
    """Return the Stable-Baselines3 algorithm that does the task."""
    import torch
    from stable_baselines3 import PPO, SAC, TD3
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.noise import NormalActionNoise, VectorizedActionNoise
    from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv, VecNormalize

    environment = make_vec_env(
        task.environment_id,
        n_envs=task.environments,
        seed=task.seed,
        vec_env_cls=SubprocVecEnv if vector_environment == 'subproc' else DummyVecEnv,
    )
    common: dict[str, Any] = {
        'learning_rate': task.learning_rate,
        'batch_size': task.batch_size,
        'seed': task.seed,
        'device': 'cpu',
    }
    if task.algorithm in ('sac', 'td3'):
        common |= {
            'train_freq': 1,
            'gradient_steps': task.updates_per_iteration,
            'learning_starts': task.warmup_steps,
            'buffer_size': 1_000_000,
            'policy_kwargs': {'net_arch': list(task.widths)},
        }
    if task.algorithm == 'sac':
        return SAC('MlpPolicy', environment, **common)
    if task.algorithm == 'td3':
        shape = environment.action_space.shape
        assert shape is not None
        noise = NormalActionNoise(np.zeros(shape), 0.1 * np.ones(shape))
        noises = VectorizedActionNoise(noise, task.environments)
        return TD3('MlpPolicy', environment, action_noise=noises, **common)
    if task.normalize:
        environment = VecNormalize(environment, gamma=0.99)
    policy_networks: dict[str, Any] = {
        'net_arch': {'pi': list(task.widths), 'vf': list(task.widths)},
        'activation_fn': torch.nn.Tanh,
        'log_std_init': task.initial_log_std,
    }
    return PPO(
        'MlpPolicy',
        environment,
        n_steps=task.rollout_length,
        n_epochs=task.epochs,
        policy_kwargs=policy_networks,
        **common,
    )


def measure(task: Task, vector_environment: str, threads: int) -> dict[str, float]:
    """Train for the task's time; return the return reached and steps per second of learning."""
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
    steps, returned = model.num_timesteps, evaluate(task, model)
    model.get_env().close()
    return {
        'steps_per_second': (last - first) / (ended - began),
        'steps': steps,
        'seconds_before_learning': began - clock.start,
        'return': returned,
    }


def learn(task: Task, vector_environment: str, threads: int) -> LearningCurve:
    """Train for the task's steps; return what was reached on the way."""
    import torch
    from stable_baselines3.common.callbacks import BaseCallback

    curve = LearningCurve([], [], [])

    class Evaluations(BaseCallback):
        """Evaluate between rounds of collecting and learning, with the clock stopped."""

        start = paused = 0.0

        def _on_training_start(self) -> None:
            self.start = time.perf_counter()

        def _on_rollout_start(self) -> None:
            due = (len(curve.steps) + 1) * task.evaluate_every
            if self.num_timesteps < due:
                return
            now = time.perf_counter()
            curve.steps.append(due)
            curve.seconds.append(now - self.start - self.paused)
            curve.returns.append(evaluate(task, self.model))
            self.paused += time.perf_counter() - now

        def _on_step(self) -> bool:
            return len(curve.steps) * task.evaluate_every < task.total_steps

    torch.set_num_threads(threads)
    model = build_model(task, vector_environment)
    model.learn(10**9, callback=Evaluations())
    model.get_env().close()
    return curve


def evaluate(task: Task, model: Any) -> float:
    """Return the mean return of the deterministic policy, on the seeds of our selection."""
    normalization = model.get_vec_normalize_env()
    returns = []
    for episode in range(task.evaluation_episodes):
        environment = make(EnvironmentConfig(task.environment_id))
        observation, _ = environment.reset(seed=SELECTION_SEED + episode)
        total, ended = 0.0, False
        while not ended:
            if normalization is not None:
                observation = normalization.normalize_obs(observation)
            action, _ = model.predict(observation, deterministic=True)
            observation, reward, terminated, truncated, _ = environment.step(action)
            total += float(reward)
            ended = terminated or truncated
        environment.close()
        returns.append(total)
    return float(np.mean(returns))


if __name__ == '__main__':
    _task, _setting = Task.from_json(sys.argv[1]), (sys.argv[2], int(sys.argv[3]))
    if _task.total_steps:
        print(json.dumps(asdict(learn(_task, *_setting))))
    else:
        print(json.dumps(measure(_task, *_setting)))
