"""Messages in the order of their arrival, though topics are emptied one after the other."""

from operator import itemgetter
from typing import Generic, NamedTuple, TypeVar

Topic = TypeVar('Topic')


class Received(NamedTuple, Generic[Topic]):
    """One serialized message."""

    time_ns: int
    """When it arrived, system clock."""
    topic: Topic
    data: bytes


class ArrivalOrder(Generic[Topic]):
    """Hold messages back until no earlier one can come.

    A round empties the topics one by one. What arrives during a round is seen for the topics
    that are still to come but not for those done, so it waits for the end of the next round.
    """

    def __init__(self) -> None:
        """Start with nothing held back."""
        self._held: list[Received[Topic]] = []

    def add(self, message: Received[Topic]) -> None:
        """Take one message of the present round."""
        self._held.append(message)

    def release(self, round_began_ns: int) -> list[Received[Topic]]:
        """End a round that began at ``round_began_ns``; return what is final, in order."""
        self._held.sort(key=itemgetter(0))
        final = [message for message in self._held if message.time_ns <= round_began_ns]
        del self._held[: len(final)]
        return final

    def release_all(self) -> list[Received[Topic]]:
        """Return everything, in order."""
        self._held.sort(key=itemgetter(0))
        final, self._held = self._held, []
        return final
