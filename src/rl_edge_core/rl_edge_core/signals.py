"""The signals that ask a process to end, for nodes and for what starts them."""

import ctypes
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SAME_REQUEST_SEC = 2.0
"""Signals that come so soon after the first are the same request: a service manager sends SIGHUP
after SIGTERM, and a shell without a terminal tells the nodes and ros2 launch, which tells the
nodes as well."""


def signals_to_handle() -> list[signal.Signals]:
    """Return `ENDING_SIGNALS`, without SIGHUP where it is ignored: nohup means it.

    SIGINT is ignored in all that a script starts with `&`, where ros2 launch still ends its nodes
    by it.
    """
    is_ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return [n for n in ENDING_SIGNALS if n != signal.SIGHUP or not is_ignored]


@contextmanager
def blocked(*numbers: signal.Signals) -> Iterator[None]:
    """Let processes of multiprocessing that start in the block never see some signals."""
    from multiprocessing import resource_tracker  # for those who start such processes alone

    resource_tracker.ensure_running()  # it starts with the first of them, and unblocks signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def die_with(parent: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel end this process when ``parent`` ends; to be called right after a fork."""
    _libc.prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:  # it ended before the line above
        os._exit(1)


def watch_ending_signals(handler: Callable[[int], object]) -> None:
    """Have a thread call ``handler`` with each of `signals_to_handle`.

    A handler in Python would run in the main thread alone, when its wait in C ends; and of two
    signals that come at once the kernel may give both to another thread, which wakes nobody. The
    wake-up descriptor is written to at once, in whichever thread the kernel picks: a mask and
    sigwait would miss the threads that NumPy started when it was imported.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    for number in signals_to_handle():
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def watch() -> None:
        while True:
            number = os.read(reading, 1)[0]
            if number in ENDING_SIGNALS:
                handler(number)

    threading.Thread(target=watch, name='signals', daemon=True).start()
