"""The environments that training runs in; here alone training meets the simulator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import gymnasium
import numpy as np

from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_sim import environment as simulator
from rl_edge_sim import mujoco_state
from rl_edge_sim.mujoco_names import is_mujoco


@dataclass(frozen=True)
class EnvironmentConfig:
    """Which environment to train in."""

    environment_id: str = 'Ant-v5'
    """Gymnasium id of an environment with continuous actions."""
    reward_shaping: str = 'none'
    """`none`, or `study` for the study's extra terms."""


def make(config: EnvironmentConfig) -> gymnasium.Env:
    """Build one environment; ConfigurationError says what is wrong with the configuration."""
    return simulator.make_environment(config.environment_id, reward_shaping=config.reward_shaping)


def spec_of(config: EnvironmentConfig) -> EnvironmentSpec:
    """Return the spec of the environment."""
    environment = make(config)
    try:
        return simulator.spec_of(environment)
    finally:
        environment.close()


def snapshot(environment: gymnasium.Env) -> dict[str, np.ndarray]:
    """Return the state of an environment in mid-episode; empty where it cannot be saved."""
    return mujoco_state.snapshot(environment) if is_mujoco(environment) else {}


def restore(environment: gymnasium.Env, state: Mapping[str, np.ndarray]) -> bool:
    """Put an environment where `snapshot` found it; return whether its episode goes on."""
    if state:
        mujoco_state.restore(environment, state)
    return bool(state)
