"""The one rollout: training, evaluation and tests run episodes through it."""

import sys
from collections.abc import Callable, Iterable

import gymnasium
import numpy as np

from rl_edge_core.episode_result import EndedBy, EpisodeResult
from rl_edge_core.errors import RlEdgeError
from rl_edge_core.loop.events import AppliedAction, StepEvent
from rl_edge_sim.simulation import Simulation

OnStep = Callable[[StepEvent], object]
"""Hears of each step; its episode is always 0."""
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
    simulation, results = Simulation(env, seed=0), []
    for seed in seeds:
        simulation.begin_episode(0, seed)
        is_over = False
        while not is_over:
            action = np.asarray(policy(simulation.observation), np.float32)
            fault = simulation.spec.fault_of_action(action)
            if fault:
                raise RlEdgeError(f'the policy of the rollout is broken: {fault}')
            event = simulation.advance(AppliedAction(simulation.spec.limit(action)))
            if on_step is not None:
                on_step(event)
            is_over = event.terminated or event.truncated
        ended_by = EndedBy.TERMINATION if event.terminated else EndedBy.TIME_LIMIT
        results.append(simulation.result(ended_by))
    return results


def visited_observations(
    env: gymnasium.Env, policy: ActionOf, seeds: Iterable[int], *, least_steps: int = sys.maxsize
) -> np.ndarray:
    """Return the observations, float32 (count, observation_size), that ``policy`` meets.

    Whole episodes run, one for each seed, until there are ``least_steps`` or no more seeds.
    """
    seen: list[np.ndarray] = []
    for seed in seeds:
        rollout(env, policy, [seed], lambda step: seen.append(step.observation))
        if len(seen) >= least_steps:
            break
    return np.asarray(seen)
