"""Lockstep: a step waits for the action that answers it, however long that takes."""

from rl_edge_core.loop.action_gate import Answer
from rl_edge_core.loop.control_loop import ControlLoop, Phase
from rl_edge_core.loop.events import AppliedAction


class Lockstep(ControlLoop):
    """Take a step at each answer, and publish the next observation before anything else.

    With the same seeds, versions and thread count the trajectory is the same bit for bit, and the
    same as that of the simulator's `rollout`, since nothing in it depends on when things happen.
    """

    _kept: AppliedAction | None = None

    def on_action(self, answer: Answer) -> None:
        """Take a step with the answer to the pending observation; keep it while paused."""
        applied = self._accept(answer)
        if applied is None:
            return
        if self.is_paused:
            self._kept = applied
        else:
            self._advance(applied)

    def _on_resume(self) -> None:
        if self._kept is not None:
            applied, self._kept = self._kept, None
            self._advance(applied)

    def _restart_ticks(self) -> None:
        pass

    def _forget_answers(self) -> None:
        self._kept = None

    def _is_waiting(self) -> bool:
        return super()._is_waiting() or (self.phase is Phase.RUNNING and not self.is_paused)
