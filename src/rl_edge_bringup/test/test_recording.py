"""Which recorder records, with which command line, and how it ends."""

import os
import re
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml
from programs import Program, run

from rl_edge_bringup import recording, systems
from rl_edge_bringup.__main__ import main
from rl_edge_bringup.models import results_folder
from rl_edge_bringup.prepare import prepare
from rl_edge_bringup.qos_profiles import qos_from_mapping
from rl_edge_bringup.recording import (
    RL_EDGE,
    ROSBAG2,
    choose_recorder,
    missing_for_rosbag2,
    record_command,
    recorder_nodes,
    subscription_qos,
    topics_regex,
    with_recorder,
)
from rl_edge_bringup.running_system import RunningSystem
from rl_edge_bringup.systems import UNTRAINED, find_system
from rl_edge_compress.untrained import ensure_untrained
from rl_edge_core.errors import ConfigurationError
from rl_edge_core.recording import SUBSCRIPTION_DEPTH, select_topics
from rl_edge_eval.metrics_of_bag import metrics_of_bag

TOPICS = (
    '/ant0/transition',
    '/ant0/resource_usage/sim',
    '/ant0/observation',
    '/ant1/transition',
    '/clock',
)
LOSSY = {'reliability': 'best_effort'}
ENDS_LATE = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
print("ready", flush=True)
signal.sigwait([signal.SIGINT])
print("final messages", flush=True)
"""
STANDS_FOR_RECORDER = """
import signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
print("recording to", sys.argv[-1], flush=True)
signal.sigwait([signal.SIGINT])
print("bag closed", flush=True)
"""


@pytest.mark.parametrize(
    'text', ['default', 'all', 'transition, /clock', 'resource_usage/*', '?*']
)
@pytest.mark.parametrize('namespaces', [['ant0'], ['ant0', 'ant1']])
def test_rosbag2_is_given_the_topics_that_our_recorder_records(text, namespaces):
    selection = select_topics(text, namespaces)
    expression = re.compile(topics_regex(selection))

    for topic in TOPICS:
        assert bool(expression.search(topic)) == selection.wants(topic)


def test_the_command_line_of_rosbag2():
    topics = select_topics('default', ['ant0'])
    command = record_command(
        topics, storage='sqlite3', bag='/tmp/run/bag', qos_file='/tmp/run/qos.yaml'
    )

    assert command == (
        *(sys.executable, '-m', 'rl_edge_bringup.rosbag2_process', '/tmp/run/bag'),
        *('ros2', 'bag', 'record', '--storage', 'sqlite3', '--regex'),
        '^(/ant0/transition|/ant0/episode|/ant0/environment|/ant0/policy_status|'
        '/ant0/resource_usage/.*|/ant0/control_timing)$',
        *('--qos-profile-overrides-path', '/tmp/run/qos.yaml', '--disable-keyboard-controls'),
    )


def test_rosbag2_keeps_as_many_steps_as_our_recorder_and_asks_for_what_is_offered():
    topics = select_topics('default, observation', ['ant0', 'fleet/ant1'])
    overrides = qos_from_mapping(
        {'topics': {'transition': {'durability': 'volatile'}, 'observation': LOSSY}}
    )

    profiles = subscription_qos(topics, ['/ant0', 'fleet/ant1'], overrides)

    assert list(profiles) == [
        f'/{robot}/{topic}'
        for robot in ('ant0', 'fleet/ant1')
        for topic in ('observation', 'transition', 'episode')
    ]
    for topic, reliability, durability in (
        ('observation', 'best_effort', 'volatile'),
        ('transition', 'reliable', 'volatile'),
        ('episode', 'reliable', 'transient_local'),
    ):
        assert profiles[f'/ant0/{topic}'] == {
            'history': 'keep_last',
            'depth': SUBSCRIPTION_DEPTH,
            'reliability': reliability,
            'durability': durability,
        }


def test_rosbag2_is_given_the_qos_of_the_run(monkeypatch, tmp_path):
    monkeypatch.setattr(recording, 'missing_for_rosbag2', lambda storage: [])
    chosen = values(tmp_path, recorder='rosbag2', record_topics='action', qos='lossy')

    (node,) = recorder_nodes(chosen)

    file = node.command[node.command.index('--qos-profile-overrides-path') + 1]
    profiles = yaml.safe_load(Path(file).read_text())
    assert profiles['/ant0/action']['reliability'] == 'best_effort'


@pytest.mark.parametrize(
    ('asked', 'missing', 'chosen'),
    [
        ('auto', [], ROSBAG2),
        ('auto', ['ros2bag'], RL_EDGE),
        ('rosbag2', [], ROSBAG2),
        ('rl_edge', [], RL_EDGE),
        ('rl_edge', ['ros2bag'], RL_EDGE),
    ],
)
def test_auto_takes_rosbag2_where_it_is_installed(monkeypatch, asked, missing, chosen):
    monkeypatch.setattr(recording, 'missing_for_rosbag2', lambda storage: missing)

    assert choose_recorder(asked, 'mcap') == chosen


def test_without_rosbag2_the_command_that_installs_it_is_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv('PATH', str(tmp_path))
    monkeypatch.setenv('ROS_DISTRO', 'jazzy')
    remedy = 'sudo apt install ros-jazzy-ros2bag ros-jazzy-rosbag2-storage-mcap'

    with pytest.raises(ConfigurationError, match=remedy):
        choose_recorder('rosbag2', 'mcap')
    assert main(['desktop', 'record:=true', 'recorder:=rosbag2', f'output:={tmp_path}/a']) == 2
    assert remedy in capsys.readouterr().err


def values(tmp_path, **given):
    defaults = {argument.name: argument.default for argument in find_system('sim').arguments}
    return {**defaults, 'record': True, 'output_folder': str(tmp_path), **given}


def test_both_recorders_write_the_file_that_the_others_wait_for(monkeypatch, tmp_path):
    monkeypatch.setattr(recording, 'missing_for_rosbag2', lambda storage: [])
    nodes = [
        *recorder_nodes(values(tmp_path, recorder='rl_edge')),
        *recorder_nodes(values(tmp_path, recorder='rosbag2')),
    ]

    assert [node.executable for node in nodes] == ['recorder_node', 'record']
    assert [node.ready_file for node in nodes] == [f'{tmp_path}/bag/bag_0.*'] * 2


@pytest.mark.parametrize(
    ('system', 'given', 'subscribers'),
    [
        ('sim', {}, 'recorder'),
        ('sim', {'record_topics': 'all'}, 'recorder'),
        ('sim', {'record_topics': 'episode, /diagnostics'}, ''),
        ('train', {}, 'train, recorder'),
    ],
)
def test_the_sim_begins_when_all_who_need_every_transition_receive(
    system, given, subscribers, tmp_path
):
    defaults = {argument.name: argument.default for argument in find_system(system).arguments}
    chosen = {**defaults, 'record': True, 'output_folder': str(tmp_path), 'recorder': 'rl_edge'}
    recorder, *nodes = with_recorder(find_system(system).nodes(chosen | given), chosen | given)
    sims = [node for node in nodes if node.executable == systems.SIM]

    assert recorder.executable == systems.RECORDER
    assert [sim.parameters['transition_subscribers'] for sim in sims] == [subscribers]


def test_a_bag_that_is_there_is_left_alone(tmp_path):
    (tmp_path / 'bag').mkdir()
    (tmp_path / 'bag_2').mkdir()

    (node,) = recorder_nodes(values(tmp_path, recorder='rl_edge'))

    assert node.ready_file == f'{tmp_path}/bag_3/bag_3_0.*'


def beside(program, *, bag):
    """Return ``program`` as it runs behind the process that ends rosbag2."""

    class Recorder(Program):
        @property
        def command(self):
            process = (sys.executable, '-m', 'rl_edge_bringup.rosbag2_process', str(bag))
            return (*process, *super().command)

    return Recorder(program.name, program.code)


def test_rosbag2_is_ended_when_the_nodes_beside_it_have_said_their_last_words(tmp_path):
    (tmp_path / 'bag').mkdir()
    lines = []
    recorder = beside(Program('recorder', STANDS_FOR_RECORDER), bag=tmp_path / 'bag')

    with run(
        recorder, Program('sim', ENDS_LATE), on_line=lambda node, line: lines.append(line)
    ) as system:
        system.log.wait_for('recording to')
        system.log.wait_for('ready')
        system.stop()
        assert system.wait(60).exit_code == 0

    assert f'recording to {tmp_path}/bag_2' in lines
    assert lines.index('final messages') < lines.index('bag closed')


def test_rosbag2_that_dies_ends_with_its_exit_code(tmp_path):
    recorder = beside(Program('recorder', 'import sys; sys.exit(7)'), bag=tmp_path / 'bag')

    with run(recorder) as system:
        assert system.wait(60).exit_code == 7


A_CHUNK_BYTES = 20_000
"""A bag that is larger has been flushed at least once."""


@pytest.fixture
def prepared(tmp_path):
    def make(**given):
        model = ensure_untrained('Pendulum-v1', '', results_folder() / UNTRAINED)
        return prepare(
            find_system('sim'),
            {
                'environment_id': 'Pendulum-v1',
                'model': str(model),
                'record': 'true',
                'namespace': f'run{os.getpid()}',
                'output_folder': str(tmp_path),
                **given,
            },
        )

    return make


def wait_for_a_chunk(running, file):
    line = 0
    while not file.exists() or file.stat().st_size < A_CHUNK_BYTES:
        line = running.log.wait_for('episode', node='sim', after=line)


def transitions(bag):
    (robot,) = metrics_of_bag(bag).robots
    return robot.transitions


@pytest.mark.timeout(180)
def test_a_recorder_that_is_started_again_writes_another_bag(ros_domain_id, prepared, tmp_path):
    slow = {'mode': 'realtime', 'real_time_factor': '20'}  # it is the recorder that is awaited
    system = prepared(recorder='rl_edge', on_node_exit='respawn', **slow)
    with RunningSystem(system.processes, on_node_exit='respawn') as running:
        wait_for_a_chunk(running, tmp_path / 'bag' / 'bag_0.mcap')
        running.send('recorder', signal.SIGKILL)
        running.log.wait_for(r'bag_2/bag_2_0\.mcap', node='recorder')
        wait_for_a_chunk(running, tmp_path / 'bag_2' / 'bag_2_0.mcap')
        running.stop()
        running.wait(60)

    assert transitions(tmp_path / 'bag') > 0
    assert transitions(tmp_path / 'bag_2') > 0


needs_rosbag2 = pytest.mark.skipif(
    bool(missing_for_rosbag2('mcap')), reason='rosbag2 is part of a ROS 2 installation'
)


@needs_rosbag2
@pytest.mark.timeout(180)
def test_rosbag2_records_every_transition(ros_domain_id, prepared, tmp_path):
    system = prepared(recorder='rosbag2', episodes='2')
    with RunningSystem(system.processes) as running:
        assert running.wait(120).exit_code == 0

    assert transitions(tmp_path / 'bag') == 2 * 200


def the_process_of_rosbag2():
    ours = psutil.Process().children(recursive=True)
    (process,) = (
        process
        for process in ours
        if 'record' in (words := process.cmdline())
        and 'rl_edge_bringup.rosbag2_process' not in words
    )
    return process


@needs_rosbag2
@pytest.mark.timeout(180)
def test_rosbag2_that_is_held_up_loses_no_transition(ros_domain_id, prepared, tmp_path):
    system = prepared(recorder='rosbag2', episodes='10')
    with RunningSystem(system.processes) as running:
        running.log.wait_for('episode 0 ', node='sim')
        recorder = the_process_of_rosbag2()
        recorder.suspend()
        time.sleep(0.5)
        recorder.resume()
        assert running.wait(120).exit_code == 0

    assert transitions(tmp_path / 'bag') == 10 * 200
