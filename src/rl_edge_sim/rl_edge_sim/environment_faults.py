"""What a broken environment returns, named with environment, field and step."""

import math
import traceback
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from rl_edge_core.errors import RlEdgeError

LARGEST_REWARD = 1e18
"""Its square fits float32, in which algorithms take means of squares; that of 2e19 does not."""


class BrokenEnvironmentError(RlEdgeError):
    """An environment raised, or returned what Gymnasium's interface does not allow."""


class CheckedCalls:
    """Call an environment, and raise BrokenEnvironmentError for what it may not return."""

    def __init__(self, env: gymnasium.Env) -> None:
        """Check what ``env``, whose observations are vectors, returns."""
        self._env = env
        self._shape = env.observation_space.shape
        self._seed: int | None = None
        self._step = -1

    def reset(self, **arguments: Any) -> tuple[np.ndarray, dict[str, Any]]:
        """Return the observation and the info of a reset."""
        self._seed, self._step = arguments.get('seed'), -1
        try:
            returned = self._env.reset(**arguments)
        except Exception as error:
            raise self._raised(error) from error
        if not isinstance(returned, tuple) or len(returned) != 2:
            raise self._fault(
                f'reset returned {_short(returned)}, must return (observation, info)'
            )
        observation, info = returned
        if not isinstance(info, dict):
            raise self._fault(f'info is {_short(info)}, must be a dict')
        return self._checked(observation), info

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Return what a step led to."""
        self._step += 1
        try:
            observation, reward, terminated, truncated, info = self._env.step(action)
            reward = float(reward)
        except Exception as error:
            raise self._raised(error) from error
        if not abs(reward) <= LARGEST_REWARD:
            raise self._fault(
                f'reward is {reward:g}, must be finite and within {LARGEST_REWARD:g} (its square '
                f'must fit float32): scale the rewards'
            )
        return self._checked(observation), reward, bool(terminated), bool(truncated), info

    def _checked(self, observation: Any) -> np.ndarray:
        try:
            values = np.asarray(observation, np.float64)
        except (TypeError, ValueError):
            raise self._fault(f'observation is {_short(observation)}, must be numbers') from None
        if values.shape != self._shape:
            raise self._fault(
                f'observation has shape {values.shape}, its space says {self._shape}'
            )
        # Finite for every sane observation; what is not gets a closer look.
        if not math.isfinite(values.dot(values)) and not np.isfinite(values).all():
            index = int(np.flatnonzero(~np.isfinite(values))[0])
            raise self._fault(f'observation[{index}] is {values[index]}, must be finite')
        return np.asarray(observation)

    def _raised(self, error: Exception) -> BrokenEnvironmentError:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        hint = ''
        if 'unpack' in str(error):
            hint = (
                ': step must return (observation, reward, terminated, truncated, info), reset '
                '(observation, info)'
            )
        where = f'{Path(frame.filename).name}:{frame.lineno}'
        return self._fault(f'{type(error).__name__} in {where}: {error}{hint}')

    def _fault(self, what: str) -> BrokenEnvironmentError:
        name = self._env.spec.id if self._env.spec else str(self._env)
        call = 'at its reset' if self._step < 0 else f'at step {self._step}'
        seed = '' if self._seed is None else f' of the episode with seed {self._seed}'
        return BrokenEnvironmentError(f'environment {name} is broken {call}{seed}: {what}')


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return f'{len(value)} values'
    text = repr(value)
    return text if len(text) <= 60 else f'{type(value).__name__}'
