"""Lockstep: a step waits for the action that answers it, however long that takes."""

from rl_edge_sim.control_loop import ControlLoop, Phase, Taken


class Lockstep(ControlLoop):
    """Take a step at each answer, and publish the next observation before anything else.

    With the same seeds, versions and thread count the trajectory is the same bit for bit, and the
    same as that of `rollout`, since nothing in it depends on when things happen.
    """

    _kept: Taken | None = None

    def _on_answer(self, taken: Taken) -> None:
        if self.is_paused:
            self._kept = taken
        else:
            self._advance(taken)

    def _on_resume(self) -> None:
        if self._kept is not None:
            taken, self._kept = self._kept, None
            self._advance(taken)

    def _restart_ticks(self) -> None:
        pass

    def _forget_answers(self) -> None:
        self._kept = None

    def _is_waiting(self) -> bool:
        return super()._is_waiting() or (self.phase is Phase.RUNNING and not self.is_paused)
