"""A node's executable from its first word to its exit: what is wrong is one line, no traceback.

The node is real; its module takes as long to import as the test wants.
"""

import os
import signal
import subprocess
import sys
import time

import pytest

PARAMETERS = """
from dataclasses import dataclass
from rl_edge_core.parameters import parameter
from rl_edge_core.ros.node_main import run_node_process

@dataclass(frozen=True)
class ProbeParameters:
    rate_hz: float = parameter(20.0, 'Steps per second.', unit='Hz', minimum=0.1)
    threads: int = parameter(1, 'Threads that compute.', minimum=1, maximum=8)
    mode: str = parameter('lockstep', 'How to run.', choices=('lockstep', 'realtime'))

if __name__ == '__main__':
    raise SystemExit(run_node_process('probe_node:ProbeNode', ProbeParameters))
"""
NODE = """
import os
import time
print('importing', flush=True)
time.sleep(float(os.environ.get('IMPORT_SEC', 0)))
from probe_parameters import ProbeParameters
from rclpy.node import Node
from rclpy.task import Future
from rl_edge_core.ros.parameters import declare_parameters

class ProbeNode(Node):
    def __init__(self):
        super().__init__('probe')
        self.finished = Future()
        print(declare_parameters(self, ProbeParameters), flush=True)
        self.first = self.create_timer(0.0, self.say_once)
        if 'STAY' not in os.environ:
            self.finished.set_result(0)
    def say_once(self):  # more than a pipe holds would stop the node
        self.first.cancel()
        print('started', flush=True)
    def close(self):
        print('closed', flush=True)
"""


@pytest.fixture
def start(tmp_path, ros_domain_id):
    (tmp_path / 'probe_parameters.py').write_text(PARAMETERS)
    (tmp_path / 'probe_node.py').write_text(NODE)

    def start_with(*words, **environment):
        variables = {
            **os.environ,
            'ROS_DOMAIN_ID': str(ros_domain_id),
            'PYTHONPATH': f'{tmp_path}:{os.environ["PYTHONPATH"]}',
            **environment,
        }
        return subprocess.Popen(
            [sys.executable, str(tmp_path / 'probe_parameters.py'), *words],
            cwd=tmp_path,
            env={name: value for name, value in variables.items() if value is not None},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start_with


def own_lines(errors):
    """Return what our code wrote, without the lines that rcl itself logs before."""
    return [line for line in errors.splitlines() if not line.startswith('[ERROR]')]


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (('-p', 'thraeds:=2'), 'parameter thraeds is unknown (did you mean threads?); valid are '),
        (('-p', 'rate_hz:=1'), 'parameter rate_hz is 1, which is an integer to ROS 2: write 1.0'),
        (('-p', 'rate_hz:=0.0'), 'parameter rate_hz is 0.0, must be a number, 0.1 or more'),
        (('-p', 'threads:=many'), "parameter threads is 'many', must be a whole number, 1 to 8"),
        (('-p', 'threads:=9'), 'parameter threads is 9, must be a whole number, 1 to 8'),
        (('-p', 'mode:=lockstop'), "parameter mode is 'lockstop', must be one of lockstep, realt"),
        (('-p', 'mode:=7'), 'parameter mode is 7, must be one of lockstep, realtime'),
        (('--params-file', 'none.yaml'), "Couldn't parse params file: '--params-file none.yaml'"),
        (('--params-file', 'broken.yaml'), "Couldn't parse params file"),
        (('--params-file', 'typo.yaml'), 'parameter thraeds is unknown (did you mean threads?)'),
        (('--log-level', 'loud'), "Couldn't parse log level: '--log-level loud'"),
    ],
    ids=lambda value: '_'.join(value) if isinstance(value, tuple) else '',
)
def test_a_parameter_or_ros_argument_that_is_not_valid_is_one_line(
    start, tmp_path, words, message
):
    (tmp_path / 'broken.yaml').write_text('a: [')
    (tmp_path / 'typo.yaml').write_text('/**: {ros__parameters: {thraeds: 2}}')

    process = start('--ros-args', *words)
    output, errors = process.communicate(timeout=60)

    assert process.returncode == 1
    (line,) = own_lines(errors)
    assert line.startswith('error: ')
    assert message in line
    assert 'started' not in output


def test_parameters_of_other_nodes_and_of_ros_come_along_without_an_error(start):
    """As from a file for all nodes, or SetParameter around an included launch file."""
    words = ('-p', 'environment_id:=Ant-v5', '-p', 'use_sim_time:=true', '-p', 'model:=x')
    process = start('--ros-args', *words, '-p', 'threads:=3')
    output, errors = process.communicate(timeout=60)

    assert process.returncode == 0, errors
    assert 'threads=3' in output


@pytest.mark.parametrize(
    ('word', 'message'),
    [
        ('fast', "error: 'fast' is not an argument of probe_node: see probe_node --help"),
        ('threads:=2', 'write --ros-args -p threads:=2'),
        ('--ros-arg', '(did you mean --ros-args?)'),
    ],
)
def test_a_word_that_is_no_argument_is_refused(start, word, message):
    process = start(word)
    output, errors = process.communicate(timeout=60)

    assert process.returncode == 2
    assert message in errors
    assert len(errors.splitlines()) == 1
    assert output == ''  # nothing was imported for it


def test_help_shows_the_parameters_without_importing_the_node(start):
    process = start('--help')
    output, errors = process.communicate(timeout=60)

    assert (process.returncode, errors) == (0, '')
    assert 'rate_hz (a number, 0.1 or more), default 20.0 Hz' in output
    assert 'Steps per second.' in output
    assert 'importing' not in output


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_modules_are_imported_ends_it_at_once_and_quietly(start, number):
    process = start(IMPORT_SEC='600')
    assert process.stdout.readline() == 'importing\n'
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)

    assert (process.returncode, output, errors) == (0, '', '')


def test_hanging_up_right_after_terminating_is_the_same_request(start):
    """systemd sends SIGTERM and SIGHUP, one right after the other."""
    process = start(STAY='1')
    while process.stdout.readline() != 'started\n':
        pass
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGHUP)
    output, errors = process.communicate(timeout=60)

    assert (process.returncode, errors) == (0, '')
    assert output.endswith('closed\n')


def test_a_node_starts_without_home(start):
    process = start(HOME=None, ROS_HOME=None, ROS_LOG_DIR=None)
    output, errors = process.communicate(timeout=60)

    assert process.returncode == 0, errors
    assert 'closed' in output


def test_a_home_that_takes_no_logs_is_told_and_a_temporary_folder_takes_them(start, tmp_path):
    (tmp_path / 'file').touch()
    home = str(tmp_path / 'file')  # not even root makes a folder in it
    process = start(HOME=home, ROS_HOME=None, ROS_LOG_DIR=None, TMPDIR=str(tmp_path))
    output, errors = process.communicate(timeout=60)

    assert process.returncode == 0, errors
    assert 'closed' in output
    (line,) = errors.splitlines()
    assert line.startswith(f'rl_edge: {home}/.ros cannot be written to: ')
    assert line.endswith('set ROS_HOME to choose another folder')
    assert list(tmp_path.glob(f'rl_edge-{os.getuid()}/log/*.log'))


def test_a_chosen_folder_that_takes_no_logs_is_one_line_with_the_remedy(start, tmp_path):
    (tmp_path / 'file').touch()
    process = start(ROS_LOG_DIR=str(tmp_path / 'file' / 'log'))
    _, errors = process.communicate(timeout=60)

    assert process.returncode == 1
    (line,) = own_lines(errors)
    assert line.endswith('set ROS_LOG_DIR to a folder that can be written to')


def test_output_that_nobody_reads_is_no_error(start):
    process = start('--help')
    process.stdout.close()  # before it writes, as `| head -0`
    errors = process.stderr.read()
    process.stderr.close()

    process.wait(60)
    assert 'Traceback' not in errors


def started(process):
    """Wait until the node of ``process`` runs."""
    while (line := process.stdout.readline()) != 'started\n':
        assert line, process.stderr.read()


def test_a_second_node_of_the_same_full_name_is_refused_with_the_remedy(start):
    first = start('--ros-args', '-r', '__ns:=/ant0', STAY='1')
    started(first)
    second = start('--ros-args', '-r', '__ns:=/ant0', STAY='1', IMPORT_SEC='3')
    output, errors = second.communicate(timeout=60)

    assert second.returncode == 1
    (line,) = own_lines(errors)
    assert line.startswith('error: another node /ant0/probe is running in ROS_DOMAIN_ID ')
    assert 'such as namespace:=ant1, or another ROS_DOMAIN_ID' in line
    assert output == 'importing\n'  # nothing was published beside the first one

    elsewhere = start('--ros-args', '-r', '__ns:=/ant1', IMPORT_SEC='1')
    elsewhere.communicate(timeout=60)
    assert (elsewhere.returncode, first.poll()) == (0, None)
    first.terminate()
    first.communicate(timeout=60)
    assert first.returncode == 0


def test_a_node_that_was_killed_keeps_nobody_from_its_name(start):
    """Its lease in the graph has another 20 s to run."""
    witness = start('--ros-args', '-r', '__node:=witness', STAY='1')
    first = start(STAY='1')
    started(witness)
    started(first)
    first.kill()
    first.communicate(timeout=60)
    again = start(STAY='1', IMPORT_SEC='2')
    started(again)

    for process in (again, witness):
        process.terminate()
        process.communicate(timeout=60)
        assert process.returncode == 0


PLAIN, RENAMED = ('-r', '__ns:=/ant0'), ('-r', '__ns:=/ant0', '-r', '__node:=other')


@pytest.mark.parametrize('words', [PLAIN, RENAMED], ids=['plain', 'renamed'])
@pytest.mark.parametrize('import_sec', ['0', '1'])
def test_of_nodes_of_one_name_that_start_at_once_one_goes_on(start, words, import_sec):
    def starting():
        return start('--ros-args', *words, STAY='1', IMPORT_SEC=import_sec)

    processes = [starting() for _ in range(3)]
    while len(going_on := [one for one in processes if one.poll() is None]) > 1:
        time.sleep(0.05)
    (winner,) = going_on
    started(winner)
    late = starting()
    assert late.wait(60) == 1
    assert winner.poll() is None
    winner.terminate()
    winner.communicate(timeout=60)
    assert winner.returncode == 0
    for loser in {*processes, late} - {winner}:
        _, errors = loser.communicate(timeout=60)
        assert loser.returncode == 1
        assert 'is running in ROS_DOMAIN_ID' in errors
        assert 'Traceback' not in errors


@pytest.mark.parametrize('words', [PLAIN, RENAMED], ids=['plain', 'renamed'])
def test_a_node_that_has_just_started_keeps_its_name(start, words):
    """Not even the scout of the next one, which looks for it, takes it away."""
    first = start('--ros-args', *words, STAY='1')
    started(first)
    second = start('--ros-args', *words, STAY='1')
    assert second.wait(60) == 1
    third = start('--ros-args', *words, STAY='1', IMPORT_SEC='1')
    assert third.wait(60) == 1

    assert first.poll() is None
    for process in (second, third):
        process.communicate(timeout=60)
    first.terminate()
    first.communicate(timeout=60)
    assert first.returncode == 0


SCOUT = """
import sys
import rclpy
from rl_edge_core.ros.node_main import _node_name, _scout

words = ['--ros-args', '-r', '__ns:=/ant0', *sys.argv[1:]]
rclpy.init(args=['policy', *words])
name = _node_name('policy', words)
scout = _scout(name)
print(name, scout.get_name(), scout.get_namespace(), rclpy.create_node('policy').get_name())
"""


@pytest.mark.parametrize(
    ('rule', 'name'),
    [
        ('__node:=other', 'other'),
        ('policy:__node:=other', 'other'),
        ('sim:__node:=other', 'policy'),
        ('a:=b', 'policy'),
    ],
)
def test_a_scout_is_not_renamed_with_its_node(ros_domain_id, rule, name):
    done = subprocess.run(
        [sys.executable, '-c', SCOUT, '-r', rule],
        env={**os.environ, 'ROS_DOMAIN_ID': str(ros_domain_id)},
        capture_output=True,
        text=True,
        check=True,
    )

    expected, scout, namespace, node = done.stdout.split()
    assert (expected, namespace, node) == (name, '/ant0', name)
    assert scout.startswith(f'_scout_for_{name}_')
