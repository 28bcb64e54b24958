"""The robot's loop without ROS: when it steps, and that no command ever leaves its limits."""

import math
from array import array
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from rl_edge_core.episode_result import EndedBy
from rl_edge_core.loop.control_loop import Phase
from rl_edge_robot.description import (
    Action,
    ActionJoint,
    JointLimit,
    ObservationTerm,
    RobotDescription,
    Safety,
)
from rl_edge_robot.robot_loop import RobotLoop
from rl_edge_robot.robot_parameters import RobotParameters
from rl_edge_robot.robot_plant import RobotPlant
from rl_edge_robot.safety import Motion, SafetyMonitor
from rl_edge_robot.sensors import Sensors

MS = 1_000_000
PERIOD = 20 * MS
JOINTS = ('shoulder', 'elbow', 'wrist')
RUN = 7
MESSAGES = 100_000

DESCRIPTION = RobotDescription(
    environment_id='Arm-v0',
    control_period_sec=0.02,
    step_on='sensors',
    observation=(
        ObservationTerm('joint_position', JOINTS),
        ObservationTerm('joint_velocity', JOINTS),
        ObservationTerm('orientation'),
        ObservationTerm('height', history=2),
        ObservationTerm('linear_velocity', frame='world'),
        ObservationTerm('previous_action', names=JOINTS),
    ),
    action=Action(
        kind='position',
        joints=(
            ActionJoint('shoulder', -1.0, 2.0, scale=1.5, largest_change=0.25, default=0.5),
            ActionJoint('elbow', -0.5, 0.5, scale=-1.0, offset=0.3, largest_change=0.05),
            ActionJoint('wrist', -3.0, -1.0, scale=4.0, default=-2.0),
        ),
        low_pass=0.7,
    ),
    safety=Safety(
        height=(0.2, 1.0),
        largest_tilt_rad=1.2,
        joint_limits=(JointLimit('elbow', -2.0, 2.0),),
        frozen_sec=0.5,
        recovery_sec=0.04,
        ramp_sec=0.1,
        stop='hold',
    ),
)


class Arm:
    """A loop whose clock, sensors and policy the test plays."""

    def __init__(self, description=DESCRIPTION, **loop):
        self.now_ns, self.stamp_ns = 1_000 * MS, 0
        self.commands, self.observations, self.steps, self.episodes = [], [], [], []
        self.sensors, self.monitor = Sensors(), SafetyMonitor(description)
        self.plant = RobotPlant(
            description,
            self.sensors,
            self.monitor,
            send=lambda values: self.commands.append(np.array(values)),
            seed=10,
            system_ns=lambda: self.now_ns,
        )
        self.loop = RobotLoop(
            self.plant,
            SimpleNamespace(
                publish_observation=self.observations.append,
                publish_step=self.steps.append,
                publish_episode=self.episodes.append,
                restart_ticks=lambda: None,
                finish=lambda code: None,
            ),
            RobotParameters(),
            run_id=RUN,
            find_missing=lambda: '' if self.monitor.motion is Motion.READY else 'stopped',
            now_ns=lambda: self.now_ns,
            **loop,
        )

    def say(self, sensor, *, stamp_ns=None, value=None, names=JOINTS):
        """Let one sensor say something a little different from before."""
        stamp_ns = self.stamp_ns if stamp_ns is None else stamp_ns
        times = {'stamp_ns': stamp_ns, 'now_ns': self.now_ns}
        small = 1e-6 * (self.now_ns // MS % 1000)
        if sensor == 'joint_states':
            positions = [small if value is None else value] * len(names)
            wanted = {'wanted': JOINTS, 'needs_velocities': True}
            self.sensors.take_joint_states(names, positions, positions, **wanted, **times)
        elif sensor == 'imu':
            w = 1.0 if value is None else value
            self.sensors.take_imu((w, 0.0, 0.0, 0.0), (small, 0.0, 0.0), **times)
        else:
            height = 0.5 if value is None else value
            pose = (small, 0.0, height), (1.0, 0.0, 0.0, 0.0)
            self.sensors.take_odometry(*pose, (0.1, 0.0, 0.0), **times)
        self.loop.on_sensor(self.now_ns)

    def answer(self, values, *, step=None):
        self.loop.on_action(
            SimpleNamespace(
                run_id=RUN,
                episode=self.plant.episode,
                step=self.plant.step if step is None else step,
                values=array('f', values),
                model_hash='f',
                inference_time_us=1.0,
                safe_action=False,
            )
        )

    def period(self, *, action=(0.0, 0.0, 0.0)):
        """Let a control period pass with all sensors, 3 ms apart, and an answer after 5 ms."""
        self.stamp_ns += PERIOD
        for sensor in ('joint_states', 'imu', 'odometry'):
            self.now_ns += 3 * MS
            self.say(sensor)
        self.now_ns += 5 * MS
        if self.loop.phase in (Phase.STARTING, Phase.RUNNING):
            self.answer(action)
        self.now_ns += 6 * MS
        self.loop.on_period()

    def until(self, condition):
        for _ in range(100):
            if condition():
                return
            self.period()
        raise AssertionError('did not happen in 100 periods')


def test_a_step_is_taken_at_the_last_sensor_of_a_moment_whatever_their_order():
    arm = Arm()
    arm.until(lambda: len(arm.steps) > 3)
    for order in (('imu', 'odometry', 'joint_states'), ('odometry', 'joint_states', 'imu')):
        arm.stamp_ns += PERIOD
        arm.now_ns += 12 * MS
        counts = []
        for sensor in order:
            arm.now_ns += 2 * MS
            arm.say(sensor)
            counts.append(len(arm.steps))
        assert counts[0] == counts[1] == counts[2] - 1
        arm.answer((0.0, 0.0, 0.0))
    assert arm.loop.dropped_periods == 0


def test_values_of_two_moments_are_in_no_observation():
    arm = Arm()
    arm.until(lambda: len(arm.steps) > 3)
    before = len(arm.steps)
    arm.stamp_ns += PERIOD  # joint_states of this moment are lost
    arm.now_ns += 9 * MS
    arm.say('imu')
    arm.say('odometry')
    arm.stamp_ns += PERIOD
    arm.now_ns += PERIOD
    arm.say('joint_states', value=0.1)
    assert len(arm.steps) == before
    arm.say('imu')
    arm.say('odometry')
    assert len(arm.steps) == before + 1
    assert arm.steps[-1].next_observation[0] == np.float32(0.1)
    assert arm.loop.dropped_periods == 1


def test_sensors_that_are_faster_than_control_do_not_make_it_faster():
    arm = Arm()
    arm.until(lambda: len(arm.steps) > 3)
    before = len(arm.steps)
    for _ in range(40):
        arm.stamp_ns += PERIOD // 4
        arm.now_ns += PERIOD // 4
        for sensor in ('joint_states', 'imu', 'odometry'):
            arm.say(sensor)
        if not arm.loop._gate.is_answered:
            arm.answer((0.0, 0.0, 0.0))
    assert len(arm.steps) == before + 10


def test_sensors_that_no_longer_agree_on_the_time_leave_it_to_the_clock():
    arm = Arm()
    arm.until(lambda: len(arm.steps) > 3)
    before = len(arm.steps)
    for _ in range(20):
        arm.stamp_ns += PERIOD
        arm.now_ns += PERIOD
        arm.say('joint_states')
        arm.say('imu')
        arm.say('odometry', stamp_ns=arm.stamp_ns + 10 * PERIOD)
        arm.loop.on_period()
    assert 4 <= len(arm.steps) - before <= 10


def test_by_the_clock_it_steps_at_ticks_alone():
    arm = Arm(replace(DESCRIPTION, step_on='clock'))
    arm.until(lambda: arm.loop.phase is Phase.RUNNING)
    before = len(arm.steps)
    for _ in range(5):
        arm.period()
    assert len(arm.steps) == before
    arm.loop.on_tick()
    assert len(arm.steps) == before + 1


def test_an_episode_begins_where_the_robot_was_put_with_its_seed():
    asked = []
    arm = Arm(reset_robot=lambda seed: asked.append(seed) or True)
    arm.until(lambda: asked)
    for _ in range(5):
        arm.period()
    assert (asked, arm.observations) == ([10], [])
    arm.loop.is_at_start = True
    arm.period()
    assert [event.step for event in arm.observations] == [0]
    assert arm.observations[0].values[6] == 1.0
    arm.until(lambda: len(arm.steps) > 3)
    arm.say('odometry', value=0.1)
    assert arm.episodes[-1].result.ended_by is EndedBy.TERMINATION
    assert arm.episodes[-1].result.seed == 10
    arm.until(lambda: len(asked) == 2)
    assert asked == [10, 11]


def test_a_paused_robot_is_not_put_anywhere():
    asked = []
    arm = Arm(reset_robot=lambda seed: asked.append(seed) or True)
    arm.loop.pause(True)
    for _ in range(20):
        arm.period()
    assert asked == []
    arm.loop.pause(False)
    arm.until(lambda: asked)


def test_a_reset_of_an_episode_that_is_awaited_keeps_its_number():
    arm = Arm()
    arm.until(lambda: len(arm.steps) > 3)
    arm.say('odometry', value=0.1)
    assert arm.loop.phase is Phase.WAITING
    assert arm.loop.reset(99) == arm.plant.episode == 1
    arm.until(lambda: len(arm.observations) and arm.observations[-1].episode == 1)
    assert arm.plant.seed == 99


def test_what_it_adds_to_a_response_is_measured():
    arm = Arm()
    arm.until(lambda: len(arm.steps) > 10)
    summary = arm.loop.times.summary()
    assert summary.period_p50_us == pytest.approx(20_000.0)
    assert summary.added_p50_us == 0.0  # the clock stands still while it computes


@pytest.mark.parametrize('pause', [True, False])
def test_efforts_do_not_outlast_what_they_were_for(pause):
    joints = tuple(
        replace(joint, low=-3.0, high=3.0, default=0.0) for joint in DESCRIPTION.action.joints
    )
    effort = replace(
        DESCRIPTION,
        action=replace(DESCRIPTION.action, kind='effort', joints=joints),
        safety=replace(DESCRIPTION.safety, stop='zero'),
        max_episode_steps=20,
    )
    arm = Arm(effort)
    arm.until(lambda: len(arm.steps) > 10)
    arm.period(action=(0.5, 0.5, 0.5))
    assert arm.commands[-1].any()
    if pause:
        arm.loop.pause(True)
    else:
        arm.loop._find_missing = lambda: 'no policy'
        arm.until(lambda: arm.loop.phase is Phase.WAITING)
    for _ in range(15):
        arm.now_ns += PERIOD
        arm.stamp_ns += PERIOD
        for sensor in ('joint_states', 'imu', 'odometry'):
            arm.say(sensor)
        arm.loop.on_period()
    assert not arm.commands[-1].any()


ODD = (0.0, 1.0, -1.0, 0.3, 5.0, 1e9, -1e300, math.nan, math.inf, -math.inf)
NAMES = (JOINTS, JOINTS[::-1], (*JOINTS, 'gripper'), JOINTS[:2], (*JOINTS, 'elbow'), ('a', 'b'))


@pytest.mark.parametrize('kind', ['position', 'effort'])
@pytest.mark.parametrize('seed', range(2))
def test_no_command_leaves_its_limits_whatever_sensors_and_policy_say(kind, seed):
    """25,000 messages of sensors per case: wrong, late, out of order, silent, doubled."""
    description = replace(DESCRIPTION, action=replace(DESCRIPTION.action, kind=kind))
    motions = []
    arm = Arm(description, on_motion=motions.append)
    generator = np.random.default_rng(seed)
    joints = description.action.joints
    low, high, change = (
        np.array([getattr(joint, name) for joint in joints])
        for name in ('low', 'high', 'largest_change')
    )
    jumps = []
    arm.plant._send = lambda values: jumps.append(_check(np.array(values)))
    last = None

    def _check(values):
        nonlocal last
        assert np.isfinite(values).all()
        assert (values >= low).all()
        assert (values <= high).all()
        changed = None if last is None else np.abs(values - last)
        last = values.copy()
        return changed is not None and bool((changed > change + 1e-9).any())

    sensors = ('joint_states', 'imu', 'odometry')
    acted = 0
    for count in range(MESSAGES // 4):
        # Mostly a robot that works, so that it gets to move at all.
        if generator.random() < 0.97:
            sensor = sensors[count % 3]
            arm.stamp_ns += PERIOD * (count % 3 == 0)
            arm.now_ns += PERIOD // 3
            arm.say(sensor)
        else:
            arm.now_ns += int(generator.integers(0, 300 * MS))
            arm.say(
                sensors[generator.integers(3)],
                stamp_ns=arm.stamp_ns + int(generator.integers(-5 * PERIOD, 5 * PERIOD)),
                value=ODD[generator.integers(len(ODD))],
                names=NAMES[generator.integers(len(NAMES))],
            )
        if generator.random() < 0.6 and arm.loop.phase in (Phase.STARTING, Phase.RUNNING):
            size = 3 if generator.random() < 0.98 else int(generator.integers(0, 6))
            odd = generator.random() < 0.05
            values = generator.choice(ODD, size) if odd else generator.normal(0.0, 1.0, size)
            with np.errstate(over='ignore'):
                arm.answer(np.asarray(values, np.float32).tolist())
        arm.loop.on_period()
        acted += arm.loop.phase is Phase.RUNNING
    assert acted > 1000
    assert motions.count(Motion.STOPPED) > 10
    assert any(step.applied.is_safe_action for step in arm.steps)
    # A ramp alone begins with another command than the last: where the joints are.
    assert sum(jumps) <= motions.count(Motion.RAMP)
