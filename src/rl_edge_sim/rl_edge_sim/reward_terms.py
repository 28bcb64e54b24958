"""Rewards as named terms: the environment's own, and the study's shaping on top.

The study rewarded progress, punished standing still and a low torso, but read them from guessed
observation indices. Here progress comes from ``info['x_position']`` and height from ``torso.z``.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, SupportsFloat

import gymnasium
import numpy as np

from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.errors import ConfigurationError
from rl_edge_core.observation_layout import ObservationLayout

FORWARD_POSITION_KEY = 'x_position'
"""Where Gymnasium's locomotion environments report the forward coordinate, in m."""
SHAPING_TERMS = ('progress', 'stillness', 'low_torso')

_PREFIX = 'reward_'
_REST, _WHOLE = 'other', 'reward'
_ROUNDING = 1e-6
_PROBE_STEPS = 5


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
    try:
        height_index = ObservationLayout(spec.observation_names).index('torso.z')
    except ConfigurationError as error:
        raise ConfigurationError(
            f'reward_shaping study needs the observation torso.z, which {spec.environment_id} '
            f'does not have: use reward_shaping none or an environment such as Ant-v5'
        ) from error
    return StudyShaping(height_index)


class RewardTerms(gymnasium.Wrapper):
    """Publish each term of a reward in ``info['reward_terms']``; they sum to the reward.

    The environment's own terms come first, under the names of its ``info`` without ``reward_``;
    what they leave unexplained is ``other``, and ``reward`` where it names none. Without shaping
    the reward itself is untouched.
    """

    def __init__(
        self, env: gymnasium.Env, own_terms: tuple[str, ...], shaping: StudyShaping | None
    ) -> None:
        """Wrap ``env``; ``own_terms`` are what `names_in` returns."""
        super().__init__(env)
        self.shaping = shaping
        self.term_names = own_terms + (SHAPING_TERMS if shaping else ())
        self._named = tuple(
            (name, _PREFIX + name) for name in own_terms if name not in (_REST, _WHOLE)
        )
        self._rest = next((name for name in own_terms if name in (_REST, _WHOLE)), '')

    @staticmethod
    def names_in(env: gymnasium.Env) -> tuple[str, ...]:
        """Return the names of the environment's own terms, by taking some steps in it."""
        env.reset(seed=0)
        env.action_space.seed(0)
        names: dict[str, None] = {}
        explained = True
        for _ in range(_PROBE_STEPS):
            _, reward, terminated, truncated, info = env.step(env.action_space.sample())
            terms = {key: float(info[key]) for key in info if _is_term(key, info[key])}
            names.update(dict.fromkeys(key.removeprefix(_PREFIX) for key in terms))
            explained = explained and abs(float(reward) - sum(terms.values())) < _ROUNDING
            if terminated or truncated:
                env.reset()
        if not names:
            return (_WHOLE,)
        return tuple(names) if explained else (*names, _REST)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the environment and the shaping's state."""
        observation, info = self.env.reset(seed=seed, options=options)
        if self.shaping is not None:
            self.shaping.begin(info)
        return observation, info

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step the environment and add the terms to ``info``."""
        observation, own_reward, terminated, truncated, info = self.env.step(action)
        reward = float(own_reward)
        terms = {name: float(info.get(key, 0.0)) for name, key in self._named}
        if self._rest:
            terms[self._rest] = reward - sum(terms.values())
        if self.shaping is not None:
            shaped = self.shaping.terms(observation, info)
            terms.update(zip(SHAPING_TERMS, shaped, strict=True))
            reward += sum(shaped)
        info['reward_terms'] = terms
        return observation, reward, terminated, truncated, info


def find_reward_terms(env: gymnasium.Env) -> RewardTerms | None:
    """Return the `RewardTerms` among the wrappers of ``env``, if there is one."""
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, RewardTerms):
            return env
        env = env.env
    return None


def _is_term(key: str, value: Any) -> bool:
    return key.startswith(_PREFIX) and np.ndim(value) == 0


def _position(info: Mapping[str, Any]) -> tuple[float, float]:
    return float(info[FORWARD_POSITION_KEY]), float(info.get('y_position', 0.0))
