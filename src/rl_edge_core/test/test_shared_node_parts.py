"""Parameters, resource reports and the main of nodes, on a real ROS graph of their own."""

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.task import Future

from rl_edge_core.errors import ConfigurationError
from rl_edge_core.parameters import parameter
from rl_edge_core.ros import qos
from rl_edge_core.ros.diagnostics import ResourceReporter
from rl_edge_core.ros.parameters import declare_parameters
from rl_edge_interfaces.msg import Observation, ResourceUsage


@dataclass(frozen=True)
class ExampleParameters:
    rate_hz: float = parameter(20.0, 'Steps per second.', minimum=0.1, maximum=1000.0)
    episodes: int = parameter(0, 'How many; 0 for no end.', minimum=0)
    mode: str = parameter('lockstep', 'How to run.', choices=('lockstep', 'realtime'))
    robots: tuple[str, ...] = parameter(('ant0',), 'Namespaces.')


@pytest.fixture
def context(ros_domain_id):
    context = Context()
    rclpy.init(context=context, domain_id=ros_domain_id)
    yield context
    rclpy.try_shutdown(context=context)


def make_node(context, name='probe', **overrides):
    return Node(
        name,
        context=context,
        parameter_overrides=[Parameter(key, value=value) for key, value in overrides.items()],
    )


def test_parameters_have_defaults_overrides_and_descriptions(context):
    node = make_node(context, mode='realtime', robots=['a', 'b'])
    parameters = declare_parameters(node, ExampleParameters)
    assert parameters == ExampleParameters(20.0, 0, 'realtime', ('a', 'b'))
    descriptor = node.describe_parameter('rate_hz')
    assert descriptor.read_only
    assert descriptor.description == 'Steps per second.'
    assert descriptor.floating_point_range[0].to_value == 1000.0
    # A range has two ends in ROS 2: one of them alone is put in words.
    descriptor = node.describe_parameter('episodes')
    assert list(descriptor.integer_range) == []
    assert descriptor.additional_constraints == '0 or more'
    node.destroy_node()


@pytest.mark.parametrize(
    ('name', 'value', 'message'),
    [
        ('rate_hz', 0.0, 'rate_hz'),
        ('episodes', -1, 'episodes'),
        ('episodes', 'many', 'episodes'),
        ('mode', 'turbo', "mode is 'turbo', must be one of lockstep, realtime"),
    ],
)
def test_bad_parameters_are_named(context, name, value, message):
    node = make_node(context, **{name: value})
    with pytest.raises(ConfigurationError, match=message):
        declare_parameters(node, ExampleParameters)
    node.destroy_node()


def test_a_node_reports_its_own_process(context):
    node = make_node(context)
    received = Future()
    node.create_subscription(
        ResourceUsage, 'resource_usage/probe', received.set_result, qos.resource_usage()
    )
    reporter = ResourceReporter(node, period_sec=0.05)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    executor.spin_until_future_complete(received, timeout_sec=30)
    message = received.result()
    assert message.pid == os.getpid()
    assert message.node == '/probe'
    assert 0 < message.unique_memory_mb <= message.resident_memory_mb <= message.peak_memory_mb
    assert message.threads >= threading.active_count() - 1
    assert message.cpu_seconds > 0
    assert message.open_files > 0
    reporter.close()
    reporter.close()
    node.destroy_node()


def test_profiles_are_fresh_objects():
    changed = qos.observation()
    changed.depth = 77
    assert qos.observation().depth == 1


def test_a_parameter_overrides_the_profile_of_a_topic(context):
    node = make_node(context, **{'qos_overrides./observation.publisher.depth': 5})
    publisher = qos.publisher(node, Observation, 'observation', qos.observation())
    assert publisher.qos_profile.depth == 5
    node.destroy_node()


NODE_PROGRAM = """
import dataclasses
import sys
import threading
# As libraries do on import: it blocks no signal, so the kernel may pick it.
threading.Thread(target=threading.Event().wait, daemon=True).start()
from rclpy.node import Node
from rclpy.task import Future
from rl_edge_core.errors import ConfigurationError
from rl_edge_core.ros.node_main import run_node_process

class Probe(Node):
    def __init__(self):
        super().__init__('probe')
        self.finished = Future()
        self.create_timer(0.0, self.started)
    def started(self):
        if 'code' in sys.argv:
            self.finished.set_result(7)
        print('started', flush=True)
    def close(self):
        print('context alive', self.context.ok(), flush=True)

def make():
    if 'refuse' in sys.argv:
        raise ConfigurationError('rate is 0: give more')
    return Probe()

NoParameters = dataclasses.make_dataclass('NoParameters', [])
sys.exit(run_node_process('__main__:make', NoParameters, words=[]))
"""


def start_program(ros_domain_id, *arguments):
    return subprocess.Popen(
        [sys.executable, '-c', NODE_PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, 'ROS_DOMAIN_ID': str(ros_domain_id)},
    )


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_node_cleanly_with_its_context_alive(ros_domain_id, number):
    process = start_program(ros_domain_id)
    assert process.stdout.readline() == 'started\n'
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert 'context alive True' in output
    assert 'Traceback' not in errors
    assert process.returncode == 0


def test_sigint_ends_a_node_that_a_script_started_in_the_background(ros_domain_id):
    command = shlex.join([sys.executable, '-c', NODE_PROGRAM])
    shell = subprocess.Popen(
        ['sh', '-c', f'{command} & echo $!; wait $!'],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, 'ROS_DOMAIN_ID': str(ros_domain_id)},
    )
    node = int(shell.stdout.readline())
    assert shell.stdout.readline() == 'started\n'
    os.kill(node, signal.SIGINT)
    output, _ = shell.communicate(timeout=60)
    assert 'context alive True' in output
    assert shell.returncode == 0


def test_signals_of_one_request_end_a_node_as_cleanly_as_one(ros_domain_id):
    process = start_program(ros_domain_id)
    assert process.stdout.readline() == 'started\n'
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
        process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert 'context alive True' in output
    assert 'Traceback' not in errors
    assert process.returncode == 0


def test_signals_that_go_on_while_a_node_ends_do_not_turn_its_end_into_a_death(ros_domain_id):
    process = start_program(ros_domain_id)
    assert process.stdout.readline() == 'started\n'
    until_sec = time.monotonic() + 1.5  # later ones would be a request of their own
    while process.poll() is None and time.monotonic() < until_sec:
        process.send_signal(signal.SIGINT)
        time.sleep(0.005)
    output, errors = process.communicate(timeout=60)
    assert 'context alive True' in output
    assert 'Traceback' not in errors
    assert process.returncode == 0


def test_a_node_ends_with_the_code_it_chose(ros_domain_id):
    process = start_program(ros_domain_id, 'code')
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 7
    assert 'context alive True' in output


def test_a_refused_configuration_is_one_line(ros_domain_id):
    process = start_program(ros_domain_id, 'refuse')
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors == 'error: rate is 0: give more\n'
