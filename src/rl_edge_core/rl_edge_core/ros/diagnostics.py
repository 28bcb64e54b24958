"""What a node says of itself while it runs: OK, WARN or ERROR on /diagnostics, by which clock.

Reports come by steady timers and carry wall time of the system clock. Neither follows
``use_sim_time``: a simulation that is paused, or whose clock nobody publishes, must not stop what
watches over it.
"""

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.timer import Timer

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


class Health(NamedTuple):
    """A level, and a reason that changes only when something happened."""

    level: bytes
    reason: str

    def with_errors(self, errors: str) -> 'Health':
        """Return it with ``errors`` before it, where there are any: neither hides the other."""
        if not errors:
            return self
        return Health(ERROR, errors if self.level == OK else f'{errors}; {self.reason}')


class DiagnosticsPublisher:
    """Publish the state of one node on /diagnostics, which monitors expect there by name."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', 10)

    def publish(self, level: bytes, reason: str, values: Mapping[str, object]) -> None:
        """Publish one status; ``level`` is OK, WARN or ERROR."""
        status = DiagnosticStatus(
            level=level,
            name=self._node.get_fully_qualified_name(),
            message=reason,
            hardware_id='rl_edge',
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
        )
        message = DiagnosticArray(status=[status])
        message.header.stamp = system_time()
        self._publisher.publish(message)


def create_steady_timer(node: Node, period_sec: float, callback: Callable[[], None]) -> Timer:
    """Call ``callback`` each ``period_sec`` of the steady clock."""
    return node.create_timer(period_sec, callback, clock=Clock(clock_type=ClockType.STEADY_TIME))


def system_time() -> Time:
    """Return the wall time as a stamp."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return Time(sec=seconds, nanosec=nanoseconds)
