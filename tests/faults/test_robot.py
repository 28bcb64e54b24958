"""Faults of a robot behind standard topics: its sensors, controller, policy, clock and button."""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import Iterator

import pytest
from robot_fault_loop import (
    SENSORS,
    Frozen,
    Late,
    OutOfOrder,
    RobotFaultLoop,
    not_a_number,
    shifted,
    silent,
)
from std_msgs.msg import Float64MultiArray

from rl_edge_bringup.models import workspace_folder
from rl_edge_core.archive import pack_artifact
from rl_edge_core.files import sha256_of
from rl_edge_core.ros import qos
from rl_edge_interfaces.srv import LoadModel

STOPS = 'the safe command at once, reported; it goes on when that is over'
SAFE = 'the safe command; recovery'


@pytest.fixture(scope='module')
def shared_robot(request, mode, tmp_path_factory) -> Iterator[list[RobotFaultLoop]]:
    """One robot for all cases; emptied by a case that fails."""
    loops: list[RobotFaultLoop] = []
    domain_id = request.config.getoption('faults_domain', default=91) + 1

    def running() -> RobotFaultLoop:
        if not loops:
            folder = tmp_path_factory.mktemp('robot')
            model = workspace_folder() / 'models' / 'ant_v5' / 'best'
            loop = RobotFaultLoop(folder, model, mode, domain_id, environment_id='Ant-v5')
            loops.append(loop.__enter__())
        return loops[0]

    yield running, loops
    for loop in loops:
        loop.close()


@pytest.fixture
def robot(shared_robot) -> Iterator[RobotFaultLoop]:
    """A robot that walks; afterwards its commands and transitions are audited."""
    running, loops = shared_robot
    loop = running()
    with contextlib.ExitStack() as broken:
        broken.callback(lambda: (loop.close(), loops.clear()))
        with loop.watched():
            loop.wait_until_steady('the robot walks before the fault')
            loop.since = loop.newest_observation()
            yield loop
            loop.wait_until_steady('the robot walks after the fault')
            audit = loop.audit(loop.since)
        assert loop.commands_outside() == 0
        assert (audit.outside, audit.doubled, audit.lost) == (0, 0, 0)
        broken.pop_all()


FAULTS = {
    'silent': (lambda: silent, 'nothing valid on {sensor} for 0.2 s'),
    'NaN': (lambda: not_a_number, '{sensor} has a value that is not finite'),
    'frozen at one value': (Frozen, '{sensor} has not changed for 0.5 s'),
    'late': (Late, '{sensor} is '),
}


@pytest.mark.parametrize(
    ('sensor', 'fault'),
    [
        pytest.param(
            sensor,
            fault,
            marks=pytest.mark.faults(f'robot: {sensor} {fault}', expected=STOPS, only='realtime'),
            id=f'{sensor} {fault}',
        )
        for sensor in SENSORS
        for fault in FAULTS
    ],
)
def test_sensor(robot, mode, happened, sensor, fault):
    make, reason = FAULTS[fault]
    with robot.fault(sensor, make()):
        report = robot.wait_until_stopped(reason.format(sensor=sensor))

    robot.wait_until_steady('it goes on')
    happened(f'{report!r}; then it goes on')


@pytest.mark.parametrize(
    'sensor',
    [
        pytest.param(
            sensor,
            marks=pytest.mark.faults(
                f'robot: {sensor} out of order',
                expected='older values are left out; steps go on',
                only='realtime',
            ),
        )
        for sensor in SENSORS
    ],
)
def test_sensor_out_of_order(robot, mode, happened, sensor):
    with robot.fault(sensor, OutOfOrder()):
        robot.wait_until_steady('it walks meanwhile')
    reasons = [e.termination_reason for e in robot.observer.episodes[robot.seen_episodes :]]
    assert not [reason for reason in reasons if not reason.startswith('base too')]
    happened('it walks on with every second value')


@pytest.mark.faults('robot: controller gone', expected=STOPS, only='realtime')
def test_controller_gone(robot, mode, happened):
    robot.relay.takes_commands = False
    report = robot.wait_until_stopped('nobody receives commands on /ant0/commands')
    robot.relay.takes_commands = True

    robot.wait_until_steady('it goes on')
    happened(f'{report!r}; then it goes on')


@pytest.mark.faults('robot: policy killed', expected=SAFE, only='realtime')
def test_policy_killed(robot, mode, happened):
    robot.kill(robot.policy, 'policy')
    robot.wait_for('the safe command', lambda: [0.0] * 8 in robot.relay.commands[-40:])

    robot.wait_until_steady('a new process acts')
    happened('zero efforts until a new process acts')


@pytest.mark.faults(
    'robot: policy stopped', expected='the safe command; recovery', only='realtime'
)
def test_policy_stopped(robot, mode, happened):
    with robot.stopped(robot.policy, 'policy'):
        robot.wait_for('the safe command', lambda: robot.relay.commands[-3:] == [[0.0] * 8] * 3)
        report = robot.wait_for_report('robot', 'safe action is applied instead')

    robot.wait_until_steady('it goes on')
    happened(f'zero efforts: {report!r}; then it goes on')


@pytest.mark.faults(
    'robot: policy swapped', expected='loaded between two actions', only='realtime'
)
def test_policy_swapped(robot, mode, happened):
    archive = pack_artifact(robot.model, ['int8'])
    answer = robot.load_model(
        LoadModel.Request(archive=array('B', archive), sha256=sha256_of(archive))
    )

    assert answer.success, answer.message
    robot.wait_until_steady('it walks by the new one')
    happened(f'{answer.message}; it walks on')


@pytest.mark.faults('robot: emergency stop lost', expected=STOPS, only='realtime')
def test_emergency_stop_lost(robot, mode, happened):
    robot.relay.emergency_stop = None
    report = robot.wait_until_stopped('no message on emergency_stop for 0.5 s')
    robot.relay.emergency_stop = False

    robot.wait_until_steady('it goes on')
    happened(f'{report!r}; then it goes on')


@pytest.mark.faults('robot: emergency stop pressed', expected=STOPS, only='realtime')
def test_emergency_stop_pressed(robot, mode, happened):
    robot.relay.emergency_stop = True
    robot.wait_until_stopped('emergency stop')
    robot.relay.emergency_stop = False

    robot.wait_until_steady('it goes on')
    happened('zero efforts at once; it goes on when the button is released')


@pytest.mark.faults(
    'robot: clock of the sensors jumps',
    expected='forwards it walks on; backwards it stands for a second at most',
    only='realtime',
)
def test_clock_jump(robot, mode, happened):
    with contextlib.ExitStack() as jumped:
        for sensor in SENSORS:
            jumped.enter_context(robot.fault(sensor, shifted(3600.0)))
        robot.wait_until_steady('it walks an hour later')
        reasons = [e.termination_reason for e in robot.observer.episodes[robot.seen_episodes :]]
        assert not [reason for reason in reasons if not reason.startswith('base too')]
    found = robot.wait_until_stopped('nothing valid on ')

    robot.wait_until_steady('it walks again')
    happened(f'an hour forwards: walks on; back: {found!r}, then it goes on')


@pytest.mark.faults('robot: second node sends commands', expected='reported', only='realtime')
def test_two_command_publishers(robot, mode, happened):
    with robot.observer.publisher(Float64MultiArray, 'commands', qos.action()):
        report = robot.wait_for_report('robot', 'two nodes send commands to the robot')
    robot.wait_for('no report any more', lambda: 'two nodes' not in robot.reports[-1].message)
    happened(repr(report))


@pytest.mark.faults(
    'robot: robot node killed', expected='the robot stands; recovery', only='realtime'
)
def test_robot_node_killed(robot, mode, happened):
    robot.kill(robot.policy, 'robot')
    robot.wait_until_steady('a new process drives it')
    happened('the robot takes zero for commands that are too old; a new process drives it')
