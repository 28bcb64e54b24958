"""The latest lines that nodes have written, to be waited for from another thread."""

import re
import threading
from collections import deque
from collections.abc import Callable

_KEPT_LINES = 5000


class LineLog:
    """Keep lines with the node that wrote them. Safe to use from several threads."""

    def __init__(self, on_line: Callable[[str, str], None] | None = None) -> None:
        """``on_line`` receives (node, line) on the writing thread."""
        self._on_line = on_line
        self._lines: deque[tuple[int, str, str]] = deque(maxlen=_KEPT_LINES)
        self._count = 0
        self._closed = False
        self._changed = threading.Condition()

    def write(self, node: str, line: str) -> None:
        """Append a line."""
        with self._changed:
            self._count += 1
            self._lines.append((self._count, node, line))
            self._changed.notify_all()
        if self._on_line is not None:
            self._on_line(node, line)

    def close(self) -> None:
        """Say that no further lines will come."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def of(self, node: str | None = None) -> list[str]:
        """Return what a node, or all of them, has written."""
        with self._changed:
            return [line for _, name, line in self._lines if node in (None, name)]

    def wait_for(
        self, pattern: str, *, node: str | None = None, after: int = 0, timeout_sec: float = 60.0
    ) -> int:
        """Wait for a line in which ``pattern`` is found and return its number.

        Give the number as ``after`` to wait for a later one. Raise TimeoutError with the last
        lines when there is none in time, or none can come any more.
        """
        expression = re.compile(pattern)

        def find() -> int:
            for number, name, line in self._lines:
                if number > after and node in (None, name) and expression.search(line):
                    return number
            return 0

        with self._changed:
            self._changed.wait_for(lambda: find() or self._closed, timeout_sec)
            number = find()
            last = '\n'.join(f'[{name}] {line}' for _, name, line in list(self._lines)[-30:])
        if not number:
            raise TimeoutError(f'no line matches {pattern!r}; the last ones are\n{last}')
        return number
