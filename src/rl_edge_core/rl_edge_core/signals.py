"""The signals that ask a process to end, for nodes and for what starts them."""

import signal
from collections.abc import Callable
from types import FrameType

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SAME_REQUEST_SEC = 2.0
"""Signals that come so soon after the first are the same request: a service manager sends SIGHUP
after SIGTERM, and a shell without a terminal tells the nodes and ros2 launch, which tells the
nodes as well."""


def handle_ending_signals(handler: Callable[[int, FrameType | None], object]) -> None:
    """Have ``handler`` called for `ENDING_SIGNALS`, but for a SIGHUP that is ignored.

    nohup ignores SIGHUP and means it. SIGINT is ignored in all that a script starts with `&`,
    where ros2 launch still ends its nodes by it.
    """
    for number in ENDING_SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)
