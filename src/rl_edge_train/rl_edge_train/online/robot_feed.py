"""What one robot sends: checked, counted, and handed on once each."""

import math
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.episode_result import EpisodeResult
from rl_edge_core.transition_sequence import Arrival, TransitionSequence

EPISODE_WINDOW = 20
"""Latest episodes that the mean return is taken over."""


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

    def take(self, message: Any) -> Mapping[str, Any] | None:
        """Return the fields of a Transition to store, or None for a duplicate or malformed one."""
        fields = fields_of(message)
        if fault := self._fault_of(fields):
            self.rejected += 1
            self.fault = fault
            return None
        arrival = self.sequence.arrive(message.run_id, message.episode, message.step)
        return None if arrival is Arrival.DUPLICATE else fields

    def end_episode(self, run_id: int, episode: int, result: EpisodeResult) -> None:
        """Take note of a finished episode."""
        self.sequence.end_episode(run_id, episode, result.length)
        self.episodes += 1
        self._latest.append(result)

    def latest_episodes(self) -> list[EpisodeResult]:
        """Return the newest episodes, oldest first."""
        return list(self._latest)

    def _fault_of(self, fields: Mapping[str, Any]) -> str:
        if not math.isfinite(fields['reward']):
            return f'reward is {fields["reward"]}, must be finite'
        return (
            self.spec.fault_of_observation(fields['observation'])
            or self.spec.fault_of_action(fields['action'])
            or self.spec.fault_of_observation(fields['next_observation'])
        )


def fields_of(message: Any) -> dict[str, Any]:
    """Return what a replay buffer stores of a Transition, in float32."""
    names = ('observation', 'action', 'reward', 'next_observation', 'terminated', 'truncated')
    # Copies: the message may be filled anew.
    return {name: np.array(getattr(message, name), np.float32)[()] for name in names}
