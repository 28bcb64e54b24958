"""One environment run episode after episode: seeds, simulated time and the open episode."""

from array import array
from collections.abc import Mapping
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from rl_edge_core.episode_result import EndedBy, EpisodeResult
from rl_edge_sim.environment import spec_of
from rl_edge_sim.open_episode import OpenEpisode, forward_position
from rl_edge_sim.reward_terms import find_reward_terms
from rl_edge_sim.termination import termination_reason

_NANOSECONDS = 1_000_000_000


class Outcome(NamedTuple):
    """What one step led to."""

    reward: float
    reward_terms: tuple[float, ...]
    """In the order of `Simulation.term_names`; they sum to the reward."""
    terminated: bool
    truncated: bool
    forward_position: float
    """In m; NaN where the environment has no forward coordinate."""


class Simulation:
    """Run the episodes of one run, each reset with a seed of its own.

    Episode k resets with ``seed + k`` unless `begin_episode` is told otherwise. Simulated time
    grows by one control period at each step and at each reset, so that it is monotonic over the
    run and no two observations share a stamp.
    """

    def __init__(self, env: gymnasium.Env, *, seed: int) -> None:
        """Take ``env``, from `make_environment`, and leave it as it is until the first episode."""
        wrapper = find_reward_terms(env)
        self.env = env
        self.spec = spec_of(env)
        self.term_names = wrapper.term_names if wrapper else ()
        self.episode = 0
        """Number of the open episode; counts from 0 within the run."""
        self.step = 0
        """Number of the present observation; counts from 0 within the episode."""
        self.observation = array('f')
        """The present observation, float32, as messages take it without a copy."""
        self.time_ns = 0
        """Simulated time of the present observation, in ns."""
        self.steps = 0
        """Taken since the run began."""
        self._seed = seed
        self._period_ns = round(self.spec.control_period_sec * _NANOSECONDS)
        self._open: OpenEpisode | None = None

    def begin_episode(self, episode: int, seed: int | None = None) -> None:
        """Reset the environment for an episode."""
        episode_seed = self._seed + episode if seed is None else seed
        raw, info = self.env.reset(seed=episode_seed)
        if self._open is not None:
            self.time_ns += self._period_ns
        self._open = OpenEpisode(episode_seed, info, self.term_names)
        self.episode, self.step = episode, 0
        self.observation = _to_field(raw)

    def advance(self, action: np.ndarray) -> Outcome:
        """Apply ``action``, float32 of shape (action_size,), and take the next observation."""
        assert self._open is not None
        raw, reward, terminated, truncated, info = self.env.step(action)
        outcome = Outcome(
            reward=float(reward),
            reward_terms=_terms(info),
            terminated=bool(terminated),
            truncated=bool(truncated),
            forward_position=forward_position(info),
        )
        self._open.add(outcome.reward, outcome.reward_terms, outcome.forward_position)
        if outcome.terminated:
            self._open.termination_reason = termination_reason(self.env, info)
        self.step += 1
        self.steps += 1
        self.time_ns += self._period_ns
        self.observation = _to_field(raw)
        return outcome

    def result(self, ended_by: EndedBy) -> EpisodeResult:
        """Return what the open episode has come to."""
        assert self._open is not None
        return self._open.result(ended_by, control_period_sec=self.spec.control_period_sec)


def _terms(info: Mapping[str, Any]) -> tuple[float, ...]:
    return tuple(info['reward_terms'].values()) if 'reward_terms' in info else ()


def _to_field(raw: Any) -> array:
    return array('f', np.asarray(raw, np.float32).tobytes())
