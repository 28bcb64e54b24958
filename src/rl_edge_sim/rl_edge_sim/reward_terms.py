"""Rewards as named terms: the environment's own, and the study's shaping on top.

The study rewarded progress, punished standing still and a low torso, but read them from guessed
observation indices. Here progress comes from ``info['x_position']`` and height from ``torso.z``.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, SupportsFloat, TypeVar

import gymnasium
import numpy as np

from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.errors import ConfigurationError
from rl_edge_sim.environment_faults import CheckedCalls

Wrapper = TypeVar('Wrapper', bound=gymnasium.Wrapper)

FORWARD_POSITION_KEY = 'x_position'
"""Where Gymnasium's locomotion environments report the forward coordinate, in m."""
SHAPING_TERMS = ('progress', 'stillness', 'low_torso')

_PREFIX = 'reward_'
_REST, _WHOLE = 'other', 'reward'
_ROUNDING = 1e-9
"""Share of the terms up to which what they leave unexplained is rounding."""


def progress_reward(forward_progress: float, *, weight: float = 5.0) -> float:
    """Return ``weight`` for each m of forward progress in a step."""
    return weight * forward_progress


def stillness_penalty(still_steps: int, *, patience: int = 20, penalty: float = 20.0) -> float:
    """Return ``-penalty`` at the step that makes more than ``patience`` without moving."""
    return -penalty if still_steps > patience else 0.0


def low_torso_penalty(torso_height: float, *, limit: float = 0.3, penalty: float = 1.0) -> float:
    """Return ``-penalty`` while the torso is lower than ``limit``, both in m."""
    return -penalty if torso_height < limit else 0.0


@dataclass
class StudyShaping:
    """The study's three terms, with the little state that they need within an episode."""

    height_index: int
    """Of the torso's height in the observation."""
    moving_from: float = 0.005
    """Displacement in a step from which it counts as moving, in m (0.1 m/s at 20 Hz).

    The study does not say; this is well above the Ant's settling and below a slow walk.
    """
    patience: int = 20
    """Steps without moving that are free; the penalty falls on the next, and they count anew."""
    still_steps: int = 0
    position: tuple[float, float] = (0.0, 0.0)
    """Of the torso in the plane at the last step, in m."""

    def begin(self, info: Mapping[str, Any]) -> None:
        """Start an episode from the info of its reset."""
        self.still_steps, self.position = 0, _position(info)

    def terms(self, observation: np.ndarray, info: Mapping[str, Any]) -> tuple[float, ...]:
        """Return the values of `SHAPING_TERMS` for one step."""
        (old_x, old_y), (x, y) = self.position, _position(info)
        self.position = x, y
        moved = math.hypot(x - old_x, y - old_y) >= self.moving_from
        self.still_steps = 0 if moved else self.still_steps + 1
        stillness = stillness_penalty(self.still_steps, patience=self.patience)
        if stillness:
            self.still_steps = 0
        height = float(observation[self.height_index])
        return progress_reward(x - old_x), stillness, low_torso_penalty(height)


def study_shaping(spec: EnvironmentSpec) -> StudyShaping:
    """Return the shaping for an environment; raise ConfigurationError where it has no torso."""
    if 'torso.z' not in spec.observation_names:
        raise ConfigurationError(
            f'reward_shaping study needs the observation torso.z, which {spec.environment_id} '
            f'does not have: use reward_shaping none or an environment such as Ant-v5'
        )
    return StudyShaping(spec.observation_names.index('torso.z'))


def forward_position(info: Mapping[str, Any]) -> float:
    """Return the forward coordinate in ``info``, in m; NaN where the environment has none."""
    return float(info.get(FORWARD_POSITION_KEY, math.nan))


class RewardTerms(gymnasium.Wrapper):
    """Publish each term of a reward in ``info['reward_terms']``; they sum to the reward.

    The environment's own terms come first, under the names of its ``info`` without ``reward_``;
    what they leave unexplained is ``other``, and ``reward`` where it names none. Without shaping
    the reward itself is untouched. What a broken environment returns is a
    `BrokenEnvironmentError`.
    """

    def __init__(self, env: gymnasium.Env, shaping: StudyShaping | None) -> None:
        """Wrap ``env``, after one step in it that shows which terms it names."""
        super().__init__(env)
        self.shaping = shaping
        self._calls = CheckedCalls(env)
        # Later terms, and what is in no term, are in the rest, which is always there.
        low, high = self.action_space.low, self.action_space.high  # type: ignore[attr-defined]
        self._calls.reset(seed=0)
        info = self._calls.step(np.clip(np.zeros_like(low), low, high))[-1]
        names = [
            key.removeprefix(_PREFIX)
            for key, value in info.items()
            if key.startswith(_PREFIX) and np.ndim(value) == 0
        ]
        own_terms = (*(n for n in names if n != _REST), _REST) if names else (_WHOLE,)
        self.term_names = own_terms + (SHAPING_TERMS if shaping else ())
        self._named = tuple(
            (name, _PREFIX + name) for name in own_terms if name not in (_REST, _WHOLE)
        )
        self._rest = _WHOLE if own_terms == (_WHOLE,) else _REST

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the environment and the shaping's state."""
        observation, info = self._calls.reset(seed=seed, options=options)
        if self.shaping is not None:
            self.shaping.begin(info)
        return observation, info

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step the environment and add the terms to ``info``."""
        observation, reward, terminated, truncated, info = self._calls.step(action)
        terms = {name: float(info.get(key, 0.0)) for name, key in self._named}
        rest = reward - sum(terms.values())
        is_rounding = abs(rest) <= _ROUNDING * sum(map(abs, terms.values()))
        terms[self._rest] = 0.0 if is_rounding else rest
        if self.shaping is not None:
            shaped = self.shaping.terms(observation, info)
            terms.update(zip(SHAPING_TERMS, shaped, strict=True))
            reward += sum(shaped)
        info['reward_terms'] = terms
        return observation, reward, terminated, truncated, info


def find_wrapper(env: gymnasium.Env, kind: type[Wrapper]) -> Wrapper | None:
    """Return the outermost wrapper of ``env`` that is of a kind, if there is one."""
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, kind):
            return env
        env = env.env
    return None


def _position(info: Mapping[str, Any]) -> tuple[float, float]:
    return float(info[FORWARD_POSITION_KEY]), float(info.get('y_position', 0.0))
