"""The replay buffer: a ring of transitions that samples only what was stored."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class TransitionLayout:
    """Where each field of a transition lies in one row of float32 numbers."""

    observation_size: int
    """Leading inputs of an observation that are kept; the network never sees the others."""
    action_size: int
    """Actions are stored as applied, in the limits of the environment."""
    extras: Mapping[str, int] = field(default_factory=dict)
    """Widths of what an algorithm stores beside the transition; 0 is a scalar, as log_prob."""

    def fields(self) -> dict[str, int]:
        """Return the width of each field, in the order of the row; 0 is a scalar, one number."""
        return {
            'observation': self.observation_size,
            'action': self.action_size,
            'reward': 0,
            'next_observation': self.observation_size,
            'terminated': 0,
            'truncated': 0,
            **self.extras,
        }

    @property
    def width(self) -> int:
        """Return the float32 numbers in a row."""
        return sum(max(width, 1) for width in self.fields().values())

    def slices(self) -> dict[str, slice]:
        """Return the columns of each field."""
        columns, start = {}, 0
        for name, width in self.fields().items():
            columns[name] = slice(start, start + max(width, 1))
            start += max(width, 1)
        return columns

    def column(self, rows: Any, name: str) -> Any:
        """Return one field of rows (..., width), an array or a tensor; scalars lose the axis."""
        place = self.slices()[name]
        return rows[..., place] if self.fields()[name] else rows[..., place.start]

    def rows(self, transitions: Mapping[str, np.ndarray]) -> np.ndarray:
        """Pack named arrays (..., width of the field) into rows (..., width).

        Observations may be wider than what is kept of them.
        """
        shape = np.shape(transitions['reward'])
        rows = np.empty((*shape, self.width), np.float32)
        for name, place in self.slices().items():
            values = np.asarray(transitions[name], np.float32).reshape(*shape, -1)
            rows[..., place] = values[..., : place.stop - place.start]
        return rows


class ReplayBuffer:
    """A ring of the newest `capacity` transitions with uniform sampling."""

    def __init__(self, layout: TransitionLayout, *, capacity: int, seed: int) -> None:
        """Reserve the ring; `seed` starts the generator that picks the rows."""
        if capacity < 1:
            raise ValueError(f'replay capacity must be at least 1, got {capacity}')
        self.layout = layout
        self.capacity = capacity
        self.added = 0
        self._first = 0
        self.generator = np.random.default_rng(seed)
        self._rows = np.zeros((capacity, layout.width), np.float32)

    def __len__(self) -> int:
        """Return how many transitions can be sampled."""
        return min(self.added - self._first, self.capacity)

    def add(self, transitions: Mapping[str, np.ndarray]) -> np.ndarray:
        """Store a batch of transitions (each array (batch, ...)); return the rows as stored."""
        rows = self.layout.rows(transitions)
        self.add_rows(rows)
        return rows

    def add_rows(self, rows: np.ndarray) -> None:
        """Store packed rows (batch, width)."""
        places = (self.added + np.arange(len(rows))) % self.capacity
        self._rows[places] = rows
        self.added += len(rows)

    def sample(self, *shape: int) -> np.ndarray:
        """Return rows (*shape, width), drawn uniformly with replacement from what was stored."""
        if not len(self):
            raise ValueError('the replay buffer is empty: add transitions before sampling')
        return self.sample_sequences(*shape, length=1, stride=1)[..., 0, :]

    def sample_sequences(self, *shape: int, length: int, stride: int) -> np.ndarray:
        """Return sequences of rows (*shape, length, width), `stride` rows apart, drawn uniformly.

        Where `stride` environments add a row each at a time, a sequence is of one of them.
        """
        stored = len(self)
        begins = stored - (length - 1) * stride
        if begins < 1:
            raise ValueError(
                f'{stored} transitions are too few for sequences of {length}, {stride} apart: '
                'collect more before sampling'
            )
        first = self.generator.integers(0, begins, size=shape)[..., None]
        picked = self.added - stored + first + stride * np.arange(length)
        return self._rows[picked % self.capacity]

    def start_at(self, row: int) -> None:
        """Count from `row` on: the transitions before it are gone, as after a lost replay file."""
        self.added = self._first = row
