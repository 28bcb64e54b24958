"""Whether a robot may move: sensors, falls, joint limits, emergency stop, and the way back."""

import math
from enum import Enum

from rl_edge_robot.description import RobotDescription
from rl_edge_robot.sensors import Sensors, rotation

_NANOSECONDS = 1_000_000_000


class Motion(Enum):
    """What a robot may do."""

    STOPPED = 'stopped'
    """It is sent the safe command."""
    RAMP = 'ramp'
    """It goes from where it is to the default pose."""
    READY = 'ready'
    """It may be sent what the policy says."""


class SafetyMonitor:
    """Decide, at each look, what the robot may do. Times are of the steady clock, in ns."""

    def __init__(self, description: RobotDescription) -> None:
        """Start stopped, with no sensor heard and no emergency stop."""
        self._safety, sensors = description.safety, description.sensors
        self._largest_age_sec = {
            sensor: self._safety.sensor_max_age_sec.get(sensor, self._safety.default_max_age_sec)
            for sensor in sensors
        }
        self._measuring = description.measuring_sensors
        self._looks_at_height = 'odometry' in sensors and bool(self._safety.height)
        self._looks_at_tilt = 'imu' in sensors and self._safety.largest_tilt_rad < math.pi
        self.controller_fault = ''
        """Why commands reach nobody; to be set by whoever sends them."""
        self._needs_ramp = description.action.kind == 'position' and self._safety.ramp_sec > 0
        self.motion = Motion.STOPPED
        self.reason = 'nothing heard of the robot yet'
        """Why it is stopped; empty while it is not."""
        self.fell = False
        """Whether the last stop was a fall."""
        self._may_resume = True
        self._fine_since_ns: int | None = None
        self._ramp_began_ns = 0
        self._emergency_stop = False
        self._emergency_heard_ns: int | None = None

    def set_emergency_stop(self, pressed: bool, now_ns: int) -> None:
        """Take note of the emergency stop, from the service or its topic."""
        self._emergency_stop = pressed
        self._emergency_heard_ns = now_ns

    def resume(self) -> str:
        """Allow the robot to go on, once nothing is wrong; return what still stops it."""
        self._may_resume = True
        return self.reason

    def ramp_share(self, now_ns: int) -> float:
        """Return how far the ramp has come, 0 to 1."""
        elapsed_sec = (now_ns - self._ramp_began_ns) / _NANOSECONDS
        return min(1.0, elapsed_sec / self._safety.ramp_sec)

    def look(self, sensors: Sensors, now_ns: int) -> Motion:
        """Return what the robot may do now."""
        fall = self._fall(sensors)
        fault = self._fault(sensors, now_ns) or fall
        if fault:
            if self.motion is not Motion.STOPPED:
                self._may_resume = self._safety.recovery == 'automatic'
                self.fell = bool(fall)
            self.motion, self.reason, self._fine_since_ns = Motion.STOPPED, fault, None
        elif self.motion is Motion.STOPPED:
            self._leave_stop(now_ns)
        elif self.motion is Motion.RAMP and self.ramp_share(now_ns) >= 1.0:
            self.motion = Motion.READY
        return self.motion

    def _leave_stop(self, now_ns: int) -> None:
        if self._fine_since_ns is None:
            self._fine_since_ns = now_ns
        if not self._may_resume:
            self.reason = 'stopped; waiting for robot/resume'
        elif now_ns - self._fine_since_ns < self._safety.recovery_sec * _NANOSECONDS:
            self.reason = 'nothing is wrong any more; waiting for recovery_sec'
        else:
            self.motion = Motion.RAMP if self._needs_ramp else Motion.READY
            self.reason, self._ramp_began_ns = '', now_ns

    def _fault(self, sensors: Sensors, now_ns: int) -> str:
        safety = self._safety
        if self._emergency_stop:
            return 'emergency stop'
        if safety.emergency_stop_max_age_sec:
            heard_ns = self._emergency_heard_ns
            limit_ns = safety.emergency_stop_max_age_sec * _NANOSECONDS
            if heard_ns is None or now_ns - heard_ns > limit_ns:
                return f'no message on emergency_stop for {safety.emergency_stop_max_age_sec:g} s'
        if self.controller_fault:
            return self.controller_fault
        for sensor, limit_sec in self._largest_age_sec.items():
            if fault := sensors.fault(sensor):
                return fault
            age_sec = sensors.age_sec(sensor, now_ns)
            if age_sec > limit_sec:
                heard = f'for {limit_sec:g} s' if math.isfinite(age_sec) else 'yet'
                return f'nothing valid on {sensor} {heard}'
            if safety.frozen_sec and sensors.unchanged_sec(sensor, now_ns) > safety.frozen_sec:
                return f'{sensor} has not changed for {safety.frozen_sec:g} s'
        return self._lag(sensors) or self._joint_outside(sensors)

    def _lag(self, sensors: Sensors) -> str:
        """Return which sensor speaks of a time long before that of the others; empty for none.

        Each is compared when it comes, so that the clock of all may jump. Sensors that do not
        stamp their messages are left out.
        """
        for sensor in self._measuring:
            reading = sensors.readings[sensor]
            lag_sec = reading.behind_ns / _NANOSECONDS
            if reading.stamp_ns > 0 and lag_sec > self._largest_age_sec[sensor]:
                return f'{sensor} is {lag_sec:.2f} s behind {reading.ahead}, by their stamps'
        return ''

    def _joint_outside(self, sensors: Sensors) -> str:
        for limit in self._safety.joint_limits:
            position = sensors.positions.get(limit.joint)
            if position is None:
                return f'joint_states lack {limit.joint}, which has limits'
            if not limit.low <= position <= limit.high:
                return (
                    f'joint {limit.joint} is at {position:.3f}, outside {limit.low} to '
                    f'{limit.high}'
                )
        return ''

    def _fall(self, sensors: Sensors) -> str:
        safety = self._safety
        if self._looks_at_height:
            low, high = safety.height
            height = sensors.position[2]
            if height < low:
                return 'base too low'
            if height > high:
                return 'base too high'
        if self._looks_at_tilt:
            up = rotation(sensors.orientation)[2][2]
            if math.acos(min(1.0, max(-1.0, up))) > safety.largest_tilt_rad:
                return 'base tilted too far'
        return ''
