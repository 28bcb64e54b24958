"""The replay buffer together with its journal: what is stored, sampled and resumed as one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rl_edge_train.replay import ReplayBuffer, TransitionLayout
from rl_edge_train.replay_journal import ReplayJournal


class ReplayStore:
    """Keep transitions in memory to sample from, and on disk to resume from."""

    def __init__(
        self, layout: TransitionLayout, *, capacity: int, seed: int, folder: Path
    ) -> None:
        """Start empty; the journal is written below `folder`."""
        self.capacity = capacity
        self._buffer = ReplayBuffer(layout, capacity=capacity, seed=seed)
        self._journal = ReplayJournal(folder / 'replay', width=layout.width)
        self._added_at_checkpoint = 0

    def __len__(self) -> int:
        """Return how many transitions can be sampled."""
        return len(self._buffer)

    def add(self, transitions: Mapping[str, np.ndarray]) -> int:
        """Store a batch of transitions (each array (batch, ...)); return how many."""
        rows = self._buffer.layout.rows(transitions)
        self.add_rows(rows)
        return len(rows)

    def add_rows(self, rows: np.ndarray) -> None:
        """Store packed rows (batch, width)."""
        self._buffer.add_rows(rows)
        self._journal.append(rows)

    def sample(self, *shape: int) -> np.ndarray:
        """Return rows (*shape, width), drawn uniformly from what was stored."""
        return self._buffer.sample(*shape)

    def sample_sequences(self, *shape: int, length: int, stride: int) -> np.ndarray:
        """Return sequences of rows (*shape, length, width), `stride` rows apart."""
        return self._buffer.sample_sequences(*shape, length=length, stride=stride)

    def state(self) -> dict[str, Any]:
        """Return JSON values to go on from, with everything on disk."""
        self._journal.flush()
        return {
            'replay_added': self._buffer.added,
            'replay_stored': len(self._buffer),
            'replay_generator': self._buffer.generator.bit_generator.state,
        }

    def after_checkpoint(self) -> None:
        """Drop journal segments that no kept checkpoint needs."""
        oldest_kept, self._added_at_checkpoint = self._added_at_checkpoint, self._buffer.added
        self._journal.drop_before(oldest_kept - self.capacity)

    def load_state(self, state: Mapping[str, Any]) -> str:
        """Go on from `state`; return what a person should know about it."""
        self._added_at_checkpoint = 0
        loaded = self._journal.load_into(self._buffer, written=state['replay_added'])
        self._buffer.generator.bit_generator.state = state['replay_generator']
        wanted = min(state['replay_stored'], self.capacity)
        if loaded == wanted:
            return f'{loaded} transitions of replay'
        return (
            f'only {loaded} of {wanted} transitions of replay are left: learning goes on as the '
            'buffer refills with new ones'
        )

    def close(self) -> None:
        """Close the files."""
        self._journal.close()
