"""OK, WARN and ERROR with a reason on /diagnostics."""

from collections.abc import Mapping

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from rl_edge_core.ros.clocks import system_time

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


class DiagnosticsPublisher:
    """Publish the state of one node on /diagnostics, which monitors expect there by name."""

    def __init__(self, node: Node) -> None:
        """Create the publisher."""
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
