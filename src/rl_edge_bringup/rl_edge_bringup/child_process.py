"""One child process that can't outlive its parent."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence

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
