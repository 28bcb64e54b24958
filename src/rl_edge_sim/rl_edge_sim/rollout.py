"""The one rollout: training, evaluation and tests run episodes through it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.episode_result import EndedBy, EpisodeResult
from rl_edge_core.errors import RlEdgeError
from rl_edge_core.loop.episode_accumulator import EpisodeAccumulator
from rl_edge_sim.environment import spec_of
from rl_edge_sim.reward_terms import find_reward_terms, forward_position
from rl_edge_sim.termination import termination_reason


@dataclass(frozen=True)
class RolloutStep:
    """One step of a rollout, as `rollout` hands it to ``on_step``."""

    seed: int
    """Of the episode."""
    step: int
    """Of ``observation``; counts from 0 within the episode."""
    observation: np.ndarray
    """float32, shape (observation_size,)."""
    action: np.ndarray
    """As applied: limited to the action space; float32, shape (action_size,)."""
    reward: float
    next_observation: np.ndarray
    terminated: bool
    truncated: bool
    info: Mapping[str, Any]
    """What the environment said of the step; ``reward_terms`` among it."""


OnStep = Callable[[RolloutStep], None]
ActionOf = Callable[[np.ndarray], np.ndarray]


def rollout(
    env: gymnasium.Env, policy: ActionOf, seeds: Iterable[int], on_step: OnStep | None = None
) -> list[EpisodeResult]:
    """Run one episode for each seed, each reset with it, and return what they came to.

    ``policy`` maps a float32 observation, shape (observation_size,), to an action, shape
    (action_size,), which is limited to the action space. Observations and actions are float32, as
    over ROS 2, so the sim node in lockstep runs the same trajectory bit for bit. ``env`` comes
    from `make_environment`. Raise RlEdgeError for an action that is misshapen or not finite.
    """
    spec = spec_of(env)
    return [_run_episode(env, policy, seed, spec=spec, on_step=on_step) for seed in seeds]


def _run_episode(
    env: gymnasium.Env,
    policy: ActionOf,
    seed: int,
    *,
    spec: EnvironmentSpec,
    on_step: OnStep | None,
) -> EpisodeResult:
    wrapper = find_reward_terms(env)
    term_names = wrapper.term_names if wrapper else ()
    raw, info = env.reset(seed=seed)
    # A copy: environments may use their array again.
    observation = np.array(raw, np.float32)
    episode = EpisodeAccumulator(seed, forward_position(info), term_names)
    while True:
        action = _limited(spec, policy(observation))
        raw, reward, terminated, truncated, info = env.step(action)
        next_observation = np.array(raw, np.float32)
        terms = tuple(info['reward_terms'].values()) if wrapper else ()
        episode.add(float(reward), terms, forward_position(info))
        if on_step is not None:
            on_step(
                RolloutStep(
                    seed=seed,
                    step=episode.length - 1,
                    observation=observation,
                    action=action,
                    reward=float(reward),
                    next_observation=next_observation,
                    terminated=bool(terminated),
                    truncated=bool(truncated),
                    info=info,
                )
            )
        observation = next_observation
        if terminated or truncated:
            if terminated:
                episode.termination_reason = termination_reason(env, info)
            ended_by = EndedBy.TERMINATION if terminated else EndedBy.TIME_LIMIT
            return episode.result(ended_by, control_period_sec=spec.control_period_sec)


def _limited(spec: EnvironmentSpec, action: np.ndarray) -> np.ndarray:
    values = np.asarray(action, np.float32)
    fault = spec.fault_of_action(values)
    if fault:
        raise RlEdgeError(f'the policy of the rollout is broken: {fault}')
    return spec.limit(values)
