"""The lockstep loop over ROS 2 beside its limit: step, echo of the messages, and inference."""

import os
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from rl_edge_bringup.running_system import RunningSystem
from rl_edge_core.artifact import Manifest, load_manifest
from rl_edge_experiments.bench import section
from rl_edge_experiments.bench.policy_process import baseline
from rl_edge_experiments.record_run import RunRequest, record_run
from rl_edge_policy.load import load_policy
from rl_edge_policy.policy import Policy
from rl_edge_policy.ros.echo_client import EchoClient
from rl_edge_sim.environment import environment_of

_STEPS = 3000
"""At least so many in each part of each round."""
_RUN_TIMEOUT_SEC = 300.0


def measure_lockstep(folder: Path, *, rounds: int, output: Path) -> dict[str, Any]:
    """Return the section ``lockstep`` of bench.json."""
    manifest = load_manifest(folder)
    policy = load_policy(folder)
    episodes = _episodes_for(_STEPS, manifest, policy)
    arguments = {
        'environment_id': manifest.environment.environment_id,
        'model': str(folder),
        'episodes': str(episodes),
        # Nobody receives the transitions: what is measured is the loop alone.
        'record_topics': 'environment,episode,resource_usage/*',
    }
    rows = []
    for _ in range(rounds):
        step, inference = _simulation_and_inference_us(manifest, policy, episodes)
        # From the end of the first episode to the last.
        run = record_run(RunRequest(output / 'lockstep', arguments))
        rows.append((step, _echo_us(manifest), inference, 1e6 / run.robot.steps_per_sec))
    return section(values_of(np.array(rows)), rounds=rounds, episodes=episodes)


def values_of(rows: np.ndarray) -> dict[str, np.ndarray]:
    """Return the rates of the loop and of its limit from the times of its parts.

    ``rows`` has shape (rounds, 4): us per step of simulation, echo, inference, and the loop.
    """
    step, echo, inference, loop = rows.T
    limit = step + echo + inference
    return {
        'share_of_limit': limit / loop,
        'steps_per_s': 1e6 / loop,
        'limit_steps_per_s': 1e6 / limit,
        'simulation_step_us': step,
        'echo_us': echo,
        'inference_us': inference,
    }


def _episodes_for(steps: int, manifest: Manifest, policy: Policy) -> int:
    """Return how many episodes, from seed 0 on, have so many steps without the first of them."""
    env = environment_of(manifest.environment)
    done = episode = 0
    while done < steps:
        length = _run_episode(env, policy, seed=episode)[0]
        done += length if episode else 0
        episode += 1
    env.close()
    return episode


def _simulation_and_inference_us(
    manifest: Manifest, policy: Policy, episodes: int
) -> tuple[float, float]:
    """Return the mean times of a step (resets included) and of an action, without ROS 2."""
    env = environment_of(manifest.environment)
    # As over ROS 2, the first episode is not counted.
    parts = np.array([_run_episode(env, policy, seed=seed) for seed in range(episodes)][1:])
    env.close()
    length, total_sec, inference_sec = parts.sum(axis=0)
    return 1e6 * (total_sec - inference_sec) / length, 1e6 * inference_sec / length


def _run_episode(env: gymnasium.Env, policy: Policy, *, seed: int) -> tuple[int, float, float]:
    """Return the length of an episode, its duration, and the part of it spent on actions."""
    started = time.perf_counter()
    observation, _ = env.reset(seed=seed)
    length, inference_sec, over = 0, 0.0, False
    while not over:
        before = time.perf_counter()
        action = policy.act(observation.astype(np.float32))
        inference_sec += time.perf_counter() - before
        observation, _, terminated, truncated, _ = env.step(action)
        length += 1
        over = terminated or truncated
    return length, time.perf_counter() - started, inference_sec


def _echo_us(manifest: Manifest) -> float:
    """Return the mean round trip of an observation and an action between two processes."""
    namespace = f'echo{os.getpid()}'
    observation = np.asarray(manifest.golden_observation, np.float32)
    with (
        EchoClient(namespace, manifest.environment, observation) as simulator,
        RunningSystem([baseline(namespace)]),
    ):
        simulator.wait_for_first_action(_RUN_TIMEOUT_SEC)
        simulator.measure(_STEPS // 10)
        started = time.perf_counter()
        simulator.measure(_STEPS)
        return 1e6 * (time.perf_counter() - started) / _STEPS
