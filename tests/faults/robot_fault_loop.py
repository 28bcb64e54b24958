"""A robot to inject faults into: what its drivers say, and what it is told, pass through a relay.

The simulator plays the robot in a namespace of its own. The relay hands its sensors to the robot
node, and the commands back; a case puts a fault in between.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections import deque
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import yaml
from fault_loop import FaultLoop
from nav_msgs.msg import Odometry
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Bool, Float64MultiArray

from rl_edge_core.ros import qos
from rl_edge_core.ros.conversions import set_stamp, to_nanoseconds
from rl_edge_robot.description import find_description

HARDWARE = 'hardware'
SENSORS = {'joint_states': JointState, 'imu': Imu, 'odometry': Odometry}
STOPS = {'frozen_sec': 0.5, 'emergency_stop_max_age_sec': 0.5, 'recovery_sec': 0.2}
LARGEST_EFFORT = 150.0
Fault = Callable[[Any], 'list[Any]']
"""What becomes of a message: those that are handed on in its place."""


class Relay:
    """Stand between a robot and its robot node."""

    def __init__(self, domain_id: int, namespace: str) -> None:
        self._context = Context()
        self._context.init(args=[], domain_id=domain_id)
        self._node = node = Node('relay', namespace=namespace, context=self._context)
        self.faults: dict[str, Fault] = {}
        self.commands: list[list[float]] = []
        self.emergency_stop: bool | None = False
        """What the button says ten times per second; None for nothing."""
        self.takes_commands = True
        for name, message_type in SENSORS.items():
            self._hand_on(name, message_type)
        self._to_robot = node.create_publisher(
            Float64MultiArray, f'/{HARDWARE}/commands', qos.action()
        )
        self._controller: Any = None
        self._button = node.create_publisher(Bool, 'emergency_stop', 10)
        node.create_timer(0.1, self._press)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(node)
        self._thread = threading.Thread(target=self._spin, name='relay', daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._context.try_shutdown()
        self._thread.join()
        self._executor.shutdown()
        self._node.destroy_node()

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            self._executor.spin()

    def _hand_on(self, name: str, message_type: type) -> None:
        publisher = self._node.create_publisher(message_type, name, qos.joint_states())

        def take(message: Any) -> None:
            fault = self.faults.get(name)
            for each in [message] if fault is None else fault(message):
                publisher.publish(each)

        self._node.create_subscription(
            message_type, f'/{HARDWARE}/{name}', take, qos.joint_states()
        )

    def _take_command(self, message: Float64MultiArray) -> None:
        self.commands.append(list(message.data))
        self._to_robot.publish(message)

    def _press(self) -> None:
        """Do what happens now and then, on the thread that serves the node."""
        if self.emergency_stop is not None:
            self._button.publish(Bool(data=self.emergency_stop))
        if self.takes_commands and self._controller is None:
            self._controller = self._node.create_subscription(
                Float64MultiArray, 'commands', self._take_command, qos.action()
            )
        elif not self.takes_commands and self._controller is not None:
            self._node.destroy_subscription(self._controller)
            self._controller = None


@dataclass
class RobotFaultLoop(FaultLoop):
    """Simulated robot, relay, robot node and policy."""

    relay: Relay = field(init=False)

    def start_simulator(self) -> None:
        """Start the robot, and what stands before it."""
        self.simulator = self.start('desktop', namespace=HARDWARE, interface='standard')
        self.relay = Relay(self.domain_id, self.namespace)
        self._stack.callback(self.relay.close)

    def start_policy(self) -> None:
        """Start robot node and policy."""
        content = yaml.safe_load(find_description('ant_v5').read_text())
        content['safety'] |= STOPS
        description = self.folder / 'robot.yaml'
        description.write_text(yaml.safe_dump(content))
        self.policy = self.start('robot', description=str(description))

    @contextlib.contextmanager
    def fault(self, sensor: str, fault: Fault) -> Iterator[None]:
        """Put a fault between a sensor and the robot node meanwhile."""
        self.relay.faults[sensor] = fault
        try:
            yield
        finally:
            del self.relay.faults[sensor]

    def wait_until_stopped(self, reason: str) -> str:
        """Wait until a stop for ``reason`` is reported, and for the safe command; return it."""
        report = self.wait_for_report('robot', f'stopped: {reason}')
        if self.relay.takes_commands:
            self.wait_for('the safe command', lambda: [0.0] * 8 in self.relay.commands[-40:])
        return report

    @property
    def seen_episodes(self) -> int:
        """Return how many episodes had ended when the fault began."""
        first = self.since
        return sum(
            e.run_id == first.run_id and e.episode < first.episode for e in self.observer.episodes
        )

    def commands_outside(self) -> int:
        """Return how many commands were outside their limits."""
        commands = np.array(self.relay.commands or [[0.0]])
        return int((~(np.abs(commands) <= LARGEST_EFFORT)).sum())


def silent(message: Any) -> list[Any]:
    return []


def not_a_number(message: Any) -> list[Any]:
    if isinstance(message, JointState):
        message.position[2] = math.nan
    elif isinstance(message, Imu):
        message.angular_velocity.y = math.nan
    else:
        message.pose.pose.position.z = math.nan
    return [message]


class Frozen:
    """Say the first values again and again, with new stamps."""

    def __init__(self) -> None:
        self._first: Any = None

    def __call__(self, message: Any) -> list[Any]:
        self._first = self._first or deepcopy(message)
        self._first.header = message.header
        return [self._first]


class Late:
    """Hand on what was said ten messages, half a second, before."""

    def __init__(self) -> None:
        self._held: deque[Any] = deque()

    def __call__(self, message: Any) -> list[Any]:
        self._held.append(message)
        return [self._held.popleft()] if len(self._held) > 10 else [self._held[0]]


class OutOfOrder:
    """Swap each two messages."""

    def __init__(self) -> None:
        self._held: Any = None

    def __call__(self, message: Any) -> list[Any]:
        if self._held is None:
            self._held = message
            return []
        held, self._held = self._held, None
        return [message, held]


def shifted(by_sec: float) -> Fault:
    """Return the fault of a clock that was set."""

    def shift(message: Any) -> list[Any]:
        stamp_ns = to_nanoseconds(message.header.stamp) + round(by_sec * 1e9)
        set_stamp(message.header.stamp, stamp_ns)
        return [message]

    return shift
