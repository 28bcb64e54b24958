"""Reset and step with every answer checked: a broken environment is named, not passed on."""

import math
from typing import Any

import gymnasium
import numpy as np

from rl_edge_core.errors import RlEdgeError


class BrokenEnvironmentError(RlEdgeError):
    """An environment raised, or returned what Gymnasium's interface does not allow."""


def checked_reset(
    env: gymnasium.Env, *, seed: int | None = None
) -> tuple[np.ndarray, dict[str, Any]]:
    """Reset; return the observation, a float32 copy of shape (observation_size,), and the info.

    Raise BrokenEnvironmentError, naming the environment and the field, when the environment
    raises or returns something else.
    """
    try:
        observation, info = env.reset(seed=seed)
    except Exception as error:
        raise _broken(env, 'reset', f'raised {_said(error)}') from error
    return _observation(env, observation, 'reset'), _info(env, info, 'reset')


def checked_step(
    env: gymnasium.Env, action: np.ndarray, *, step: int
) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
    """Step; return observation (a float32 copy), reward, terminated, truncated and info.

    `step` counts from 1 within the episode and is named in a BrokenEnvironmentError, together
    with the environment and the field.
    """
    place = f'step {step}'
    try:
        observation, reward, terminated, truncated, info = env.step(action)
    except Exception as error:
        hint = ''
        if isinstance(error, ValueError) and 'unpack' in str(error):
            hint = ': step must return observation, reward, terminated, truncated and info'
        raise _broken(env, place, f'raised {_said(error)}{hint}') from error
    return (
        _observation(env, observation, place),
        _reward(env, reward, place),
        _flag(env, 'terminated', terminated, place),
        _flag(env, 'truncated', truncated, place),
        _info(env, info, place),
    )


def _observation(env: gymnasium.Env, values: Any, place: str) -> np.ndarray:
    shape = env.observation_space.shape
    try:
        observation = np.array(values, np.float32)
    except (TypeError, ValueError) as error:
        raise _broken(env, place, f'observation is {_short(values)}: no numbers') from error
    if observation.shape != shape:
        raise _broken(env, place, f'observation has shape {observation.shape}, must be {shape}')
    if not math.isfinite(observation.sum()) and not np.isfinite(observation).all():
        index = int(np.flatnonzero(~np.isfinite(observation))[0])
        raise _broken(env, place, f'observation[{index}] is {observation[index]}')
    return observation


def _reward(env: gymnasium.Env, value: Any, place: str) -> float:
    try:
        reward = float(value)
    except (TypeError, ValueError) as error:
        raise _broken(env, place, f'reward is {_short(value)}: no number') from error
    if not math.isfinite(reward):
        raise _broken(env, place, f'reward is {reward}')
    return reward


def _flag(env: gymnasium.Env, name: str, value: Any, place: str) -> bool:
    if isinstance(value, bool | np.bool_):
        return bool(value)
    raise _broken(env, place, f'{name} is {_short(value)}, must be True or False')


def _info(env: gymnasium.Env, value: Any, place: str) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise _broken(env, place, f'info is {_short(value)}, must be a dictionary')


def _broken(env: gymnasium.Env, place: str, what: str) -> BrokenEnvironmentError:
    name = env.spec.id if env.spec is not None else str(env)
    return BrokenEnvironmentError(f'environment {name} is broken: in {place} {what}')


def _said(error: Exception) -> str:
    return f'{type(error).__name__}: {error}'


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f'{text[:57]}...'
