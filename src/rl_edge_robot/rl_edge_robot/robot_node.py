"""The robot node: a control loop between a robot's standard topics and a policy."""

import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, cast

from geometry_msgs.msg import TwistStamped
from nav_msgs.msg import Odometry
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from rclpy.task import Future
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Bool, Float64MultiArray
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from rl_edge_core.ros import qos
from rl_edge_core.ros.conversions import float64_serializer, to_nanoseconds
from rl_edge_core.ros.diagnostics import ERROR, WARN, Health, create_steady_timer, system_time
from rl_edge_core.ros.loop_node import LoopNode
from rl_edge_interfaces.msg import ControlTiming
from rl_edge_interfaces.srv import Reset
from rl_edge_robot.description import RobotDescription, read_description
from rl_edge_robot.robot_loop import RobotLoop
from rl_edge_robot.robot_parameters import RobotParameters, main
from rl_edge_robot.robot_plant import RobotPlant
from rl_edge_robot.safety import Motion, SafetyMonitor
from rl_edge_robot.sensors import Sensors


class RobotNode(LoopNode[RobotParameters]):
    """Drive one robot; its topics are those of docs/robots.md."""

    duplicates = 'two nodes publish observations of this robot'

    def __init__(self, **kwargs: Any) -> None:
        """Subscribe to the robot; the run begins when it and a policy are there.

        ``kwargs`` go to rclpy's Node. Raise ConfigurationError for a bad description, and
        SpecMismatchError when it does not fit the model.
        """
        super().__init__('robot', RobotParameters, **kwargs)
        description = read_description(self.settings.description, self.settings.model)
        self._description = description
        self._sensors, self._monitor = Sensors(), SafetyMonitor(description)
        self._joints = _joints_of(description)
        self._needs_velocities = any(t.term == 'joint_velocity' for t in description.observation)
        self._subscribe_to_robot()
        self._send = self._make_sender()
        self._timing = qos.publisher(self, ControlTiming, 'control_timing', qos.resource_usage())
        self._robot = RobotPlant(
            description,
            self._sensors,
            self._monitor,
            send=lambda values: self._send(values),
            seed=self.settings.seed,
        )
        self.create_service(SetBool, '~/emergency_stop', self._on_emergency_stop)
        self.create_service(Trigger, '~/resume', self._on_resume)
        if self.settings.reset_service:
            self._reset_client = self.create_client(Reset, self.settings.reset_service)
        make_loop = partial(
            RobotLoop,
            find_missing=self.missing,
            reset_robot=self._reset_robot if self.settings.reset_service else None,
            find_controller_fault=self._find_controller_fault,
            on_motion=self._log_motion,
        )
        self.serve(self._robot, make_loop, mode='realtime', after_step=lambda time_ns: None)
        self._inputs += self._sensor_subscriptions
        if self._driver.steps_on_sensors:
            self._ticks.cancel()
        create_steady_timer(self, description.control_period_sec, self._driver.on_period)
        create_steady_timer(self, 1.0, self._publish_timing)

    def close(self) -> None:
        """Send the safe command, publish the open episode, and wait until it has arrived."""
        self._robot.send_safe()
        super().close()

    def missing(self) -> str:
        """Return who has to connect, or what stops the robot; empty when it may begin."""
        if self._monitor.motion is not Motion.READY:
            return self._robot_words()
        return super().missing()

    def other_health(self) -> Health | None:
        """Return what stops the robot: an error, but for the way back to moving."""
        if self._monitor.motion is Motion.STOPPED:
            is_on_its_way = self._monitor.reason.startswith('nothing is wrong')
            return Health(WARN if is_on_its_way else ERROR, f'stopped: {self._monitor.reason}')
        if self._monitor.motion is Motion.RAMP:
            return Health(WARN, 'going to the default pose')
        return None

    def exclusive_topics(self) -> list[tuple[str, str]]:
        """Return the topics that one node alone may publish, each with the complaint."""
        command = (self._command.topic_name, 'two nodes send commands to the robot')
        return [*super().exclusive_topics(), command]

    def extra_values(self) -> dict[str, object]:
        """Return the state of the robot for /diagnostics."""
        now_ns = time.monotonic_ns()
        ages = {
            f'{sensor}_age_sec': round(self._sensors.age_sec(sensor, now_ns), 3)
            for sensor in self._description.sensors
        }
        values: dict[str, object] = {'motion': self._monitor.motion.value, **ages}
        if (summary := self._driver.times.summary()) is not None:
            values |= {'added_us_p50': summary.added_p50_us, 'added_us_p99': summary.added_p99_us}
        return values

    @property
    def _driver(self) -> RobotLoop:
        return cast(RobotLoop, self._loop)

    def _restart_ticks(self) -> None:
        if not self._driver.steps_on_sensors:
            super()._restart_ticks()

    # Sensors -------------------------------------------------------------------------------

    def _subscribe_to_robot(self) -> None:
        # Best effort receives from reliable publishers as well; only the newest value counts.
        newest = QoSProfile(
            history=HistoryPolicy.KEEP_LAST, depth=1, reliability=ReliabilityPolicy.BEST_EFFORT
        )
        callbacks = {
            'joint_states': (JointState, 'joint_states', self._on_joint_states),
            'imu': (Imu, 'imu', self._on_imu),
            'odometry': (Odometry, 'odometry', self._on_odometry),
            'command': (TwistStamped, 'commanded_velocity', self._on_command),
        }
        self._sensor_subscriptions: list[Subscription] = []
        wanted = [callbacks[sensor] for sensor in self._description.sensors]
        if self._description.safety.emergency_stop_max_age_sec:
            wanted.append((Bool, 'emergency_stop', self._on_emergency_stop_message))
        for message_type, topic, callback in wanted:
            subscription = qos.subscription(self, message_type, topic, callback, newest)
            self._sensor_subscriptions.append(subscription)

    def _on_joint_states(self, message: JointState) -> None:
        now_ns = time.monotonic_ns()
        self._sensors.take_joint_states(
            message.name,
            message.position,
            message.velocity,
            wanted=self._joints,
            needs_velocities=self._needs_velocities,
            stamp_ns=to_nanoseconds(message.header.stamp),
            now_ns=now_ns,
        )
        self._driver.on_sensor(now_ns)

    def _on_imu(self, message: Imu) -> None:
        now_ns = time.monotonic_ns()
        turn, spin = message.orientation, message.angular_velocity
        self._sensors.take_imu(
            (turn.w, turn.x, turn.y, turn.z),
            (spin.x, spin.y, spin.z),
            stamp_ns=to_nanoseconds(message.header.stamp),
            now_ns=now_ns,
        )
        self._driver.on_sensor(now_ns)

    def _on_odometry(self, message: Odometry) -> None:
        now_ns = time.monotonic_ns()
        place, turn = message.pose.pose.position, message.pose.pose.orientation
        velocity = message.twist.twist.linear
        self._sensors.take_odometry(
            (place.x, place.y, place.z),
            (turn.w, turn.x, turn.y, turn.z),
            (velocity.x, velocity.y, velocity.z),
            stamp_ns=to_nanoseconds(message.header.stamp),
            now_ns=now_ns,
        )
        self._driver.on_sensor(now_ns)

    def _on_command(self, message: TwistStamped) -> None:
        linear = message.twist.linear
        self._sensors.take_command(
            (linear.x, linear.y, message.twist.angular.z),
            stamp_ns=to_nanoseconds(message.header.stamp),
            now_ns=time.monotonic_ns(),
        )

    # Safety --------------------------------------------------------------------------------

    def _log_motion(self, motion: Motion) -> None:
        if motion is Motion.STOPPED:
            self.get_logger().error(f'stopped: {self._monitor.reason}')
        elif motion is Motion.READY:
            self.get_logger().info('ready to move')

    def _find_controller_fault(self) -> str:
        if self.settings.dry_run or self._command.get_subscription_count():
            return ''
        return f'nobody receives commands on {self._command.topic_name}'

    def _reset_robot(self, seed: int) -> bool:
        """Ask for the robot to be put to its start."""
        if not self._reset_client.service_is_ready():
            return False
        request = Reset.Request(use_seed=True, seed=seed)
        self._reset_client.call_async(request).add_done_callback(self._on_reset_done)
        return True

    def _on_reset_done(self, future: Future) -> None:
        answer = future.result()
        self._driver.is_at_start = answer.success
        if not answer.success:
            self.fail(f'{self.settings.reset_service} refuses: {answer.message}')

    def _on_emergency_stop(
        self, request: SetBool.Request, response: SetBool.Response
    ) -> SetBool.Response:
        self._monitor.set_emergency_stop(request.data, time.monotonic_ns())
        self._driver.look()
        response.success, response.message = True, self._robot_words() or 'free to move'
        return response

    def _on_emergency_stop_message(self, message: Bool) -> None:
        self._monitor.set_emergency_stop(message.data, time.monotonic_ns())
        self._driver.look()

    def _on_resume(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.message = self._monitor.resume()
        response.success = True
        return response

    def _robot_words(self) -> str:
        if self._monitor.motion is Motion.STOPPED:
            return f'robot stopped ({self._monitor.reason}): nothing'
        is_ramp = self._monitor.motion is Motion.RAMP
        return 'robot going to its default pose: nothing' if is_ramp else ''

    # Commands and timing -------------------------------------------------------------------

    def _make_sender(self) -> Any:
        action = self._description.action
        names = [joint.joint for joint in action.joints]
        dry_run = self.settings.dry_run
        if action.message == 'Float64MultiArray' and not dry_run:
            self._command = qos.publisher(self, Float64MultiArray, 'commands', qos.action())
            serialize = float64_serializer(len(names))
            return lambda values: self._command.publish(serialize(values))
        if action.message == 'JointTrajectory' and not dry_run:
            self._command = qos.publisher(self, JointTrajectory, 'joint_trajectory', qos.action())
            return lambda values: self._command.publish(
                _as_trajectory(names, action.kind, values, self._description.control_period_sec)
            )
        topic, profile = 'joint_commands', qos.action()
        if dry_run:
            topic, profile = ('command_preview', qos.resource_usage())
        self._command = qos.publisher(self, JointState, topic, profile)
        return lambda values: self._command.publish(_as_joint_state(names, action.kind, values))

    def _publish_timing(self) -> None:
        summary = self._driver.times.summary()
        if summary is None:
            return
        now_ns = time.monotonic_ns()
        age_sec = max(self._sensors.age_sec(s, now_ns) for s in self._description.sensors)
        message = ControlTiming(
            period_us=1e6 * self._description.control_period_sec,
            period_us_p50=summary.period_p50_us,
            period_us_p99=summary.period_p99_us,
            period_us_max=summary.period_max_us,
            missed_periods=self._loop.dropped_periods,
            sensor_age_us=1e6 * age_sec,
        )
        message.header.stamp = system_time()
        self._timing.publish(message)


def _joints_of(description: RobotDescription) -> tuple[str, ...]:
    """Return the joints whose states are needed, each once."""
    names = [joint for term in description.observation for joint in term.joints]
    names += [limit.joint for limit in description.safety.joint_limits]
    if description.action.kind == 'position' and description.safety.ramp_sec:
        names += [joint.joint for joint in description.action.joints]
    return tuple(dict.fromkeys(names))


def _as_joint_state(names: list[str], kind: str, values: Sequence[float]) -> JointState:
    message = JointState(name=names, **{kind: values})
    message.header.stamp = system_time()
    return message


def _as_trajectory(
    names: list[str], kind: str, values: Sequence[float], period_sec: float
) -> JointTrajectory:
    field = {'position': 'positions', 'velocity': 'velocities', 'effort': 'effort'}[kind]
    point = JointTrajectoryPoint(**{field: values})
    point.time_from_start.sec, nanoseconds = divmod(round(period_sec * 1e9), 1_000_000_000)
    point.time_from_start.nanosec = nanoseconds
    return JointTrajectory(joint_names=names, points=[point])


if __name__ == '__main__':
    sys.exit(main())
