"""Which clock for what: timers run on the steady one, stamps of wall time are the system's.

Neither follows ``use_sim_time``: a simulation that is paused, or whose clock nobody publishes,
must not stop what watches over it.
"""

import time
from collections.abc import Callable

from builtin_interfaces.msg import Time
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.timer import Timer


def create_steady_timer(node: Node, period_sec: float, callback: Callable[[], None]) -> Timer:
    """Call ``callback`` each ``period_sec`` of the steady clock."""
    return node.create_timer(period_sec, callback, clock=Clock(clock_type=ClockType.STEADY_TIME))


def system_time() -> Time:
    """Return the wall time as a stamp."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return Time(sec=seconds, nanosec=nanoseconds)
