"""The replay buffer on disk: segments of rows, appended to, so that nothing is rewritten."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from rl_edge_core.files import storage_errors
from rl_edge_train.replay import ReplayBuffer, TransitionLayout

SEGMENT_ROWS = 100_000


class ReplayJournal:
    """Append every row that the buffer takes to `folder`; drop segments that no buffer needs."""

    def __init__(self, folder: Path, *, width: int) -> None:
        """Write rows of `width` float32."""
        self.folder, self.width = folder, width
        self._file: BinaryIO | None = None
        self._segment = -1
        self.written = 0

    def append(self, rows: np.ndarray) -> None:
        """Append rows (batch, width); raise StorageError when the disk is full."""
        while len(rows):
            segment, within = divmod(self.written, SEGMENT_ROWS)
            part = rows[: SEGMENT_ROWS - within]
            with storage_errors(self.folder):
                self._open(segment, fresh=not within).write(
                    np.ascontiguousarray(part, '<f4').tobytes()
                )
            self.written += len(part)
            rows = rows[len(part) :]

    def flush(self) -> None:
        """Bring everything appended to the disk."""
        if self._file is not None:
            with storage_errors(self.folder):
                self._file.flush()
                os.fsync(self._file.fileno())

    def drop_before(self, row: int) -> None:
        """Remove segments that end before `row`."""
        for path in self._paths():
            if (int(path.stem) + 1) * SEGMENT_ROWS <= row:
                path.unlink(missing_ok=True)

    def load_into(self, buffer: ReplayBuffer, *, written: int) -> int:
        """Fill an empty buffer with the rows before `written`, cut later ones; return how many.

        Only the unbroken end counts. When the newest segment is missing or short, nothing is
        left to go on from: the journal starts afresh at the next segment.
        """
        self.close()
        self._cut(written)
        parts: list[np.ndarray] = []
        end, first = written, max(0, written - buffer.capacity)
        while end > first:
            start = (end - 1) // SEGMENT_ROWS * SEGMENT_ROWS
            rows = self._read(start // SEGMENT_ROWS)
            if len(rows) < end - start:
                break
            parts.append(rows[max(first - start, 0) : end - start])
            end = start
        self.written = written
        if written and not parts:
            for path in self._paths():
                path.unlink()
            self.written = -(-written // SEGMENT_ROWS) * SEGMENT_ROWS
        buffer.start_at(self.written - sum(map(len, parts)))
        for rows in reversed(parts):
            ReplayBuffer.add_rows(buffer, rows)  # a ReplayStore would write them again
        return len(buffer)

    def close(self) -> None:
        """Close the open segment."""
        if self._file is not None:
            self._file.close()
            self._file = None
            self._segment = -1

    def _open(self, segment: int, *, fresh: bool) -> BinaryIO:
        """Open a segment; a fresh one takes the place of what a killed run left of that name."""
        if self._file is None or segment != self._segment:
            self.close()
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = self._path(segment).open('wb' if fresh else 'ab')
            self._segment = segment
        return self._file

    def _path(self, segment: int) -> Path:
        return self.folder / f'{segment:06d}.rows'

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob('*.rows'))

    def _read(self, segment: int) -> np.ndarray:
        path = self._path(segment)
        if not path.exists():
            return np.empty((0, self.width), np.float32)
        values = np.fromfile(path, '<f4')
        return values[: len(values) // self.width * self.width].reshape(-1, self.width)

    def _cut(self, written: int) -> None:
        """Remove what was appended after a checkpoint, as a killed run leaves it."""
        segment, within = divmod(written, SEGMENT_ROWS)
        for path in self._paths():
            if int(path.stem) > segment:
                path.unlink()
        path = self._path(segment)
        if path.exists() and path.stat().st_size > within * self.width * 4:
            with path.open('r+b') as file:
                file.truncate(within * self.width * 4)


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
