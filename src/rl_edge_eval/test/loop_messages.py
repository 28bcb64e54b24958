"""Values of messages as a small robot's loop publishes them."""

from pathlib import Path
from typing import Any

import numpy as np
from bag_writer import BagWriter

from rl_edge_core.environment_spec import EnvironmentSpec

SPEC = EnvironmentSpec(
    environment_id='Test-v0',
    observation_names=('torso.z', 'torso.x_velocity', 'leg.angle'),
    observation_units=('m', 'm/s', 'rad'),
    action_names=('hip', 'ankle'),
    action_units=('N m', 'N m'),
    action_low=(-1.0, -1.0),
    action_high=(1.0, 1.0),
    safe_action=(0.0, 0.0),
    control_period_sec=0.05,
    max_episode_steps=4,
)
RUN = 2**63 - 5


def environment(spec: EnvironmentSpec = SPEC, **values: Any) -> dict[str, Any]:
    fields = {
        'run_id': RUN,
        'spec_hash': spec.hash,
        'reward_term_names': ['forward', 'control'],
        'mode': 'lockstep',
        **spec.to_dict(),
    }
    for name in ('action_low', 'action_high', 'safe_action'):
        fields[name] = np.asarray(fields[name], np.float32)
    return fields | values


def transition(episode: int, step: int, **values: Any) -> dict[str, Any]:
    return {
        'run_id': RUN,
        'episode': episode,
        'step': step,
        'observation': np.array([0.5, step, episode], np.float32),
        'action': np.array([0.1, -0.2], np.float32),
        'reward': 1.0,
        'reward_terms': np.array([1.5, -0.5]),
        'next_observation': np.array([0.5, step + 1, episode], np.float32),
        'model_hash': 'a' * 64,
        'forward_position': 0.25 * (step + 1),
        'response_time_us': 100.0,
        'inference_time_us': 10.0,
    } | values


def summary(episode: int, length: int, **values: Any) -> dict[str, Any]:
    return {
        'run_id': RUN,
        'episode': episode,
        'seed': 10 + episode,
        'episode_return': float(length),
        'reward_terms': np.array([1.5 * length, -0.5 * length]),
        'length': length,
        'forward_distance': 0.25 * length,
        'mean_speed': 5.0,
        'ended_by': 1,
        'model_hash': 'a' * 64,
    } | values


def write_episodes(
    writer: BagWriter,
    *,
    episodes: int,
    robot: str = '/ant0',
    length: int = 4,
    begin_sec: float = 1.0,
) -> float:
    """Add whole episodes of one step each 0.1 s; return the time after the last message."""
    time_sec = begin_sec
    writer.add(f'{robot}/environment', 'Environment', environment(), time_sec=time_sec)
    for episode in range(episodes):
        for step in range(length):
            time_sec += 0.1
            values = transition(episode, step, truncated=step == length - 1)
            writer.add(f'{robot}/transition', 'Transition', values, time_sec=time_sec)
        writer.add(
            f'{robot}/episode', 'EpisodeSummary', summary(episode, length), time_sec=time_sec
        )
    return time_sec


def write_episode(
    writer: BagWriter,
    number: int,
    length: int,
    *,
    robot: str = '/ant0',
    begin_sec: float,
    **values: Any,
) -> None:
    """Add one episode of ``length`` steps within 0.5 s, with ``values`` in its summary."""
    time_sec = begin_sec
    for step in range(length):
        time_sec = begin_sec + 0.5 * (step + 1) / length
        values_of_step = transition(number, step)
        writer.add(f'{robot}/transition', 'Transition', values_of_step, time_sec=time_sec)
    values = summary(number, length, **values)
    writer.add(f'{robot}/episode', 'EpisodeSummary', values, time_sec=time_sec)


def small_bag(folder: Path, *, storage: str = 'mcap', episodes: int = 2) -> Path:
    """Write a closed bag of one robot: 4 steps per episode, 1 environment, 1 summary each."""
    writer = BagWriter(folder, storage)
    write_episodes(writer, episodes=episodes)
    writer.close()
    return folder
