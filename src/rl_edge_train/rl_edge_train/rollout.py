"""Acting and stepping for a while, where the environments are; it needs no TensorFlow."""

from collections.abc import Callable, Sequence

import numpy as np

from rl_edge_train.acting import Decision
from rl_edge_train.environments import EnvironmentStep


def rolled_out(
    observation: np.ndarray,
    steps: int,
    *,
    decide: Callable[[np.ndarray], Decision],
    step: Callable[[np.ndarray], Sequence[EnvironmentStep]],
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Act and step; return the transitions, and the observations to act on next.

    Observations are (environments, observation_size); `step` takes actions (environments,
    action_size). Transitions are arrays (steps, environments, ...) by the names of a
    `TransitionLayout`, with the forward `distance` of the open episodes beside them, m.
    """
    parts: list[dict[str, np.ndarray]] = []
    for _ in range(steps):
        decision = decide(observation)
        outcomes = step(decision.action)
        parts.append(
            {
                'observation': observation,
                'action': decision.action,
                'reward': np.array([one.reward for one in outcomes], np.float32),
                'next_observation': np.stack([one.next_observation for one in outcomes]),
                'terminated': np.array([one.terminated for one in outcomes], np.float32),
                'truncated': np.array([one.truncated for one in outcomes], np.float32),
                'distance': np.array([one.distance for one in outcomes]),
                **decision.extras,
            }
        )
        observation = np.stack([one.observation for one in outcomes])
    # Packed together: step by step it would take longer than acting.
    return {name: np.stack([part[name] for part in parts]) for name in parts[0]}, observation
