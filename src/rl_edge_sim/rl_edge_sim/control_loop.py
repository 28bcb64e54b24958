"""What lockstep and real time have in common: episodes, answers, reset, pause and shutdown.

No ROS here: the loop is driven by calls, reads an injected steady clock, and hands what it
produces to an `Outlet`. All calls come from one thread.
"""

import math
import time
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol

import numpy as np

from rl_edge_core.episode_result import EndedBy, EpisodeResult
from rl_edge_core.errors import ConfigurationError
from rl_edge_sim.action_gate import ActionCounts, ActionGate, Answer, Verdict
from rl_edge_sim.simulation import Simulation

_NANOSECONDS = 1_000_000_000


class Observed(NamedTuple):
    """An observation on its way to the policy."""

    episode: int
    step: int
    values: array
    """float32, shape (observation_size,)."""
    time_ns: int
    """Simulated."""


class Taken(NamedTuple):
    """An action that a step is taken with, and where it came from."""

    action: np.ndarray
    """Within the limits; float32, shape (action_size,)."""
    is_safe_action: bool = False
    model_hash: str = ''
    response_time_us: float = math.nan
    """Observation first published to answer received."""
    inference_time_us: float = math.nan
    received_ns: int = 0
    """Steady clock."""


class Stepped(NamedTuple):
    """One step, complete in itself."""

    episode: int
    step: int
    observation: array
    taken: Taken
    reward: float
    reward_terms: tuple[float, ...]
    next_observation: array
    terminated: bool
    truncated: bool
    forward_position: float
    time_ns: int
    """Simulated, after the step."""


class Finished(NamedTuple):
    """One finished episode."""

    episode: int
    result: EpisodeResult
    counts: ActionCounts
    model_hash: str
    """Of the last applied action; empty when no policy acted."""
    time_ns: int
    """Simulated, at its end."""


class Outlet(Protocol):
    """Where a loop sends what it produces."""

    def publish_observation(self, observed: Observed) -> None:
        """Show the pending observation to the policy; again while it is unanswered."""

    def publish_step(self, stepped: Stepped) -> None:
        """Publish a step, after the observation that it led to."""

    def publish_episode(self, finished: Finished) -> None:
        """Publish a finished episode."""

    def restart_ticks(self) -> None:
        """Let the next tick of real time come a whole period from now."""

    def finish(self, exit_code: int) -> None:
        """End the process once everything is published."""


@dataclass(frozen=True)
class LoopSettings:
    """What a loop is told. Times are of the steady clock."""

    run_id: int
    episodes: int = 0
    """After which the run ends; 0 for none. Those that a reset ended do not count."""
    on_policy_timeout: str = 'fail'
    """``fail`` or ``wait``."""
    policy_timeout_sec: float = 10.0
    """From which a policy that leaves an observation unanswered counts as silent."""
    first_action_timeout_sec: float = 60.0
    """The same for the start of a run, while policies load their models."""
    republish_period_sec: float = 0.5
    """After which an unanswered observation is published again."""
    action_max_age_sec: float = 0.2
    """In real time: how long an action is held when no newer one comes."""


class Phase(Enum):
    """What a loop is doing."""

    WAITING = 'waiting for a policy'
    """Nothing is published until a policy, and whoever else is awaited, is connected."""
    STARTING = 'waiting for the first action'
    """The first observation of the run is published and unanswered."""
    RUNNING = 'running'
    FINISHED = 'finished'
    """All episodes are run, or the loop was closed."""
    FAILED = 'failed'


class ControlLoop(ABC):
    """Take steps with the answers to observations."""

    def __init__(
        self,
        simulation: Simulation,
        outlet: Outlet,
        settings: LoopSettings,
        *,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Wait for a policy: the run begins when `on_timer` is told that there is one."""
        self.phase = Phase.WAITING
        self.is_paused = False
        self.failure = ''
        """Why the phase is FAILED."""
        self.missing = ''
        """Who was not connected yet when last looked, in phase WAITING."""
        self.last_fault = ''
        """Why the last rejected action was rejected."""
        self.rejected_actions = 0
        """Over the run."""
        self._simulation, self._outlet, self._settings = simulation, outlet, settings
        self._now_ns = now_ns
        self._safe = simulation.spec.safe
        self._low, self._high = simulation.spec.low, simulation.spec.high
        self._gate = ActionGate(settings.run_id)
        self._counts = ActionCounts()
        self._model_hash = ''
        self._counted_episodes = 0
        self._waiting_since_ns = now_ns()
        self._first_published_ns = self._last_published_ns = self._waiting_since_ns
        simulation.begin_episode(0)

    @property
    def silent_sec(self) -> float:
        """Return for how long the loop has waited for an answer, in s; 0 while it does not."""
        if not self._is_waiting():
            return 0.0
        return (self._now_ns() - self._waiting_since_ns) / _NANOSECONDS

    @property
    def is_policy_silent(self) -> bool:
        """Return whether the policy has been silent for longer than it may."""
        return self.silent_sec > self._timeout_sec()

    def on_action(self, answer: Answer) -> None:
        """Judge an action, and take or keep it when it answers the pending observation."""
        now_ns = self._now_ns()
        if self.phase not in (Phase.STARTING, Phase.RUNNING):
            return
        if self._gate.judge(answer, self._counts) is Verdict.ANSWERS:
            self.phase = Phase.RUNNING
            self._on_answer(self._to_taken(answer, now_ns))

    def on_timer(self, *, missing: str = '') -> None:
        """Look after waiting: begin the run, publish again, give up. Call it every 0.1 s or less.

        ``missing`` names who is not connected yet, e.g. ``no policy``; it is read only before
        the run begins.
        """
        if not self._is_waiting():
            return
        self.missing = missing
        if self.phase is Phase.WAITING and not missing:
            self.phase = Phase.STARTING
            self._show_observation()
        elif self.is_policy_silent and self._settings.on_policy_timeout == 'fail':
            self._fail()
        elif self.phase is not Phase.WAITING:
            self._republish_when_due()

    def reset(self, seed: int | None = None) -> int:
        """End the open episode (reason RESET), begin the next and return its number.

        It begins with ``seed``, else with the run's own. Actions for the ended episode are late.
        Before the run has begun the first episode is begun anew. Raise ConfigurationError for a
        negative seed and for a run that is over.
        """
        if seed is not None and seed < 0:
            raise ConfigurationError(f'seed is {seed}, must be 0 or more')
        if self.phase in (Phase.FINISHED, Phase.FAILED):
            raise ConfigurationError('the run is over: start the simulator again')
        if self.phase is Phase.WAITING:
            self._simulation.begin_episode(0, seed)
        else:
            self._end_episode(EndedBy.RESET)
            self._begin_episode(seed)
            self._restart_ticks()
        return self._simulation.episode

    def pause(self, paused: bool) -> None:
        """Stop taking steps, or go on.

        A paused loop takes no step and does not count the policy as silent. An action that
        answers the pending observation while paused is kept, and taken when the loop goes on;
        others are judged and counted as ever.
        """
        if paused == self.is_paused:
            return
        self.is_paused = paused
        if not paused:
            self._waiting_since_ns = self._now_ns()
            self._restart_ticks()
            self._on_resume()

    def close(self) -> None:
        """Publish the open episode, if there is one, as ended by SHUTDOWN."""
        if self.phase in (Phase.STARTING, Phase.RUNNING):
            self._end_episode(EndedBy.SHUTDOWN)
        if self.phase is not Phase.FAILED:
            self.phase = Phase.FINISHED

    @abstractmethod
    def _on_answer(self, taken: Taken) -> None:
        """Use the answer to the pending observation, now or later."""

    @abstractmethod
    def _on_resume(self) -> None:
        """Go on after a pause."""

    @abstractmethod
    def _restart_ticks(self) -> None:
        """Give the policy a whole control period from now, where periods are of the clock."""

    @abstractmethod
    def _forget_answers(self) -> None:
        """Drop actions that were kept: they belong to an episode that is over."""

    def _is_waiting(self) -> bool:
        """Return whether the loop can't go on without a policy."""
        return self.phase in (Phase.WAITING, Phase.STARTING) and not self.is_paused

    def _timeout_sec(self) -> float:
        if self.phase is Phase.RUNNING:
            return self._settings.policy_timeout_sec
        return self._settings.first_action_timeout_sec

    def _to_taken(self, answer: Answer, now_ns: int) -> Taken:
        fault = self._simulation.spec.fault_of_action(answer.values)
        if fault:
            self._counts.rejected += 1
            self.rejected_actions += 1
            self.last_fault = fault
        return Taken(
            # np.clip does the same at five times the cost.
            action=self._safe
            if fault
            else np.minimum(np.maximum(answer.values, self._low), self._high),
            is_safe_action=bool(fault) or answer.safe_action,
            model_hash='' if fault else answer.model_hash,
            response_time_us=(now_ns - self._first_published_ns) / 1000,
            inference_time_us=answer.inference_time_us,
            received_ns=now_ns,
        )

    def _advance(self, taken: Taken) -> None:
        simulation = self._simulation
        episode, step, observation = simulation.episode, simulation.step, simulation.observation
        outcome = simulation.advance(taken.action)
        is_over = outcome.terminated or outcome.truncated
        if not is_over:
            # Before everything else: the policy computes while the step is published.
            self._show_observation()
        if taken.is_safe_action:
            self._counts.safe += 1
        if taken.model_hash:
            self._model_hash = taken.model_hash
        self._outlet.publish_step(
            Stepped(
                episode,
                step,
                observation,
                taken,
                outcome.reward,
                outcome.reward_terms,
                simulation.observation,
                outcome.terminated,
                outcome.truncated,
                outcome.forward_position,
                simulation.time_ns,
            )
        )
        if is_over:
            self._go_on(EndedBy.TERMINATION if outcome.terminated else EndedBy.TIME_LIMIT)

    def _go_on(self, ended_by: EndedBy) -> None:
        self._end_episode(ended_by)
        self._counted_episodes += 1
        if self._counted_episodes == self._settings.episodes:
            self.phase = Phase.FINISHED
            self._outlet.finish(0)
        else:
            self._begin_episode()

    def _begin_episode(self, seed: int | None = None) -> None:
        self._simulation.begin_episode(self._simulation.episode + 1, seed)
        self._forget_answers()
        self._show_observation()

    def _end_episode(self, ended_by: EndedBy) -> None:
        simulation = self._simulation
        self._outlet.publish_episode(
            Finished(
                episode=simulation.episode,
                result=simulation.result(ended_by),
                counts=self._counts,
                model_hash=self._model_hash,
                time_ns=simulation.time_ns,
            )
        )
        self._counts = ActionCounts()
        self._model_hash = ''

    def _show_observation(self) -> None:
        simulation = self._simulation
        self._gate.expect(simulation.episode, simulation.step)
        now_ns = self._now_ns()
        self._first_published_ns = self._last_published_ns = self._waiting_since_ns = now_ns
        self._publish_observation()

    def _republish_when_due(self) -> None:
        # For a policy that started late or again, and for a message that was lost.
        now_ns = self._now_ns()
        due_ns = self._last_published_ns + self._settings.republish_period_sec * _NANOSECONDS
        if now_ns >= due_ns and not self._gate.is_answered:
            self._last_published_ns = now_ns
            self._publish_observation()

    def _publish_observation(self) -> None:
        simulation = self._simulation
        self._outlet.publish_observation(
            Observed(
                simulation.episode, simulation.step, simulation.observation, simulation.time_ns
            )
        )

    def _fail(self) -> None:
        simulation, timeout_sec = self._simulation, self._timeout_sec()
        if self.phase is Phase.WAITING:
            self.failure = (
                f'{self.missing} connected within {timeout_sec:g} s: start it in the same '
                f'namespace, or set on_policy_timeout to wait'
            )
        else:
            self.failure = (
                f'the policy left the observation of episode {simulation.episode}, step '
                f'{simulation.step} unanswered for {timeout_sec:g} s: look at its policy_status, '
                f'or set on_policy_timeout to wait'
            )
            self._counts.missed += 1
            self._end_episode(EndedBy.POLICY_TIMEOUT)
        self.phase = Phase.FAILED
        self._outlet.finish(1)
