"""What a node says of itself while it runs: OK, WARN or ERROR on /diagnostics, by which clock.

Reports come by steady timers and carry wall time of the system clock. Neither follows
``use_sim_time``: a simulation that is paused, or whose clock nobody publishes, must not stop what
watches over it.
"""

import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import psutil
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.timer import Timer

from rl_edge_core.resources import ResourceSample, cpu_percent_between, sample_resources
from rl_edge_core.ros import qos
from rl_edge_interfaces.msg import ResourceUsage

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


class ResourceReporter:
    """Publish ``resource_usage/<node>`` each ``period_sec`` until `close`."""

    def __init__(self, node: Node, *, period_sec: float = 1.0) -> None:
        """Start the thread. ``node`` must outlive it: call `close` before destroying it."""
        self._node = node
        self._period_sec = period_sec
        self._process = psutil.Process()
        self._publisher = qos.publisher(
            node, ResourceUsage, f'resource_usage/{node.get_name()}', qos.resource_usage()
        )
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._report, name='resource_reporter', daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop the thread; safe to call twice."""
        self._closed.set()
        self._thread.join()

    def _report(self) -> None:
        before = sample_resources(self._process)
        while not self._closed.wait(self._period_sec):
            after = sample_resources(self._process)
            if not self._node.context.ok():
                return
            self._publisher.publish(self._to_message(before, after))
            before = after

    def _to_message(self, before: ResourceSample, after: ResourceSample) -> ResourceUsage:
        message = ResourceUsage(
            node=self._node.get_fully_qualified_name(),
            pid=self._process.pid,
            cpu_percent=cpu_percent_between(before, after),
            cpu_seconds=after.cpu_seconds,
            resident_memory_mb=after.resident_memory_mb,
            peak_memory_mb=after.peak_memory_mb,
            unique_memory_mb=after.unique_memory_mb,
            threads=after.threads,
            open_files=after.open_files,
        )
        message.header.stamp = system_time()
        return message
