"""The environments that training runs in; here alone training meets the simulator."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np

from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.errors import ConfigurationError
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
    environment_arguments: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the environment, such as an xml_file, wherever the policy runs."""
    training_arguments: Mapping[str, Any] = field(default_factory=dict)
    """Arguments that hold while collecting alone, over the others: a tighter limit, say."""


def make(config: EnvironmentConfig, *, training: bool = False) -> gymnasium.Env:
    """Build one environment; ConfigurationError says what is wrong with the configuration.

    Where transitions are collected, `training`, its training_arguments hold as well.
    """
    arguments = {**config.environment_arguments, **(config.training_arguments if training else {})}
    taken = sorted({'environment_id', 'id', 'reward_shaping', 'render_mode'} & set(arguments))
    if taken:
        raise ConfigurationError(
            f'the arguments of {config.environment_id} have {", ".join(taken)}: leave that out, '
            f'environment_id and reward_shaping are settings of their own'
        )
    return simulator.make_environment(
        config.environment_id, reward_shaping=config.reward_shaping, **arguments
    )


def spec_of(config: EnvironmentConfig) -> EnvironmentSpec:
    """Return the spec of the environment.

    Raise ConfigurationError where training_arguments change what the policy observes or does.
    """
    evaluated = _made_spec(config, training=False)
    if not config.training_arguments:
        return evaluated
    trained = _made_spec(config, training=True)
    trained = dataclasses.replace(trained, environment_arguments=evaluated.environment_arguments)
    differences = evaluated.differences(trained)
    if differences:
        raise ConfigurationError(
            f'training_arguments make another environment of {config.environment_id}: '
            f'{"; ".join(differences)}; put them into environment_arguments'
        )
    return evaluated


def _made_spec(config: EnvironmentConfig, *, training: bool) -> EnvironmentSpec:
    environment = make(config, training=training)
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
