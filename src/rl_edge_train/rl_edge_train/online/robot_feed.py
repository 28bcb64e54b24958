"""What one robot sends: checked, counted, and handed on once each."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.episode_result import EpisodeResult
from rl_edge_core.transition_sequence import Arrival, TransitionSequence

EPISODE_WINDOW = 20
"""Latest episodes that the mean return is taken over."""


@dataclass(frozen=True)
class ReceivedTransition:
    """One transition as it came off the wire; arrays are float32."""

    run_id: int
    episode: int
    step: int
    observation: np.ndarray
    """(observation_size,)"""
    action: np.ndarray
    """(action_size,), as applied."""
    reward: float
    next_observation: np.ndarray
    terminated: bool
    truncated: bool

    def fields(self) -> dict[str, Any]:
        """Return what a replay buffer stores."""
        return {
            'observation': self.observation,
            'action': self.action,
            'reward': np.float32(self.reward),
            'next_observation': self.next_observation,
            'terminated': np.float32(self.terminated),
            'truncated': np.float32(self.truncated),
        }


class RobotFeed:
    """Follow the transitions and episodes of one robot."""

    def __init__(self, spec: EnvironmentSpec) -> None:
        """Accept transitions of the environment that `spec` describes."""
        self.spec = spec
        self.sequence = TransitionSequence()
        self.rejected = 0
        self.fault = ''
        """Why the last rejected transition was rejected."""
        self.episodes = 0
        self._latest: deque[EpisodeResult] = deque(maxlen=EPISODE_WINDOW)

    def take(self, transition: ReceivedTransition) -> Mapping[str, Any] | None:
        """Return the fields to store, or None for a duplicate or a malformed transition."""
        fault = self._fault_of(transition)
        if fault:
            self.rejected += 1
            self.fault = fault
            return None
        arrival = self.sequence.arrive(transition.run_id, transition.episode, transition.step)
        return None if arrival is Arrival.DUPLICATE else transition.fields()

    def end_episode(self, run_id: int, episode: int, result: EpisodeResult) -> None:
        """Take note of a finished episode."""
        self.sequence.end_episode(run_id, episode, result.length)
        self.episodes += 1
        self._latest.append(result)

    def latest_episodes(self) -> list[EpisodeResult]:
        """Return the newest episodes, oldest first."""
        return list(self._latest)

    def _fault_of(self, transition: ReceivedTransition) -> str:
        if not math.isfinite(transition.reward):
            return f'reward is {transition.reward}, must be finite'
        return (
            self.spec.fault_of_observation(transition.observation)
            or self.spec.fault_of_action(transition.action)
            or self.spec.fault_of_observation(transition.next_observation)
        )
