"""Sensors, observations, commands and safety, with a clock that the test moves."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rl_edge_robot
from rl_edge_robot.commands import Commands
from rl_edge_robot.description import (
    Action,
    ActionJoint,
    JointLimit,
    ObservationTerm,
    RobotDescription,
    Safety,
    load_description,
)
from rl_edge_robot.observation import ObservationBuilder
from rl_edge_robot.safety import Motion, SafetyMonitor
from rl_edge_robot.sensors import Sensors, rotation

SEC = 1_000_000_000
JOINTS = ('shoulder', 'elbow')
ANT = load_description(Path(rl_edge_robot.__file__).parent / 'descriptions' / 'ant_v5.yaml')


def described(*terms, safety=None, kind='effort', **joint):
    joints = tuple(ActionJoint(name, **{'low': -2.0, 'high': 2.0, **joint}) for name in JOINTS)
    terms = terms or (ObservationTerm('joint_position', JOINTS),)
    return RobotDescription('Arm-v0', 0.02, terms, Action(joints, kind), safety or Safety())


def take_joints(sensors, names=JOINTS, positions=None, velocities=None, *, at=0, stamp=0):
    positions = [float(index) for index in range(len(names))] if positions is None else positions
    velocities = [10.0 * p for p in positions] if velocities is None else velocities
    sensors.take_joint_states(
        names,
        positions,
        velocities,
        wanted=JOINTS,
        needs_velocities=True,
        stamp_ns=stamp,
        now_ns=at,
    )


def test_joints_go_by_name_whatever_their_order():
    sensors = Sensors()
    take_joints(sensors, ['gripper', 'elbow', 'shoulder'], [9.0, 2.0, 1.0])
    terms = ObservationTerm('joint_position', JOINTS), ObservationTerm('joint_velocity', JOINTS)
    built = ObservationBuilder(described(*terms)).build(sensors, np.zeros(2))
    assert built.tolist() == [1.0, 2.0, 10.0, 20.0]
    assert built.dtype == np.float32


@pytest.mark.parametrize(
    ('names', 'positions', 'fault'),
    [
        (['shoulder'], [1.0], 'lack elbow; they have shoulder'),
        (['shoulder', 'Elbow'], [1.0, 2.0], 'lack elbow'),
        (['elbow', 'shoulder', 'elbow'], [1.0, 2.0, 3.0], 'have elbow twice'),
        (['elbow', 'shoulder'], [1.0], '2 names and 1 positions'),
        (['elbow', 'shoulder'], [1.0, math.nan], 'not finite'),
    ],
)
def test_joint_states_that_lack_something_are_not_taken(names, positions, fault):
    sensors = Sensors()
    take_joints(sensors, at=5)
    take_joints(sensors, names, positions, at=9, stamp=9)
    assert fault in sensors.fault('joint_states')
    assert sensors.positions == {'shoulder': 0.0, 'elbow': 1.0}
    assert sensors.age_sec('joint_states', 5 + SEC) == pytest.approx(1.0)
    take_joints(sensors, at=10, stamp=10)
    assert not sensors.fault('joint_states')


@pytest.mark.parametrize(
    ('positions', 'fault'),
    [
        ([-9e8, 9e8], ''),  # large together, but none of them alone
        ([0.0, -2e9], 'has the value -2e+09, which cannot be'),
        ([2e9, math.nan], 'not finite'),
        ([math.inf, -math.inf], 'not finite'),
    ],
)
def test_values_that_cannot_be_are_not_taken(positions, fault):
    sensors = Sensors()
    take_joints(sensors, positions=positions, velocities=[0.0, 0.0])
    assert fault in sensors.fault('joint_states')
    assert bool(sensors.positions) is not bool(fault)


def test_an_older_message_that_comes_later_is_left_out():
    sensors = Sensors()
    take_joints(sensors, positions=[1.0, 1.0], stamp=100, at=100)
    take_joints(sensors, positions=[2.0, 2.0], stamp=50, at=110)
    assert sensors.positions['elbow'] == 1.0
    # After a second of older stamps only, the clock was set back.
    take_joints(sensors, positions=[3.0, 3.0], stamp=60, at=100 + SEC)
    assert sensors.positions['elbow'] == 3.0


@pytest.mark.parametrize('quaternion', [(0.0, 0.0, 0.0, 0.0), (0.1, 0.0, 0.0, 0.0)])
def test_a_quaternion_of_no_length_is_no_orientation(quaternion):
    sensors = Sensors()
    sensors.take_imu(quaternion, (0.0, 0.0, 0.0), stamp_ns=0, now_ns=0)
    assert 'not a unit quaternion' in sensors.fault('imu')


def test_a_quaternion_that_is_not_normalised_is():
    sensors = Sensors()
    sensors.take_imu((2.0, 0.0, 0.0, 2.0), (0.0, 0.0, 0.0), stamp_ns=0, now_ns=0)
    assert sensors.orientation == pytest.approx([math.sqrt(0.5), 0, 0, math.sqrt(0.5)])


def test_terms_of_the_base():
    sensors = Sensors()
    turned = (math.sqrt(0.5), 0.0, 0.0, math.sqrt(0.5))  # a quarter to the left
    sensors.take_odometry((3.0, 4.0, 0.5), turned, (1.0, 0.0, 0.25), stamp_ns=0, now_ns=0)
    lying = (math.sqrt(0.5), math.sqrt(0.5), 0.0, 0.0)  # on its side: y is up
    sensors.take_imu(lying, (0.1, 0.2, 0.3), stamp_ns=0, now_ns=0)
    sensors.take_command((0.6, 0.0, -0.2), stamp_ns=0, now_ns=0)
    terms = (
        ObservationTerm('height', offset=(0.3,), scale=10.0),
        ObservationTerm('linear_velocity', frame='world'),
        ObservationTerm('linear_velocity'),
        ObservationTerm('projected_gravity'),
        ObservationTerm('angular_velocity', clip=0.25),
        ObservationTerm('commanded_velocity'),
        ObservationTerm('previous_action', names=('a', 'b')),
        ObservationTerm('constant', names=('c',), value=7.0),
    )
    built = ObservationBuilder(described(*terms)).build(sensors, np.array([0.5, -0.5]))
    assert built.tolist() == pytest.approx(
        [2.0, 0, 1, 0.25, 1, 0, 0.25, 0, -1, 0, 0.1, 0.2, 0.25, 0.6, 0, -0.2, 0.5, -0.5, 7.0],
        abs=1e-6,
    )


def test_a_history_begins_with_its_first_value():
    builder = ObservationBuilder(described(ObservationTerm('height', history=3)))
    sensors, seen = Sensors(), []
    for height in (1.0, 2.0, 3.0, 4.0):
        sensors.position = (0.0, 0.0, height)
        seen.append(builder.build(sensors, np.zeros(2)).tolist())
    assert seen == [[1, 1, 1], [1, 1, 2], [1, 2, 3], [2, 3, 4]]
    builder.restart()
    assert builder.build(sensors, np.zeros(2)).tolist() == [4, 4, 4]


def test_commands_are_scaled_limited_and_smoothed():
    commands = Commands(described(scale=2.0, offset=0.5, largest_change=1.0))
    assert commands.for_action(np.array([0.25, 9.0])) == [1.0, 2.0]
    assert commands.for_action(np.array([0.75, -9.0])) == [2.0, 1.0]
    assert commands.for_action(np.array([math.nan, 0.0])) == [0.0, 0.0]


def test_a_low_pass_goes_its_share_of_the_way():
    description = described()
    action = Action(description.action.joints, 'effort', low_pass=0.25)
    commands = Commands(RobotDescription('Arm-v0', 0.02, description.observation, action))
    commands.for_action(np.zeros(2))
    assert commands.for_action(np.array([1.0, -1.0])) == [0.25, -0.25]
    assert commands.for_action(np.array([1.0, -1.0])) == [0.4375, -0.4375]


@pytest.mark.parametrize(
    ('stop', 'command'), [('zero', [0, 0]), ('hold', [1.5, -1.5]), ('default', [0.5, 0.5])]
)
def test_safe_commands(stop, command):
    commands = Commands(described(safety=Safety(stop=stop), default=0.5, largest_change=0.1))
    commands.last = [1.5, -1.5]
    assert commands.safe() == command


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(st.floats(), min_size=8, max_size=8), min_size=1, max_size=20))
def test_no_command_is_outside_the_limits(actions):
    commands = Commands(ANT)
    for action in actions:
        sent = commands.for_action(np.array(action))
        assert np.isfinite(sent).all()
        assert (np.abs(sent) <= 150.0).all()


class Watched:
    """A monitor with sensors that are fine unless the test says otherwise."""

    def __init__(self, **safety):
        terms = ObservationTerm('joint_position', JOINTS), ObservationTerm('height')
        kind = safety.pop('kind', 'effort')
        self.monitor = SafetyMonitor(
            described(*terms, ObservationTerm('orientation'), safety=Safety(**safety), kind=kind)
        )
        self.sensors, self.now_ns = Sensors(), SEC
        self.height, self.turn, self.silent, self.count = 0.5, (1.0, 0.0, 0.0, 0.0), set(), 0
        self.positions, self.late_sec = [0.0, 0.0], {}

    def _times(self, sensor, order):
        late_ns = round(self.late_sec.get(sensor, 0.0) * SEC)
        return {'stamp_ns': self.now_ns - late_ns, 'now_ns': self.now_ns + order}

    def run(self, seconds):
        """Let time pass in steps of 10 ms, and return what the robot may do then."""
        for _ in range(round(seconds * 100)):
            self.now_ns += SEC // 100
            self.count += 1
            if 'joint_states' not in self.silent:
                positions = [p + 1e-6 * self.count for p in self.positions]
                times = self._times('joint_states', 0)
                at, stamp = times['now_ns'], times['stamp_ns']
                take_joints(self.sensors, JOINTS, positions, at=at, stamp=stamp)
            if 'imu' not in self.silent:
                spin = (1e-6 * self.count, 0, 0)
                self.sensors.take_imu(self.turn, spin, **self._times('imu', 1))
            if 'odometry' not in self.silent:
                place = (1e-6 * self.count, 0.0, self.height)
                times = self._times('odometry', 2)
                self.sensors.take_odometry(place, (1.0, 0, 0, 0), (0, 0, 0), **times)
            self.monitor.look(self.sensors, self.now_ns + 2)
        return self.monitor.motion


def test_it_moves_once_all_sensors_are_heard_and_nothing_was_wrong_for_a_while():
    w = Watched(recovery_sec=0.5)
    w.silent = {'odometry'}
    assert w.run(1.0) is Motion.STOPPED
    assert w.monitor.reason == 'nothing valid on odometry yet'
    w.silent = set()
    assert w.run(0.4) is Motion.STOPPED
    assert w.run(0.2) is Motion.READY
    assert w.monitor.reason == ''


@pytest.mark.parametrize('sensor', ['joint_states', 'imu', 'odometry'])
def test_a_silent_sensor_stops_it_and_its_return_lets_it_go_on(sensor):
    w = Watched(recovery_sec=0.1, default_max_age_sec=0.2)
    assert w.run(0.5) is Motion.READY
    w.silent = {sensor}
    assert w.run(0.15) is Motion.READY
    assert w.run(0.1) is Motion.STOPPED
    assert w.monitor.reason == f'nothing valid on {sensor} for 0.2 s'
    assert not w.monitor.fell
    w.silent = set()
    assert w.run(0.2) is Motion.READY


@pytest.mark.parametrize('sensor', ['joint_states', 'imu', 'odometry'])
def test_a_sensor_that_speaks_of_the_past_stops_it_in_whatever_order_sensors_come(sensor):
    w = Watched(recovery_sec=0.1, default_max_age_sec=0.2)
    assert w.run(0.5) is Motion.READY
    w.silent = {sensor}  # what was held up begins to come after a while
    w.run(0.15)
    w.silent, w.late_sec = set(), {sensor: 0.15}
    assert w.run(0.3) is Motion.READY
    w.late_sec = {sensor: 0.4}
    assert w.run(2.0) is Motion.STOPPED
    assert re.fullmatch(f'{sensor} is 0[.](39|40) s behind .*, by their stamps', w.monitor.reason)
    w.late_sec = {}
    assert w.run(0.2) is Motion.READY


def test_a_clock_that_jumps_for_all_sensors_stops_nothing():
    w = Watched(recovery_sec=0.1, default_max_age_sec=0.2)
    assert w.run(0.5) is Motion.READY
    w.late_sec = dict.fromkeys(('joint_states', 'imu', 'odometry'), -3600.0)
    for _ in range(20):
        assert w.run(0.01) is Motion.READY


def test_a_frozen_sensor_is_broken():
    w = Watched(recovery_sec=0.1, frozen_sec=0.3)
    assert w.run(0.5) is Motion.READY
    w.count = -1
    for _ in range(40):
        w.count = -1  # the very same values again and again
        w.run(0.01)
    assert w.monitor.motion is Motion.STOPPED
    assert 'has not changed for 0.3 s' in w.monitor.reason


@pytest.mark.parametrize(
    ('fall', 'reason'),
    [
        ({'height': 0.1}, 'base too low'),
        ({'height': 1.1}, 'base too high'),
        ({'turn': (math.sqrt(0.5), math.sqrt(0.5), 0.0, 0.0)}, 'base tilted too far'),
    ],
)
def test_a_fall_stops_it_at_once(fall, reason):
    w = Watched(height=(0.2, 1.0), largest_tilt_rad=1.0, recovery='service', recovery_sec=0.1)
    assert w.run(0.5) is Motion.READY
    for name, value in fall.items():
        setattr(w, name, value)
    assert w.run(0.01) is Motion.STOPPED
    assert (w.monitor.reason, w.monitor.fell) == (reason, True)
    w.height, w.turn = 0.5, (1.0, 0.0, 0.0, 0.0)
    assert w.run(2.0) is Motion.STOPPED
    assert w.monitor.reason == 'stopped; waiting for robot/resume'
    w.monitor.resume()
    assert w.run(0.2) is Motion.READY


def test_a_joint_that_left_its_limits_stops_it():
    w = Watched(joint_limits=(JointLimit('elbow', -1.0, 1.0),), recovery_sec=0.1)
    assert w.run(0.5) is Motion.READY
    w.positions = [0.0, 1.5]
    assert w.run(0.01) is Motion.STOPPED
    assert w.monitor.reason.startswith('joint elbow is at 1.500, outside -1.0 to 1.0')


def test_the_emergency_stop_stops_it_whatever_else_is_fine():
    w = Watched(recovery_sec=0.1)
    assert w.run(0.5) is Motion.READY
    w.monitor.set_emergency_stop(True, w.now_ns)
    assert w.run(0.01) is Motion.STOPPED
    assert w.monitor.reason == 'emergency stop'
    assert w.run(3.0) is Motion.STOPPED
    w.monitor.set_emergency_stop(False, w.now_ns)
    assert w.run(0.2) is Motion.READY


def test_an_emergency_stop_that_falls_silent_stops_it():
    w = Watched(recovery_sec=0.1, emergency_stop_max_age_sec=0.3)
    assert w.run(0.5) is Motion.STOPPED
    assert 'no message on emergency_stop' in w.monitor.reason
    for _ in range(10):
        w.monitor.set_emergency_stop(False, w.now_ns)
        w.run(0.05)
    assert w.monitor.motion is Motion.READY
    assert w.run(0.4) is Motion.STOPPED


def test_position_commands_begin_with_a_ramp():
    w = Watched(recovery_sec=0.1, ramp_sec=1.0, kind='position')
    assert w.run(0.2) is Motion.RAMP
    assert w.run(0.5) is Motion.RAMP
    assert 0.4 < w.monitor.ramp_share(w.now_ns) < 0.7
    assert w.run(0.6) is Motion.READY
    commands = Commands(described(kind='position', default=1.0))
    commands.begin_ramp([0.0, 2.0])
    assert commands.ramp(0.25) == [0.25, 1.75]
    slow = Commands(described(kind='position', default=1.0, largest_change=0.1))
    slow.begin_ramp([0.0, 2.0])
    assert slow.ramp(0.25) == [0.1, 1.9]


def test_rotations_turn_the_bodys_frame_into_the_worlds():
    quarter_left = (math.sqrt(0.5), 0.0, 0.0, math.sqrt(0.5))
    assert np.array(rotation(quarter_left)) @ [1, 0, 0] == pytest.approx([0, 1, 0])
