"""What a robot senses and takes, and what a policy makes of it: the description in YAML.

The description gives the policy's observation term by term, in order, and its action joint by
joint. From it comes the `EnvironmentSpec` that the policy compares with its own. Joints go by
name, never by index: message, model and robot each have an order of their own.
"""

import itertools
import math
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from rl_edge_core.artifact import load_manifest
from rl_edge_core.configuration import from_mapping, read_yaml
from rl_edge_core.environment_spec import EnvironmentSpec, arguments_as_json
from rl_edge_core.errors import ConfigurationError, SpecMismatchError, did_you_mean
from rl_edge_core.model_files import named_model

Term = Literal[
    'joint_position',
    'joint_velocity',
    'orientation',
    'projected_gravity',
    'angular_velocity',
    'linear_velocity',
    'height',
    'commanded_velocity',
    'previous_action',
    'constant',
]
_AXES = ('x', 'y', 'z')
SENSORS = ('joint_states', 'imu', 'odometry', 'command')


class _Kind(NamedTuple):
    """What a term is made of."""

    components: tuple[str, ...] = ()
    """Of the base, or of each joint; empty where the description names the values."""
    unit: str = '1'
    sensor: str = ''
    """One of `SENSORS` that it is read from; empty for none."""


_KINDS: dict[str, _Kind] = {
    'joint_position': _Kind(('angle',), 'rad', 'joint_states'),
    'joint_velocity': _Kind(('angular_velocity',), 'rad/s', 'joint_states'),
    'orientation': _Kind(('qw', 'qx', 'qy', 'qz'), '1', 'imu'),
    'projected_gravity': _Kind(tuple(f'gravity_{axis}' for axis in _AXES), '1', 'imu'),
    'angular_velocity': _Kind(tuple(f'angular_velocity_{axis}' for axis in _AXES), 'rad/s', 'imu'),
    'linear_velocity': _Kind(tuple(f'velocity_{axis}' for axis in _AXES), 'm/s', 'odometry'),
    'height': _Kind(('z',), 'm', 'odometry'),
    'commanded_velocity': _Kind(('command_x', 'command_y', 'command_yaw'), '1', 'command'),
    'previous_action': _Kind(),
    'constant': _Kind(),
}


@dataclass(frozen=True)
class ObservationTerm:
    """One part of the observation."""

    term: Term
    joints: tuple[str, ...] = ()
    """Of joint_position and joint_velocity: names as in JointState, in the policy's order."""
    names: tuple[str, ...] = ()
    """Names of the values in the specification; empty for those that the term has by itself."""
    units: tuple[str, ...] = ()
    offset: tuple[float, ...] = ()
    """Subtracted before scaling, e.g. a default pose: none, one for all, or one per value."""
    scale: float = 1.0
    """A value of the observation is (measured - offset) * scale."""
    clip: float = math.inf
    """Largest absolute value, after scaling."""
    history: int = 1
    """How many of the latest values are in the observation, the oldest first."""
    frame: Literal['body', 'world'] = 'body'
    """Of linear_velocity: turned into the world's frame by the orientation in the odometry."""
    value: float = 0.0
    """Of constant."""

    def __post_init__(self) -> None:
        if self.scale == 0.0 or not math.isfinite(self.scale):
            raise ConfigurationError(f'{self.term}: scale is {self.scale}, must not be 0')
        if not self.clip > 0.0:
            raise ConfigurationError(f'{self.term}: clip is {self.clip}, must be above 0')
        if self.history < 1:
            raise ConfigurationError(f'{self.term}: history is {self.history}, must be 1 or more')
        is_of_joints = self.term in ('joint_position', 'joint_velocity')
        if is_of_joints != bool(self.joints):
            raise ConfigurationError(
                f'{self.term}: joints is {list(self.joints)}, '
                + ('must name joints' if is_of_joints else 'has no meaning there')
            )
        if self.term in ('constant', 'previous_action') and not self.names:
            raise ConfigurationError(f'{self.term}: must list names, one per value')

    def own_signals(self) -> tuple[tuple[str, str], ...]:
        """Return (name, unit) of each value of one point in time."""
        components, unit, _ = _KINDS[self.term]
        owners = self.joints or ('base',)
        names = [f'{owner}.{component}' for owner in owners for component in components]
        names, units = names or list(self.names), [unit]
        size = len(names)
        if self.names:
            _check_count(f'names of {self.term}', self.names, size)
            names = list(self.names)
        if self.units:
            if len(self.units) != 1:
                _check_count(f'units of {self.term}', self.units, size)
            units = list(self.units)
        if len(self.offset) > 1:
            _check_count(f'offset of {self.term}', self.offset, size)
        return tuple(zip(names, units * size if len(units) == 1 else units, strict=True))

    def signals(self) -> tuple[tuple[str, str], ...]:
        """Return (name, unit) of each value, those of the history with their age in periods."""
        own = self.own_signals()
        ages = reversed(range(self.history))
        return tuple(
            (name if age == 0 else f'{name}@-{age}', unit) for age in ages for name, unit in own
        )


@dataclass(frozen=True)
class ActionJoint:
    """One value of the action, and the command that it becomes: action * scale + offset."""

    joint: str
    """Name as in JointState and in trajectories."""
    low: float
    """Limits of the command, in its unit."""
    high: float
    scale: float = 1.0
    offset: float = 0.0
    largest_change: float = math.inf
    """From one command to the next, in its unit."""
    default: float = 0.0
    """What the ramp at the start leads to, in its unit: the default pose, or no effort."""

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ConfigurationError(
                f'joint {self.joint}: low {self.low} must be below high {self.high}'
            )
        if self.scale == 0.0 or not math.isfinite(self.scale):
            raise ConfigurationError(f'joint {self.joint}: scale is {self.scale}, must not be 0')
        if not self.largest_change > 0.0:
            raise ConfigurationError(
                f'joint {self.joint}: largest_change is {self.largest_change}, must be above 0'
            )
        if not self.low <= self.default <= self.high:
            raise ConfigurationError(
                f'joint {self.joint}: default {self.default} is outside {self.low} to {self.high}'
            )


@dataclass(frozen=True)
class Action:
    """What the policy's action becomes."""

    joints: tuple[ActionJoint, ...]
    kind: Literal['position', 'velocity', 'effort']
    message: Literal['Float64MultiArray', 'JointTrajectory', 'JointState'] = 'Float64MultiArray'
    names: tuple[str, ...] = ()
    """Of the values in the specification; empty for those of the joints."""
    units: tuple[str, ...] = ()
    """One for all, or one per value; empty for 1."""
    low: float = -1.0
    """Limits of the policy's action."""
    high: float = 1.0
    low_pass: float = 1.0
    """Share of the new command in what is sent; 1 sends it as it is, 0.2 smooths strongly."""

    def __post_init__(self) -> None:
        if not 0.0 < self.low_pass <= 1.0:
            raise ConfigurationError(f'low_pass is {self.low_pass}, must be above 0, at most 1')
        if not self.low < self.high:
            raise ConfigurationError(f'action: low {self.low} must be below high {self.high}')
        names = [joint.joint for joint in self.joints]
        if not names or len(set(names)) != len(names):
            raise ConfigurationError(f'action joints are {names}: name each once')


@dataclass(frozen=True)
class JointLimit:
    """Where a joint may be; outside, the robot is stopped."""

    joint: str
    low: float
    high: float


@dataclass(frozen=True)
class Safety:
    """What stops the robot, and how it comes back."""

    sensor_max_age_sec: dict[str, float] = field(default_factory=dict)
    """Per sensor (joint_states, imu, odometry, command); others have ``default_max_age_sec``."""
    default_max_age_sec: float = 0.2
    frozen_sec: float = 0.0
    """After how long a sensor whose values do not change at all counts as broken; 0 for never."""
    height: tuple[float, ...] = ()
    """(low, high) of the base, in m; empty for any. Outside it has fallen."""
    largest_tilt_rad: float = math.pi
    """Angle between the base's z axis and the vertical from which on it has fallen."""
    joint_limits: tuple[JointLimit, ...] = ()
    stop: Literal['hold', 'zero', 'default'] = 'zero'
    """The safe command: the last one again, zero, or each joint's default."""
    recovery: Literal['automatic', 'service'] = 'automatic'
    """Whether the robot goes on by itself once nothing stops it, or waits for ``robot/resume``."""
    recovery_sec: float = 0.5
    """For how long nothing may be wrong before it goes on."""
    emergency_stop_max_age_sec: float = 0.0
    """Largest age of the message on ``emergency_stop``; 0 for none needed."""
    ramp_sec: float = 2.0
    """From the present pose to the defaults before a policy acts, for position commands."""

    def __post_init__(self) -> None:
        unknown = sorted(set(self.sensor_max_age_sec) - set(SENSORS))
        if unknown:
            raise ConfigurationError(
                f'sensor_max_age_sec names {", ".join(unknown)}; valid are {", ".join(SENSORS)}'
            )
        if self.height and (len(self.height) != 2 or not self.height[0] < self.height[1]):
            raise ConfigurationError(f'height is {list(self.height)}, must be [low, high]')
        for limit in self.joint_limits:
            if not limit.low < limit.high:
                raise ConfigurationError(
                    f'joint_limits of {limit.joint}: low {limit.low} must be below {limit.high}'
                )


@dataclass(frozen=True)
class Reward:
    """What a step earns, for the records: a robot has no other reward."""

    alive: float = 0.0
    forward_velocity: float = 0.0
    """Per m/s along the world's x axis, over the step."""
    action_cost: float = 0.0
    """Per sum of squares of the policy's action."""


@dataclass(frozen=True)
class RobotDescription:
    """Everything that stands between a robot's topics and a policy."""

    environment_id: str
    control_period_sec: float
    observation: tuple[ObservationTerm, ...]
    action: Action
    safety: Safety = field(default_factory=Safety)
    reward: Reward = field(default_factory=Reward)
    max_episode_steps: int = 0
    step_on: Literal['clock', 'sensors'] = 'clock'
    """When a step is taken: at each control period of the steady clock, or as soon as all sensors
    have spoken of one moment, for robots whose drivers publish at the control rate. A policy that
    was trained without delay needs the latter: see docs/robots.md."""
    environment_arguments: dict[str, Any] = field(default_factory=dict)
    """Of the environment that the policy was trained in: part of what the policy compares."""

    @property
    def sensors(self) -> tuple[str, ...]:
        """Return the sensors that must be there."""
        needed = {_KINDS[term.term].sensor for term in self.observation}
        if self.safety.height:
            needed.add('odometry')
        if self.safety.largest_tilt_rad < math.pi:
            needed.add('imu')
        if self.safety.joint_limits:
            needed.add('joint_states')
        return tuple(name for name in SENSORS if name in needed)

    @property
    def measuring_sensors(self) -> tuple[str, ...]:
        """Return the sensors of the robot itself: all but the operator's command."""
        return tuple(name for name in self.sensors if name != 'command')

    def spec(self) -> EnvironmentSpec:
        """Return what the policy compares its own specification with."""
        signals = [signal for term in self.observation for signal in term.signals()]
        joints, action = self.action.joints, self.action
        names = action.names or tuple(joint.joint for joint in joints)
        units = action.units or ('1',)
        size = len(joints)
        _check_count('names of action', names, size)
        return EnvironmentSpec(
            environment_id=self.environment_id,
            observation_names=tuple(name for name, _ in signals),
            observation_units=tuple(unit for _, unit in signals),
            action_names=names,
            action_units=units * size if len(units) == 1 else units,
            action_low=(action.low,) * size,
            action_high=(action.high,) * size,
            safe_action=tuple(np.clip(np.zeros(size), action.low, action.high)),
            control_period_sec=self.control_period_sec,
            max_episode_steps=self.max_episode_steps,
            environment_arguments=arguments_as_json(
                self.environment_id, self.environment_arguments
            ),
        )


def find_description(given: str) -> Path:
    """Return the file of a description: a path, or the name of one that is shipped."""
    shipped = Path(str(files('rl_edge_robot'))) / 'descriptions'
    names = sorted(file.stem for file in shipped.glob('*.yaml'))
    if not given:
        raise ConfigurationError(
            f'parameter description is empty: give a YAML file, or one of {", ".join(names)}'
        )
    if given in names:
        return shipped / f'{given}.yaml'
    if not Path(given).is_file():
        raise ConfigurationError(
            f'description {given!r} is not a file{did_you_mean(given, names)}; shipped are '
            f'{", ".join(names)}'
        )
    return Path(given)


def read_description(given: str, model: str) -> RobotDescription:
    """Return the description of a file or a name, compared with an artifact unless that is ''.

    Raise ConfigurationError for a bad one, and SpecMismatchError when it does not fit the model.
    """
    description = load_description(find_description(given))
    if model:
        path = named_model(model)
        manifest = load_manifest(path if path.is_dir() else path.parent)
        check_against(description, manifest.environment)
    return description


def load_description(path: Path) -> RobotDescription:
    """Read a description; raise ConfigurationError that names what is wrong in which file."""
    try:
        description = from_mapping(RobotDescription, read_yaml(path))
        description.spec()
    except ConfigurationError as error:
        raise ConfigurationError(f'{path}: {error}') from error
    return description


def check_against(description: RobotDescription, wanted: EnvironmentSpec) -> None:
    """Raise SpecMismatchError, with both lists side by side, unless a policy fits the robot."""
    spec = description.spec()
    differences = spec.differences(wanted)
    if not differences:
        return
    mine, theirs = spec.environment_id, wanted.environment_id
    if mine != theirs:  # then all the rest differs too
        raise SpecMismatchError(
            f'the description does not fit the policy: it is of {mine}, the policy of {theirs}'
        )
    lines = [f'the description does not fit the policy: {"; ".join(differences)}']
    for what in ('observation_names', 'action_names'):
        mine, theirs = getattr(spec, what), getattr(wanted, what)
        if mine != theirs:
            lines.append(f'{what}: {len(mine)} described, {len(theirs)} wanted')
            rows = itertools.zip_longest(mine, theirs, fillvalue='-')
            lines += [
                f'  {index:3} {left:40} {right}{"" if left == right else "   <-"}'
                for index, (left, right) in enumerate(rows)
            ]
    raise SpecMismatchError('\n'.join(lines))


def _check_count(what: str, values: tuple, size: int) -> None:
    if len(values) != size:
        raise ConfigurationError(f'{what}: {len(values)} values, must be {size}: {list(values)}')
