"""Take the jumps of the recorder's clock out of the times of recording.

A computer without a battery starts in 1970 and is set right by NTP minutes later; a suspended one
sleeps. Neither span is one in which the loop ran.
"""

from collections.abc import Hashable

from rl_edge_eval.bag.messages import Notes

LARGEST_STEP_BACK_SEC = 1.0
"""Messages of one topic that are further back than that mean that the clock was set back; nearer
ones that writing threads overtook each other."""
LONGEST_SILENCE_SEC = 10.0
"""Nodes report once per second: without any message for longer, none of them ran, or the clock
was set forward."""


class TimeAxis:
    """Place times of recording on an axis without jumps."""

    def __init__(self, notes: Notes) -> None:
        """Start before the first message; jumps go to ``notes``."""
        self._notes = notes
        self._shift_ns = 0
        self._newest_ns: int | None = None
        self._newest_of: dict[Hashable, int] = {}
        self.breaks_ns: list[int] = []
        """Where jumps were taken out, on this axis: the first time behind each."""

    def place(self, topic: Hashable, time_ns: int) -> int:
        """Return where a message of ``topic`` belongs, given in the order of the file."""
        placed = time_ns + self._shift_ns
        newest = self._newest_ns
        if newest is None:
            self._newest_ns = newest = placed
        back_sec = (self._newest_of.get(topic, placed) - placed) * 1e-9
        ahead_sec = (placed - newest) * 1e-9
        if back_sec > LARGEST_STEP_BACK_SEC:
            self._notes.add(
                f'the clock was set back by about {-ahead_sec:.4g} s during the recording: '
                f'that moment is left out of rates'
            )
            placed = self._break(newest, placed)
        elif ahead_sec > LONGEST_SILENCE_SEC:
            self._notes.add(
                f'nothing was recorded for {ahead_sec:.4g} s, or the clock was set forward: that '
                f'span is left out of rates'
            )
            placed = self._break(newest, placed)
        self._newest_ns = max(newest, placed)
        self._newest_of[topic] = placed
        return placed

    def _break(self, newest: int, placed: int) -> int:
        self._shift_ns += newest + 1 - placed
        self.breaks_ns.append(newest + 1)
        self._newest_of.clear()
        return newest + 1
