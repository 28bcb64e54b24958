"""A child process that can't outlive its parent, and the latest lines that nodes have written."""

import contextlib
import os
import re
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from rl_edge_core.signals import die_with


class ChildProcess:
    """A process in a group of its own, killed by the kernel when the thread that made it ends.

    stdout and stderr come out of one pipe, ``output``, a file descriptor that does not block.
    ``ended`` is a file descriptor that becomes readable when the process has ended.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start ``command``; raise OSError when it can't be run."""
        parent = os.getpid()
        self._process = subprocess.Popen(
            list(command),
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C of the terminal reaches the parent alone
            preexec_fn=lambda: die_with(parent),
        )
        assert self._process.stdout is not None
        self.pid = self._process.pid
        self.output = self._process.stdout.fileno()
        self.ended = os.pidfd_open(self.pid)
        os.set_blocking(self.output, False)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process alone; nothing happens when it has ended."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.ended, number)

    def kill_group(self) -> None:
        """Kill the process and whatever it started in its group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def reap(self) -> int:
        """Return the exit code, negative for a signal, of the process once ``ended`` is readable.

        What it left running in its group is killed.
        """
        # The group first: until it is waited for, the process keeps its number from being reused.
        self.kill_group()
        return_code = self._process.wait()
        os.close(self.ended)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return return_code

    def read_output(self) -> bytes | None:
        """Return what the process wrote; empty at the end of the pipe, None when there is none."""
        try:
            return os.read(self.output, 65536)
        except BlockingIOError:
            return None


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
