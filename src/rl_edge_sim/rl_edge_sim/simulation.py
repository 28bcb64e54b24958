"""One environment run episode after episode: seeds, simulated time, and why episodes end."""

from collections.abc import Mapping
from typing import Any

import gymnasium
import mujoco
import numpy as np

from rl_edge_core.episode_result import EndedBy, EpisodeAccumulator, EpisodeResult
from rl_edge_core.loop.events import AppliedAction, StepEvent
from rl_edge_sim.environment import spec_of
from rl_edge_sim.mujoco_names import is_mujoco
from rl_edge_sim.reward_terms import RewardTerms, find_wrapper, forward_position

_NANOSECONDS = 1_000_000_000
TERMINATED = 'terminated'
"""Where the environment does not tell, and its limits are not known."""
REASON_KEY = 'termination_reason'
"""Key of ``info`` under which an environment of one's own may tell why it ended an episode."""


class Simulation:
    """Run the episodes of one run, each reset with a seed of its own: the `Plant` of the sim.

    Episode k resets with ``seed + k`` unless `begin_episode` is told otherwise. Simulated time
    grows by one control period at each step and at each reset, so that it is monotonic over the
    run and no two observations share a stamp.
    """

    def __init__(self, env: gymnasium.Env, *, seed: int) -> None:
        """Take ``env``, from `make_environment`, and leave it as it is until the first episode."""
        wrapper = find_wrapper(env, RewardTerms)
        self.env = env
        self.spec = spec_of(env)
        self.term_names = wrapper.term_names if wrapper else ()
        self.episode = self.step = self.steps = 0
        self.observation = np.empty(0, np.float32)
        self.time_ns = 0
        self._seed = seed
        self._period_ns = round(self.spec.control_period_sec * _NANOSECONDS)
        self._open: EpisodeAccumulator | None = None

    def begin_episode(self, episode: int, seed: int | None = None) -> None:
        """Reset the environment for an episode."""
        episode_seed = self._seed + episode if seed is None else seed
        raw, info = self.env.reset(seed=episode_seed)
        if self._open is not None:
            self.time_ns += self._period_ns
        self._open = EpisodeAccumulator(episode_seed, forward_position(info), self.term_names)
        self.episode, self.step = episode, 0
        self.observation = np.array(raw, np.float32)

    def advance(self, applied: AppliedAction) -> StepEvent:
        """Step the environment by a control period."""
        assert self._open is not None
        raw, reward, terminated, truncated, info = self.env.step(applied.values)
        terms = tuple(info['reward_terms'].values()) if self.term_names else ()
        position = forward_position(info)
        self._open.add(float(reward), terms, position)
        if terminated:
            self._open.termination_reason = termination_reason(self.env, info)
        self.time_ns += self._period_ns
        event = StepEvent(
            self.episode,
            self.step,
            self.observation,
            applied,
            float(reward),
            terms,
            np.array(raw, np.float32),
            bool(terminated),
            bool(truncated),
            position,
            self.time_ns,
        )
        self.observation = event.next_observation
        self.step += 1
        self.steps += 1
        return event

    def result(self, ended_by: EndedBy) -> EpisodeResult:
        """Return what the open episode has come to."""
        assert self._open is not None
        return self._open.result(ended_by, control_period_sec=self.spec.control_period_sec)


def termination_reason(env: gymnasium.Env, info: Mapping[str, Any]) -> str:
    """Return why ``env`` has just ended an episode, before any reset.

    What the environment says in ``info['termination_reason']`` counts. For Gymnasium's MuJoCo
    robots the limit that the state has left is named: ``torso too high``, ``torso too low``,
    ``torso angle out of limits``, ``state not finite`` or ``state out of limits``. Others are
    ``terminated``.
    """
    said = info.get(REASON_KEY)
    if isinstance(said, str) and said:
        return said
    if not is_mujoco(env):
        return TERMINATED
    robot: Any = env.unwrapped
    state = np.concatenate([robot.data.qpos, robot.data.qvel])
    if not np.isfinite(state).all():
        return 'state not finite'
    free = robot.model.njnt and robot.model.jnt_type[0] == mujoco.mjtJoint.mjJNT_FREE
    height, angle = (state[2], None) if free else state[1:3]
    low, high = getattr(robot, '_healthy_z_range', (-np.inf, np.inf))
    if height > high:
        return 'torso too high'
    if height < low:
        return 'torso too low'
    low, high = getattr(robot, '_healthy_angle_range', (-np.inf, np.inf))
    if angle is not None and not low < angle < high:
        return 'torso angle out of limits'
    return 'state out of limits' if hasattr(robot, '_healthy_state_range') else TERMINATED
