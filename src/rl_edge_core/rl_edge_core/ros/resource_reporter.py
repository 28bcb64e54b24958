"""A thread that reports what the node's process uses, off the thread that serves the loop."""

import threading

import psutil
from rclpy.node import Node

from rl_edge_core.resources import ResourceSample, cpu_percent_between, sample_resources
from rl_edge_core.ros import qos
from rl_edge_core.ros.diagnostics import system_time
from rl_edge_interfaces.msg import ResourceUsage


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
