"""The robot node: a control loop between a robot's standard topics and a policy."""

import sys
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from geometry_msgs.msg import TwistStamped
from nav_msgs.msg import Odometry
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Imu, JointState
from std_msgs.msg import Bool, Float64MultiArray
from std_srvs.srv import SetBool, Trigger
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from rl_edge_core.artifact import load_manifest
from rl_edge_core.errors import ConfigurationError
from rl_edge_core.loop.control_loop import Phase
from rl_edge_core.ros import qos
from rl_edge_core.ros.conversions import to_float64_field, to_nanoseconds
from rl_edge_core.ros.diagnostics import ERROR, WARN, create_steady_timer, system_time
from rl_edge_core.ros.loop_node import Health, LoopNode
from rl_edge_core.ros.loop_publisher import publisher
from rl_edge_interfaces.msg import ControlTiming
from rl_edge_robot.description import RobotDescription, check_against, load_description
from rl_edge_robot.robot_parameters import RobotParameters, main
from rl_edge_robot.robot_plant import RobotLoop, RobotPlant
from rl_edge_robot.safety import Motion, SafetyMonitor
from rl_edge_robot.sensors import Sensors
from rl_edge_robot.timing import TickTimes

_START_SHARE = 0.25
"""Of a period after the sensors' messages at which ticks begin: late ones are then there."""


class RobotNode(LoopNode[RobotParameters]):
    """Drive one robot; its topics are those of docs/robots.md."""

    duplicates = 'two nodes publish observations of this robot'

    def __init__(self, **kwargs: Any) -> None:
        """Subscribe to the robot; the run begins when it and a policy are there.

        ``kwargs`` go to rclpy's Node. Raise ConfigurationError for a bad description, and
        SpecMismatchError when it does not fit the model.
        """
        super().__init__('robot', RobotParameters, **kwargs)
        self._description = description = load_description(find_description(self.settings))
        if self.settings.model:
            path = Path(self.settings.model)
            manifest = load_manifest(path if path.is_dir() else path.parent)
            check_against(description, manifest.environment)
        self._sensors, self._monitor = Sensors(), SafetyMonitor(description)
        self._times = TickTimes(description.control_period_sec)
        self._joints = _joints_of(description)
        self._needs_velocities = any(t.term == 'joint_velocity' for t in description.observation)
        self._ramp_from = np.zeros(len(description.action.joints))
        self._subscribe_to_robot()
        self._send = self._make_sender()
        self._timing = publisher(self, ControlTiming, 'control_timing', qos.resource_usage())
        self._robot = RobotPlant(
            description, self._sensors, self._monitor, send=lambda values: self._send(values)
        )
        self.create_service(SetBool, '~/emergency_stop', self._on_emergency_stop)
        self.create_service(Trigger, '~/resume', self._on_resume)
        self.serve(self._robot, RobotLoop, mode='realtime', after_step=self._after_step)
        period_sec = description.control_period_sec
        self._start_timer = create_steady_timer(self, _START_SHARE * period_sec, self._start)
        self._start_timer.cancel()
        self._safe_timer = create_steady_timer(self, period_sec, self._drive_without_policy)
        create_steady_timer(self, 1.0, self._publish_timing)

    def close(self) -> None:
        """Send the safe command, publish the open episode, and wait until it has arrived."""
        self._send(self._robot.commands.safe())
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
        return {'motion': self._monitor.motion.value, **ages}

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
        wanted = [callbacks[sensor] for sensor in self._description.sensors]
        if self._description.safety.emergency_stop_max_age_sec:
            wanted.append((Bool, 'emergency_stop', self._on_emergency_stop_message))
        for message_type, topic, callback in wanted:
            self.create_subscription(
                message_type, topic, callback, newest, qos_overriding_options=qos.overridable()
            )

    def _on_joint_states(self, message: JointState) -> None:
        self._sensors.take_joint_states(
            message.name,
            message.position,
            message.velocity,
            wanted=self._joints,
            needs_velocities=self._needs_velocities,
            stamp_ns=to_nanoseconds(message.header.stamp),
            now_ns=time.monotonic_ns(),
        )
        self._after_sensor('joint_states')

    def _on_imu(self, message: Imu) -> None:
        turn, spin = message.orientation, message.angular_velocity
        self._sensors.take_imu(
            (turn.w, turn.x, turn.y, turn.z),
            (spin.x, spin.y, spin.z),
            stamp_ns=to_nanoseconds(message.header.stamp),
            now_ns=time.monotonic_ns(),
        )
        self._after_sensor('imu')

    def _on_odometry(self, message: Odometry) -> None:
        place, turn = message.pose.pose.position, message.pose.pose.orientation
        velocity = message.twist.twist.linear
        self._sensors.take_odometry(
            (place.x, place.y, place.z),
            (turn.w, turn.x, turn.y, turn.z),
            (velocity.x, velocity.y, velocity.z),
            stamp_ns=to_nanoseconds(message.header.stamp),
            now_ns=time.monotonic_ns(),
        )
        self._after_sensor('odometry')

    def _on_command(self, message: TwistStamped) -> None:
        linear = message.twist.linear
        self._sensors.take_command(
            (linear.x, linear.y, message.twist.angular.z),
            stamp_ns=to_nanoseconds(message.header.stamp),
            now_ns=time.monotonic_ns(),
        )

    def _after_sensor(self, sensor: str) -> None:
        self._look()
        is_last = sensor == [s for s in self._description.sensors if s != 'command'][-1]
        if is_last and self._loop.phase is Phase.WAITING and self._start_timer.is_canceled():
            self._start_timer.reset()

    # Safety --------------------------------------------------------------------------------

    def _look(self) -> None:
        """Let the monitor look, and stop the robot at once where it says so."""
        before = self._monitor.motion
        now = self._monitor.look(self._sensors, time.monotonic_ns())
        if now is before:
            return
        if now is Motion.STOPPED:
            self._send(self._robot.commands.safe())
            self.get_logger().error(f'stopped: {self._monitor.reason}')
            self._loop.stop()  # type: ignore[attr-defined]
        elif now is Motion.RAMP:
            positions = self._sensors.positions
            self._ramp_from = np.array(
                [positions.get(name, 0.0) for name in self._robot.commands.names]
            )
        elif now is Motion.READY:
            self.get_logger().info('ready to move')

    def _drive_without_policy(self) -> None:
        """While no policy acts: hold the robot where it is safe, or lead it to its pose."""
        self._look()
        if self._monitor.motion is Motion.STOPPED:
            self._send(self._robot.commands.safe())
        elif self._monitor.motion is Motion.RAMP:
            share = self._monitor.ramp_share(time.monotonic_ns())
            self._send(self._robot.commands.ramp(self._ramp_from, share))

    def _start(self) -> None:
        self._start_timer.cancel()
        loop = self._loop
        assert isinstance(loop, RobotLoop)
        loop.may_begin = True
        loop.on_timer(missing=self.missing() if loop.phase is Phase.WAITING else '')
        loop.may_begin = False

    def _on_emergency_stop(
        self, request: SetBool.Request, response: SetBool.Response
    ) -> SetBool.Response:
        self._monitor.set_emergency_stop(request.data, time.monotonic_ns())
        self._look()
        response.success, response.message = True, self._robot_words() or 'free to move'
        return response

    def _on_emergency_stop_message(self, message: Bool) -> None:
        self._monitor.set_emergency_stop(message.data, time.monotonic_ns())
        self._look()

    def _on_resume(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.message = self._monitor.resume()
        response.success = True
        return response

    def _robot_words(self) -> str:
        if self._monitor.motion is Motion.STOPPED:
            return f'robot stopped ({self._monitor.reason}): nothing'
        return (
            'robot going to its default pose: nothing'
            if self._monitor.motion is Motion.RAMP
            else ''
        )

    # Commands and timing -------------------------------------------------------------------

    def _make_sender(self) -> Any:
        action = self._description.action
        names = [joint.joint for joint in action.joints]
        if self.settings.dry_run:
            self._command = publisher(self, JointState, 'command_preview', qos.resource_usage())
            return lambda values: self._command.publish(
                _as_joint_state(names, action.kind, values)
            )
        if action.message == 'Float64MultiArray':
            self._command = publisher(self, Float64MultiArray, 'commands', qos.action())
            return lambda values: self._command.publish(
                Float64MultiArray(data=to_float64_field(values))
            )
        if action.message == 'JointTrajectory':
            self._command = publisher(self, JointTrajectory, 'joint_trajectory', qos.action())
            return lambda values: self._command.publish(
                _as_trajectory(names, action.kind, values, self._description.control_period_sec)
            )
        self._command = publisher(self, JointState, 'joint_commands', qos.action())
        return lambda values: self._command.publish(_as_joint_state(names, action.kind, values))

    def _after_step(self, time_ns: int) -> None:
        if self._robot.step:
            self._times.tick(time.monotonic_ns())
        else:
            self._times.restart()

    def _publish_timing(self) -> None:
        summary = self._times.summary()
        if summary is None:
            return
        now_ns = time.monotonic_ns()
        age_sec = max(self._sensors.age_sec(s, now_ns) for s in self._description.sensors)
        message = ControlTiming(
            period_us=1e6 * self._description.control_period_sec,
            period_us_p50=summary.p50_us,
            period_us_p99=summary.p99_us,
            period_us_max=summary.max_us,
            missed_periods=self._loop.dropped_periods,
            sensor_age_us=1e6 * age_sec,
        )
        message.header.stamp = system_time()
        self._timing.publish(message)


def find_description(settings: RobotParameters) -> Path:
    """Return the file of a description: a path, or the name of one that is shipped."""
    given = settings.description
    if not given:
        raise ConfigurationError(
            'parameter description is empty: give a YAML file, or the name of a shipped one'
        )
    shipped = Path(str(files('rl_edge_robot'))) / 'descriptions'
    names = sorted(file.stem for file in shipped.glob('*.yaml'))
    if given in names:
        return shipped / f'{given}.yaml'
    if not Path(given).is_file():
        raise ConfigurationError(
            f'description {given!r} is no file; shipped are {", ".join(names)}'
        )
    return Path(given)


def _joints_of(description: RobotDescription) -> tuple[str, ...]:
    """Return the joints whose states are needed, each once."""
    names = [joint for term in description.observation for joint in term.joints]
    names += [limit.joint for limit in description.safety.joint_limits]
    if description.action.kind == 'position' and description.safety.ramp_sec:
        names += [joint.joint for joint in description.action.joints]
    return tuple(dict.fromkeys(names))


def _as_joint_state(names: list[str], kind: str, values: np.ndarray) -> JointState:
    message = JointState(name=names, **{kind: to_float64_field(values)})
    message.header.stamp = system_time()
    return message


def _as_trajectory(
    names: list[str], kind: str, values: np.ndarray, period_sec: float
) -> JointTrajectory:
    field = {'position': 'positions', 'velocity': 'velocities', 'effort': 'effort'}[kind]
    point = JointTrajectoryPoint(**{field: to_float64_field(values)})
    point.time_from_start.sec, nanoseconds = divmod(round(period_sec * 1e9), 1_000_000_000)
    point.time_from_start.nanosec = nanoseconds
    return JointTrajectory(joint_names=names, points=[point])


if __name__ == '__main__':
    sys.exit(main())
