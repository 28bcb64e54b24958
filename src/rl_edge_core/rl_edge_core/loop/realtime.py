"""Real time: a step at each tick of the steady clock, whether or not the policy kept up."""

import time
from collections.abc import Callable

from rl_edge_core.loop.action_gate import Answer
from rl_edge_core.loop.control_loop import ControlLoop, Phase
from rl_edge_core.loop.events import AppliedAction, LoopOutput, Plant
from rl_edge_core.shared_parameters import LoopParameters

_NANOSECONDS = 1_000_000_000


class Realtime(ControlLoop):
    """Take a step at each tick with what the policy has answered by then.

    Without an answer in time the last action of the episode is held; when it is older than
    ``action_max_age_sec``, when it was rejected, and before the first, the safe action is
    applied instead.

    The first observation of a run stays until it is answered, as in lockstep: policies load for
    seconds. From then on nothing waits.

    Overload: a tick that comes late takes one step, and the periods it missed are dropped, not
    made up for, so that simulated time falls behind instead of the policy being rushed. They are
    counted in `dropped_periods`.
    """

    def __init__(
        self,
        plant: Plant,
        output: LoopOutput,
        settings: LoopParameters,
        *,
        run_id: int,
        real_time_factor: float = 1.0,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Tick at the environment's control period divided by ``real_time_factor``."""
        super().__init__(plant, output, settings, run_id=run_id, now_ns=now_ns)
        self.period_sec = plant.spec.control_period_sec / real_time_factor
        self.is_holding_safe_action = False
        """Whether the last step was taken with the safe action for want of a fresh one."""
        self._answer: AppliedAction | None = None
        self._held: AppliedAction | None = None
        self._last_tick_ns: int | None = None

    def on_action(self, answer: Answer) -> None:
        """Keep the answer to the pending observation for the next tick."""
        applied = self._accept(answer)
        if applied is not None:
            if self._last_tick_ns is None and not self.is_paused:
                self._restart_ticks()
            self._answer = applied

    def on_tick(self) -> None:
        """Take a step. Call it at each period of the steady clock."""
        if self.phase is not Phase.RUNNING or self.is_paused:
            return
        now_ns = self._now_ns()
        if self._last_tick_ns is not None:
            periods = (now_ns - self._last_tick_ns) / (self.period_sec * _NANOSECONDS)
            self.dropped_periods += max(0, round(periods) - 1)
        self._last_tick_ns = now_ns
        applied = self._answer
        if applied is None:
            self._counts.missed += 1
            applied = self._without_answer(now_ns)
        else:
            self._held = None if applied.is_safe_action else applied
            self.is_holding_safe_action = False
        self._answer = None
        self._advance(applied)

    def _without_answer(self, now_ns: int) -> AppliedAction:
        held = self._held
        max_age_ns = self._settings.action_max_age_sec * _NANOSECONDS
        self.is_holding_safe_action = held is None or now_ns - held.received_ns > max_age_ns
        if held is None or self.is_holding_safe_action:
            return AppliedAction(self._safe, is_safe_action=True)
        return AppliedAction(held.values, model_hash=held.model_hash, received_ns=held.received_ns)

    def _on_resume(self) -> None:
        pass

    def _restart_ticks(self) -> None:
        self._last_tick_ns = self._now_ns()
        self._output.restart_ticks()

    def _forget_answers(self) -> None:
        self._answer = self._held = None
