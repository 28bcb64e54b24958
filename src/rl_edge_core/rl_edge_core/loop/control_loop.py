"""What lockstep and real time have in common: episodes, answers, reset, pause and shutdown.

The loop is driven by calls, reads an injected steady clock, and hands what it produces to a
`LoopOutput`. All calls come from one thread.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from enum import Enum

import numpy as np

from rl_edge_core.episode_result import EndedBy
from rl_edge_core.errors import ConfigurationError
from rl_edge_core.loop.action_gate import ActionCounts, ActionGate, ActionKind, Answer
from rl_edge_core.loop.events import (
    AppliedAction,
    EpisodeEvent,
    LoopOutput,
    ObservationEvent,
    Plant,
)
from rl_edge_core.shared_parameters import LoopParameters

_NANOSECONDS = 1_000_000_000
_STALL_NS = 500_000_000
"""Time between two calls of `ControlLoop.on_timer` from which on this process itself stood still
(stopped, swapped out): what the policy sent meanwhile is still in a queue."""


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
        plant: Plant,
        output: LoopOutput,
        settings: LoopParameters,
        *,
        run_id: int,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Wait for a policy: the run begins when `on_timer` is told that there is one."""
        self.phase = Phase.WAITING
        self.is_paused = False
        self.failure = ''
        """Why the phase is FAILED."""
        self.missing = ''
        """Who was not connected yet when last looked, in phase WAITING."""
        self.refusal = ''
        """Why the policy refuses to act in this run; to be set by whoever hears of it."""
        self.last_fault = ''
        """Why the last rejected action was rejected."""
        self.rejected_actions = 0
        """Over the run."""
        self.dropped_periods = 0
        """Of real time: ticks left out since one before them was late; over the run."""
        self._plant, self._output, self._settings = plant, output, settings
        self._now_ns = now_ns
        self._spec, self._safe = plant.spec, plant.spec.safe
        self._gate = ActionGate(run_id)
        self._counts = ActionCounts()
        self._model_hash = ''
        self._counted_episodes = 0
        self._waiting_since_ns = self._timer_ns = now_ns()
        self._first_published_ns = self._last_published_ns = self._waiting_since_ns
        plant.begin_episode(0)

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

    def on_timer(self, *, missing: str = '') -> None:
        """Look after waiting: begin the run, publish again, give up. Call it every 0.1 s or less.

        ``missing`` names who is not connected yet, e.g. ``no policy``; it is read only before
        the run begins.
        """
        now_ns = self._now_ns()
        if now_ns - self._timer_ns > _STALL_NS:
            # Our own stall is not the policy's silence.
            self._waiting_since_ns = min(now_ns, self._waiting_since_ns + now_ns - self._timer_ns)
        self._timer_ns = now_ns
        if not self._is_waiting():
            return
        self.missing = missing
        may_fail = self._settings.on_policy_timeout == 'fail'
        if may_fail and (self.refusal or self.is_policy_silent):
            self._fail()
        elif self.phase is Phase.WAITING and not missing:
            self.phase = Phase.STARTING
            self._show_observation()
        elif self.phase is not Phase.WAITING:
            self._republish_when_due()

    def reset(self, seed: int | None = None) -> int:
        """End the open episode (reason RESET), begin the next and return its number.

        It begins with ``seed``, else with the run's own. Actions for the ended episode are late.
        While a policy is awaited the episode that is to come is begun anew. Raise
        ConfigurationError for a negative seed and for a run that is over.
        """
        if seed is not None and seed < 0:
            raise ConfigurationError(f'seed is {seed}, must be 0 or more')
        if self.phase in (Phase.FINISHED, Phase.FAILED):
            raise ConfigurationError('the run is over: start the simulator again')
        if self.phase is Phase.WAITING:
            self._plant.begin_episode(self._plant.episode, seed)
        else:
            self._end_episode(EndedBy.RESET)
            self._begin_episode(seed)
            self._restart_ticks()
        return self._plant.episode

    def pause(self, paused: bool) -> None:
        """Stop taking steps, or go on.

        A paused loop takes no step and does not count the policy as silent. An action that
        answers the pending observation while paused is kept, and taken when the loop goes on;
        others are classified and counted as ever.
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
    def on_action(self, answer: Answer) -> None:
        """Classify an action, and take or keep it when it answers the pending observation."""

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

    def _accept(self, answer: Answer) -> AppliedAction | None:
        """Return the action when it answers the pending observation; None, counted, otherwise."""
        now_ns = self._now_ns()
        if self.phase not in (Phase.STARTING, Phase.RUNNING):
            return None
        if self._gate.classify_action(answer, self._counts) is not ActionKind.ANSWER:
            return None
        self.phase = Phase.RUNNING
        values, fault = np.frombuffer(answer.values, np.float32), ''
        if not self._spec.contains(values.tolist()):
            fault = self._spec.fault_of_action(values)
            values = self._safe if fault else self._spec.limit(values)
        if fault:
            self._counts.rejected += 1
            self.rejected_actions += 1
            self.last_fault = fault
        return AppliedAction(
            values,
            is_safe_action=bool(fault) or answer.safe_action,
            model_hash='' if fault else answer.model_hash,
            response_time_us=(now_ns - self._first_published_ns) / 1000,
            inference_time_us=answer.inference_time_us,
            received_ns=now_ns,
        )

    def _advance(self, applied: AppliedAction) -> None:
        event = self._plant.advance(applied)
        is_over = event.terminated or event.truncated
        if not is_over:
            # Before everything else: the policy computes while the step is published.
            self._show_observation()
        if applied.is_safe_action:
            self._counts.safe += 1
        if applied.model_hash:
            self._model_hash = applied.model_hash
        self._output.publish_step(event)
        if not is_over:
            return
        self._end_episode(EndedBy.TERMINATION if event.terminated else EndedBy.TIME_LIMIT)
        self._counted_episodes += 1
        if self._counted_episodes == self._settings.episodes:
            self.phase = Phase.FINISHED
            self._output.finish(0)
        else:
            self._begin_episode()

    def _begin_episode(self, seed: int | None = None) -> None:
        self._plant.begin_episode(self._plant.episode + 1, seed)
        self._forget_answers()
        self._show_observation()

    def _end_episode(self, ended_by: EndedBy) -> None:
        plant = self._plant
        self._output.publish_episode(
            EpisodeEvent(
                episode=plant.episode,
                result=plant.result(ended_by),
                counts=self._counts,
                model_hash=self._model_hash,
                time_ns=plant.time_ns,
            )
        )
        self._counts = ActionCounts()
        self._model_hash = ''

    def _show_observation(self) -> None:
        self._gate.expect(self._plant.episode, self._plant.step)
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
        plant = self._plant
        self._output.publish_observation(
            ObservationEvent(plant.episode, plant.step, plant.observation, plant.time_ns)
        )

    def _fail(self) -> None:
        plant, timeout_sec = self._plant, self._timeout_sec()
        if self.refusal:
            self.failure = f'the policy refuses to act: {self.refusal}'
        elif self.phase is Phase.WAITING:
            self.failure = (
                f'{self.missing} connected within {timeout_sec:g} s: start it in the same '
                f'namespace, or set on_policy_timeout to wait'
            )
        else:
            self.failure = (
                f'the policy left the observation of episode {plant.episode}, step '
                f'{plant.step} unanswered for {timeout_sec:g} s: look at its policy_status, '
                f'or set on_policy_timeout to wait'
            )
        if self.phase is not Phase.WAITING:
            self._counts.missed += 1
            self._end_episode(EndedBy.POLICY_TIMEOUT)
        self.phase = Phase.FAILED
        self._output.finish(1)
