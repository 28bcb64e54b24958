"""Tell lost, doubled and reordered transitions apart by run, episode and step."""

from dataclasses import dataclass, field
from enum import Enum


class Arrival(Enum):
    """What one transition is, in the light of those before it."""

    IN_ORDER = 'in order'
    REORDERED = 'reordered'
    """New, but one with a later step or episode came first."""
    DUPLICATE = 'duplicate'
    """Its address was seen before: it must not be used again."""


@dataclass
class _Episode:
    highest: int = -1
    missing: set[int] = field(default_factory=set)
    """Steps below the highest that have not arrived."""
    length: int = 0
    """In steps, once it is known."""

    @property
    def lost(self) -> int:
        return len(self.missing) + max(0, self.length - 1 - self.highest)

    def arrive(self, step: int) -> Arrival:
        if step > self.highest:
            self.missing.update(range(self.highest + 1, step))
            self.highest = step
            return Arrival.IN_ORDER
        if step in self.missing:
            self.missing.remove(step)
            return Arrival.REORDERED
        return Arrival.DUPLICATE


class TransitionSequence:
    """Follow the transitions of one robot; memory is a few numbers an episode, and one a gap.

    Steps count from 0 in each episode, so a gap is certain as soon as a later step arrives. How
    many were lost at the end of an episode is known once `end_episode` tells its length.
    """

    def __init__(self) -> None:
        self._episodes: dict[tuple[int, int], _Episode] = {}
        self._newest: tuple[int, int] | None = None
        self.received = 0
        self.duplicates = 0
        self.reordered = 0

    @property
    def lost(self) -> int:
        """Return how many transitions are missing so far; a late arrival takes one back."""
        return sum(episode.lost for episode in self._episodes.values())

    def arrive(self, run_id: int, episode: int, step: int) -> Arrival:
        """Take note of one transition and tell what it is."""
        key = (run_id, episode)
        arrival = self._of(key).arrive(step)
        # Runs have random numbers: of two runs neither is older, the robot was started again.
        newest = self._newest
        is_older = newest is not None and newest[0] == run_id and key < newest
        if arrival is Arrival.IN_ORDER and is_older:
            arrival = Arrival.REORDERED
        elif arrival is Arrival.IN_ORDER:
            self._newest = key
        self.received += 1
        self.duplicates += arrival is Arrival.DUPLICATE
        self.reordered += arrival is Arrival.REORDERED
        return arrival

    def end_episode(self, run_id: int, episode: int, length: int) -> None:
        """Take note of an episode's length in steps, which shows what its end has lost.

        It comes on another topic, so transitions may still arrive after it, in order.
        """
        self._of((run_id, episode)).length = length

    def _of(self, key: tuple[int, int]) -> _Episode:
        found = self._episodes.get(key)
        if found is None:
            found = self._episodes[key] = _Episode()
        return found
