"""Which incoming action answers the pending observation, and what the others are."""

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Protocol

_REMEMBERED_MISSES = 1000


class Answer(Protocol):
    """An action as it came in, with the fields of Action.msg."""

    run_id: int
    """With `episode` and `step` the address of the observation that it answers."""
    episode: int
    step: int
    values: Any
    """float32 values in one dimension, as many as were sent, in an object with a buffer."""
    model_hash: str
    inference_time_us: float
    safe_action: bool
    """The policy rejected the observation and says so."""


class ActionKind(Enum):
    """What an incoming action is."""

    ANSWER = auto()
    """The first answer to the pending observation."""
    LATE = auto()
    """For a step of this run that went on without it, or of an earlier episode."""
    DUPLICATE = auto()
    """For a step already answered."""
    FOREIGN = auto()
    """For another run, or for an observation that this run has not published."""


@dataclass
class ActionCounts:
    """Count, over one episode, what came in and what was missing."""

    missed: int = 0
    """Control periods without an action that answers them."""
    late: int = 0
    duplicate: int = 0
    foreign: int = 0
    rejected: int = 0
    """Answers that were not finite or of the wrong size."""
    safe: int = 0
    """Steps on which the safe action was applied instead."""

    def __iadd__(self, other: 'ActionCounts') -> 'ActionCounts':
        for name, count in vars(other).items():
            setattr(self, name, getattr(self, name) + count)
        return self


class ActionGate:
    """Classify actions by their address: (run_id, episode, step)."""

    def __init__(self, run_id: int) -> None:
        """Start with nothing published: every action is foreign."""
        self._run_id = run_id
        self._pending = (-1, -1)
        self._is_answered = True
        self._last_answered = (-1, -1)
        self._missed: deque[int] = deque(maxlen=_REMEMBERED_MISSES)

    @property
    def is_answered(self) -> bool:
        """Return whether the pending observation has its answer."""
        return self._is_answered

    def expect(self, episode: int, step: int) -> None:
        """Make an observation the pending one. Without an answer the one before was missed."""
        if episode != self._pending[0]:
            self._missed.clear()
        elif not self._is_answered:
            self._missed.append(self._pending[1])
        self._pending = (episode, step)
        self._is_answered = False

    def classify_action(self, answer: Answer, counts: ActionCounts) -> ActionKind:
        """Return what ``answer`` is, and count it unless it answers the pending observation."""
        address = (answer.episode, answer.step)
        if answer.run_id == self._run_id and address == self._pending and not self._is_answered:
            self._is_answered = True
            self._last_answered = address
            return ActionKind.ANSWER
        if answer.run_id != self._run_id or address > self._pending:
            counts.foreign += 1
            return ActionKind.FOREIGN
        is_answered = address in (self._pending, self._last_answered)
        is_of_episode = answer.episode == self._pending[0]
        if is_answered or (is_of_episode and answer.step not in self._missed):
            counts.duplicate += 1
            return ActionKind.DUPLICATE
        counts.late += 1
        return ActionKind.LATE
