"""Messages in the order of their arrival, though topics are emptied one after the other."""

from operator import attrgetter
from typing import Any, NamedTuple


class Received(NamedTuple):
    """One serialized message."""

    time_ns: int
    """When it arrived, system clock."""
    topic: Any
    data: bytes
    published_ns: int = 0
    """When it was published, system clock of the publisher; 0 where that is not known."""
    steady_ns: int = 0
    """When it arrived, steady clock; given by `ArrivalOrder`."""


class ArrivalOrder:
    """Hold messages back until no earlier one can come.

    A round empties the topics one by one. What arrives during a round is seen for the topics
    that are still to come but not for those done, so it waits for the end of the next round.

    Messages come with system time. It may be set while they wait, so they are ordered by steady
    time: system time less the clocks' difference, as it was when the round before began, or now,
    whichever puts the arrival between these two rounds.
    """

    def __init__(self) -> None:
        self._held: list[Received] = []
        self._began_ns = 0
        self._offset_ns: int | None = None

    def begin(self, *, system_ns: int, steady_ns: int) -> None:
        """Begin a round at this moment, read from both clocks."""
        offset_ns = system_ns - steady_ns
        self._earlier_offset_ns = offset_ns if self._offset_ns is None else self._offset_ns
        self._earlier_ns, self._began_ns = self._began_ns, steady_ns
        self._offset_ns = offset_ns

    def add(self, message: Received) -> None:
        """Take one message of the present round."""
        self._held.append(message._replace(steady_ns=self._steady_ns(message.time_ns)))

    def release(self) -> list[Received]:
        """End the round; return what is final, in order."""
        self._held.sort(key=attrgetter('steady_ns'))
        final = [message for message in self._held if message.steady_ns <= self._began_ns]
        del self._held[: len(final)]
        return final

    def release_all(self) -> list[Received]:
        """Return everything, in order."""
        self._held.sort(key=attrgetter('steady_ns'))
        final, self._held = self._held, []
        return final

    def _steady_ns(self, system_ns: int) -> int:
        now = system_ns - (self._offset_ns or 0)
        before = system_ns - self._earlier_offset_ns

        def distance(steady_ns: int) -> int:
            return max(self._earlier_ns - steady_ns, steady_ns - self._began_ns, 0)

        # Both are the same unless the clock was set meanwhile; then one is far off.
        return min(now, before, key=distance)
