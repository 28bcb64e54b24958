"""What a control loop works with: the system it controls, its output, and the records of both."""

import math
from typing import NamedTuple, Protocol

import numpy as np

from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.episode_result import EndedBy, EpisodeResult
from rl_edge_core.loop.action_gate import ActionCounts


class ObservationEvent(NamedTuple):
    """An observation on its way to the policy."""

    episode: int
    step: int
    values: np.ndarray
    """float32, shape (observation_size,)."""
    time_ns: int
    """Simulated, or the system clock of a robot."""


class AppliedAction(NamedTuple):
    """An action that a step is taken with, and where it came from."""

    values: np.ndarray
    """Within the limits; float32, shape (action_size,)."""
    is_safe_action: bool = False
    model_hash: str = ''
    response_time_us: float = math.nan
    """Observation first published to answer received."""
    inference_time_us: float = math.nan
    received_ns: int = 0
    """Steady clock."""


class StepEvent(NamedTuple):
    """One step, complete in itself; made by the plant, published as a Transition."""

    episode: int
    step: int
    """Of ``observation``."""
    observation: np.ndarray
    applied: AppliedAction
    reward: float
    reward_terms: tuple[float, ...]
    """In the order of `Plant.term_names`; they sum to the reward."""
    next_observation: np.ndarray
    terminated: bool
    truncated: bool
    forward_position: float
    """In m; NaN where there is no forward coordinate."""
    time_ns: int
    """After the step, by the clock of `ObservationEvent.time_ns`."""


class EpisodeEvent(NamedTuple):
    """One finished episode."""

    episode: int
    result: EpisodeResult
    counts: ActionCounts
    model_hash: str
    """Of the last applied action; empty when no policy acted."""
    time_ns: int
    """At its end, by the clock of `ObservationEvent.time_ns`."""


class Plant(Protocol):
    """The system under control: a simulation or a robot, episode after episode."""

    spec: EnvironmentSpec
    term_names: tuple[str, ...]
    """Of the parts of a reward."""
    episode: int
    """Number of the open episode; counts from 0 within the run."""
    step: int
    """Number of the present observation; counts from 0 within the episode."""
    observation: np.ndarray
    """The present one, float32, shape (observation_size,); never written to again."""
    time_ns: int
    """Of the present observation."""
    steps: int
    """Taken since the run began."""

    def begin_episode(self, episode: int, seed: int | None = None) -> None:
        """Begin an episode, with a seed of its own if one is given."""

    def advance(self, applied: AppliedAction) -> StepEvent:
        """Apply an action for a control period and take the next observation."""

    def result(self, ended_by: EndedBy) -> EpisodeResult:
        """Return what the open episode has come to."""


class LoopOutput(Protocol):
    """Where a loop sends what it produces."""

    def publish_observation(self, event: ObservationEvent) -> None:
        """Show the pending observation to the policy; again while it is unanswered."""

    def publish_step(self, event: StepEvent) -> None:
        """Publish a step, after the observation that it led to."""

    def publish_episode(self, event: EpisodeEvent) -> None:
        """Publish a finished episode."""

    def restart_ticks(self) -> None:
        """Let the next tick of real time come a whole period from now."""

    def finish(self, exit_code: int) -> None:
        """End the process once everything is published."""
