"""The replay buffer together with its journal: what is stored, sampled and resumed as one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rl_edge_train.replay import ReplayBuffer, TransitionLayout
from rl_edge_train.replay_journal import ReplayJournal


class ReplayStore(ReplayBuffer):
    """Keep transitions in memory to sample from, and on disk to resume from."""

    def __init__(
        self, layout: TransitionLayout, *, capacity: int, seed: int, folder: Path
    ) -> None:
        """Start empty; the journal is written below `folder`."""
        super().__init__(layout, capacity=capacity, seed=seed)
        self._journal = ReplayJournal(folder / 'replay', width=layout.width)
        self._added_at_checkpoint = 0

    def add_rows(self, rows: np.ndarray) -> None:
        """Store packed rows (batch, width)."""
        super().add_rows(rows)
        self._journal.append(rows)

    def state(self) -> dict[str, Any]:
        """Return JSON values to go on from, with everything on disk."""
        self._journal.flush()
        return {
            'replay_added': self.added,
            'replay_stored': len(self),
            'replay_generator': self.generator.bit_generator.state,
        }

    def after_checkpoint(self) -> None:
        """Drop journal segments that no kept checkpoint needs."""
        oldest_kept, self._added_at_checkpoint = self._added_at_checkpoint, self.added
        self._journal.drop_before(oldest_kept - self.capacity)

    def load_state(self, state: Mapping[str, Any]) -> str:
        """Go on from `state`; return what a person should know about it."""
        self._added_at_checkpoint = 0
        loaded = self._journal.load_into(self, written=state['replay_added'])
        self.generator.bit_generator.state = state['replay_generator']
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
