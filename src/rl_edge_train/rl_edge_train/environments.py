"""The environments that training runs in; here alone training meets the simulator."""

import dataclasses
import math
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
from rl_edge_sim.reward_terms import forward_position


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


@dataclass(frozen=True)
class EnvironmentStep:
    """What one step of a `TrainingEnvironment` led to."""

    reward: float
    next_observation: np.ndarray
    """float32, before any reset."""
    observation: np.ndarray
    """float32, to act on next: after a reset where the episode ended."""
    terminated: bool
    truncated: bool
    distance: float
    """Forward coordinate now minus that at the start of the episode, m; NaN without one."""


class TrainingEnvironment:
    """An environment whose episodes start anew by themselves.

    What a broken one returns is a BrokenEnvironmentError: see `make_environment`.
    """

    def __init__(self, config: EnvironmentConfig, *, training: bool) -> None:
        """Build the environment; call `reset` or `restore` before the first step.

        Without `training` it is as for an evaluation: see `make`.
        """
        self._environment = make(config, training=training)
        self._start = math.nan

    def reset(self, seed: int | None = None) -> np.ndarray:
        """Start an episode; return the observation."""
        observation, info = self._environment.reset(seed=seed)
        self._start = forward_position(info)
        return np.array(observation, np.float32)

    def step(self, action: np.ndarray) -> EnvironmentStep:
        """Take one step."""
        raw, reward, terminated, truncated, info = self._environment.step(action)
        following = np.array(raw, np.float32)
        distance = forward_position(info) - self._start
        observation = self.reset() if terminated or truncated else following
        return EnvironmentStep(
            float(reward), following, observation, terminated, truncated, distance
        )

    def snapshot(self) -> dict[str, np.ndarray]:
        """Return the state in mid-episode; empty where it cannot be saved."""
        if not is_mujoco(self._environment):
            return {}
        state = mujoco_state.snapshot(self._environment)
        return state | {'start': np.array(self._start)}

    def restore(self, state: Mapping[str, np.ndarray]) -> bool:
        """Go on where `snapshot` was taken; return whether the episode goes on."""
        if not state:
            return False
        physical = dict(state)
        # Checkpoints of earlier versions hold none: distances counted from the origin.
        self._start = float(physical.pop('start', 0.0))
        mujoco_state.restore(self._environment, physical)
        return True

    def close(self) -> None:
        """Free what the environment holds."""
        self._environment.close()
