"""The latest values of a robot's sensors, by joint name, each checked as it comes in."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

Values = tuple[float, ...]
"""Plain numbers: arrays of three cost several times as much to work with."""

_NANOSECONDS = 1_000_000_000
_SMALLEST_NORM, _LARGEST_NORM = 0.5, 10.0
"""Outside which a quaternion is no orientation, e.g. all zero; others are normalised."""
_LARGEST_VALUE = 1e9
"""No position, velocity or angle is larger, in any unit; squares and float32 can hold it."""


@dataclass
class Reading:
    """When a sensor was heard last, and whether it still changes."""

    received_ns: int = -1
    """Steady clock; -1 before the first valid message."""
    stamp_ns: int = -1
    behind_ns: int = 0
    """By which its stamp lay behind that of `ahead` when it came."""
    ahead: str = ''
    """The other sensor whose stamp was the newest then."""
    changed_ns: int = -1
    """When a value differed from the one before, steady clock."""
    fault: str = ''
    """Why the last message was not taken; empty when it was."""
    values: Values = ()


@dataclass
class Sensors:
    """What a robot's messages have said last. Times are of the steady clock, in ns."""

    positions: dict[str, float] = field(default_factory=dict)
    velocities: dict[str, float] = field(default_factory=dict)
    orientation: Values = (1.0, 0.0, 0.0, 0.0)
    """(w, x, y, z) of the base in the world, from the IMU."""
    angular_velocity: Values = (0.0, 0.0, 0.0)
    """In the base's frame, rad/s."""
    position: Values = (0.0, 0.0, 0.0)
    """Of the base in the world, m."""
    odometry_orientation: Values = (1.0, 0.0, 0.0, 0.0)
    linear_velocity: Values = (0.0, 0.0, 0.0)
    """In the base's frame, m/s."""
    command: Values = (0.0, 0.0, 0.0)
    """Commanded velocity: x, y in m/s, yaw in rad/s."""
    readings: dict[str, Reading] = field(default_factory=dict)
    _named: tuple[Sequence[str], Sequence[str]] = ((), ())
    """Names of the last JointState, and those that are wanted of it."""
    _fault_of_names: str = ''

    def take_joint_states(
        self,
        names: Sequence[str],
        positions: Sequence[float],
        velocities: Sequence[float],
        *,
        wanted: Sequence[str],
        needs_velocities: bool,
        stamp_ns: int,
        now_ns: int,
    ) -> None:
        """Take a JointState; one that lacks a wanted joint or says it twice is a fault."""
        names = tuple(names)
        if (names, wanted) != self._named:  # they hardly ever change
            self._named, self._fault_of_names = (names, wanted), _fault_of_names(names, wanted)
        fault = self._fault_of_names
        if not fault and len(positions) != len(names):
            fault = f'joint_states have {len(names)} names and {len(positions)} positions'
        elif not fault and needs_velocities and len(velocities) != len(names):
            fault = f'joint_states have {len(names)} names and {len(velocities)} velocities'
        if not self._accept('joint_states', fault, (*positions, *velocities), stamp_ns, now_ns):
            return
        self.positions = dict(zip(names, positions, strict=True))
        if needs_velocities:
            self.velocities = dict(zip(names, velocities, strict=True))

    def take_imu(
        self,
        orientation: Sequence[float],
        angular_velocity: Sequence[float],
        *,
        stamp_ns: int,
        now_ns: int,
    ) -> None:
        """Take an Imu; ``orientation`` is (w, x, y, z)."""
        fault = _fault_of_quaternion('imu', orientation)
        if self._accept('imu', fault, (*orientation, *angular_velocity), stamp_ns, now_ns):
            self.orientation = _normalised(orientation)
            self.angular_velocity = tuple(angular_velocity)

    def take_odometry(
        self,
        position: Sequence[float],
        orientation: Sequence[float],
        linear_velocity: Sequence[float],
        *,
        stamp_ns: int,
        now_ns: int,
    ) -> None:
        """Take an Odometry, whose twist is in the base's frame."""
        fault = _fault_of_quaternion('odometry', orientation)
        values = (*position, *orientation, *linear_velocity)
        if self._accept('odometry', fault, values, stamp_ns, now_ns):
            self.position = tuple(position)
            self.odometry_orientation = _normalised(orientation)
            self.linear_velocity = tuple(linear_velocity)

    def take_command(self, velocity: Sequence[float], *, stamp_ns: int, now_ns: int) -> None:
        """Take a commanded velocity: x, y, yaw."""
        if self._accept('command', '', tuple(velocity), stamp_ns, now_ns):
            self.command = tuple(velocity)

    def age_sec(self, sensor: str, now_ns: int) -> float:
        """Return how long ago a sensor was heard with valid values; infinite before that."""
        reading = self.readings.get(sensor)
        if reading is None or reading.received_ns < 0:
            return math.inf
        return (now_ns - reading.received_ns) / _NANOSECONDS

    def unchanged_sec(self, sensor: str, now_ns: int) -> float:
        """Return for how long all values of a sensor have been the very same."""
        reading = self.readings.get(sensor)
        if reading is None or reading.changed_ns < 0:
            return 0.0
        return (now_ns - reading.changed_ns) / _NANOSECONDS

    def moment_ns(self, sensors: Sequence[str], *, within_ns: int) -> int | None:
        """Return the oldest stamp of what ``sensors`` said last.

        None where one of them has said nothing yet, or the stamps lie further apart than
        ``within_ns``: then they do not speak of one moment.
        """
        stamps = [self.readings[name].stamp_ns for name in sensors if name in self.readings]
        if not stamps or len(stamps) < len(sensors) or max(stamps) - min(stamps) > within_ns:
            return None
        return min(stamps)

    def fault(self, sensor: str) -> str:
        """Return why a sensor's last message was not taken; empty when it was."""
        reading = self.readings.get(sensor)
        return '' if reading is None else reading.fault

    def _accept(self, sensor: str, fault: str, values: Values, stamp_ns: int, now_ns: int) -> bool:
        """Tell whether a message may be taken, and keep why not."""
        if sensor not in self.readings:
            self.readings[sensor] = Reading()
        reading = self.readings[sensor]
        fault = fault or _fault_of_values(sensor, values)
        if (
            not fault
            and 0 <= stamp_ns < reading.stamp_ns
            and now_ns - reading.received_ns < _NANOSECONDS
        ):
            return False  # out of order: an older one came later; a clock that was set back stays
        reading.fault = fault
        if fault:
            return False
        if values != reading.values:
            reading.changed_ns, reading.values = now_ns, values
        reading.received_ns, reading.stamp_ns = now_ns, stamp_ns
        others = [name for name in self.readings if name not in (sensor, 'command')]
        reading.ahead = max(others, key=lambda name: self.readings[name].stamp_ns, default='')
        if reading.ahead:
            reading.behind_ns = self.readings[reading.ahead].stamp_ns - stamp_ns
        return True


def _fault_of_names(names: Sequence[str], wanted: Sequence[str]) -> str:
    missing = [name for name in wanted if name not in names]
    if missing:
        return f'joint_states lack {", ".join(missing)}; they have {", ".join(names)}'
    doubled = sorted({name for name in wanted if names.count(name) > 1})
    return f'joint_states have {", ".join(doubled)} twice' if doubled else ''


def _fault_of_values(sensor: str, values: Values) -> str:
    # A NaN or an infinity makes the sum one too.
    if sum(map(abs, values)) <= _LARGEST_VALUE:
        return ''
    if not all(map(math.isfinite, values)):
        return f'{sensor} has a value that is not finite'
    largest = max(values, key=abs)
    if abs(largest) > _LARGEST_VALUE:
        return f'{sensor} has the value {largest:g}, which cannot be'
    return ''


def _fault_of_quaternion(sensor: str, orientation: Sequence[float]) -> str:
    if not _SMALLEST_NORM < math.hypot(*orientation) < _LARGEST_NORM:
        return f'{sensor} has orientation {list(orientation)}, which is not a unit quaternion'
    return ''


def _normalised(orientation: Sequence[float]) -> Values:
    norm = math.hypot(*orientation)
    # Rounding must not touch what is normal already: simulated values stay as they are.
    is_normal = abs(norm - 1.0) < 1e-9
    return tuple(orientation) if is_normal else tuple(value / norm for value in orientation)


def rotation(orientation: Values) -> tuple[Values, Values, Values]:
    """Return the rows of the matrix that turns the base's frame into the world's."""
    w, x, y, z = orientation
    return (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
