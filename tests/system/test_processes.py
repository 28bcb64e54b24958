"""Starting and ending: nothing is left running, and who died is named with its exit code."""

import re
import signal
import time
from pathlib import Path

import psutil
import pytest
import yaml
from rosbags.rosbag2 import Reader

from rl_edge_bringup.__main__ import main

PENDULUM = 'environment_id:=Pendulum-v1'


@pytest.fixture
def running_loop(command, observe, model, namespace):
    """Start the closed loop without end and wait until it runs."""

    def start(*words):
        observer = observe()
        own = (f'namespace:={namespace}', f'model:={model}')
        started = command('sim', PENDULUM, *own, 'mode:=realtime', *words)
        observer.wait_for(lambda: observer.transition_count > 5)
        return started

    return start


def pid_of(started, node):
    return int(re.search(r'pid (\d+)', started.wait_for(f'{node} started')).group(1))


def pending_signals(pid):
    status = Path(f'/proc/{pid}/status').read_text()
    return int(re.search(r'^ShdPnd:\s*(\w+)', status, re.MULTILINE).group(1), 16)


def test_ctrl_c_stops_every_process(running_loop, have_ended):
    loop = running_loop()
    nodes = loop.nodes()
    loop.process.send_signal(signal.SIGINT)

    assert loop.exit_code() == 130
    assert len(nodes) == 2
    assert have_ended(nodes)


def test_hanging_up_right_after_terminating_is_the_same_request(running_loop, have_ended):
    """systemd sends SIGTERM and SIGHUP, one right after the other."""
    loop = running_loop()
    nodes = loop.nodes()
    loop.process.send_signal(signal.SIGTERM)
    loop.process.send_signal(signal.SIGHUP)

    assert loop.exit_code() in (129, 143)  # of the one that was seen first
    assert have_ended(nodes)
    assert 'killed' not in loop.text


def test_the_two_signals_of_timeout_are_one_request(running_loop, have_ended):
    """It signals the command, then the group that both are in; twice Ctrl-C would kill."""
    loop = running_loop()
    nodes = loop.nodes()
    loop.process.send_signal(signal.SIGINT)
    while pending_signals(loop.process.pid):
        time.sleep(0.001)  # else the kernel makes one of the two
    loop.process.send_signal(signal.SIGINT)

    assert loop.exit_code() == 130
    assert have_ended(nodes)
    assert 'killed' not in loop.text


def test_nothing_is_left_when_the_runner_is_killed(running_loop, have_ended):
    loop = running_loop()
    nodes = loop.nodes()
    loop.process.kill()

    assert loop.exit_code() == -signal.SIGKILL
    assert len(nodes) == 2
    assert have_ended(nodes)


@pytest.mark.parametrize('node', ['policy', 'sim'])
def test_a_node_that_dies_takes_the_run_down_with_its_name_and_exit_code(
    running_loop, have_ended, node
):
    loop = running_loop()
    nodes = loop.nodes()
    pid = pid_of(loop, node)
    psutil.Process(pid).kill()

    assert loop.exit_code() == 137
    assert f'error: {node} (pid {pid}) was killed by SIGKILL (exit code 137)' in loop.text
    assert have_ended(nodes)


def test_a_policy_that_never_comes_fails_the_run(command, namespace):
    run = command('desktop', PENDULUM, f'namespace:={namespace}', 'first_action_timeout_sec:=1')

    assert run.exit_code() == 1
    assert 'no policy connected' in run.text
    assert 'error: sim' in run.text


def test_the_resolved_configuration_is_saved(command, model, tmp_path):
    words = ('episodes:=1', 'namespace:=fleet/ant7', 'recipe:=float32')
    run = command('sim', PENDULUM, f'model:={model}', f'output:={tmp_path}', *words)

    assert run.exit_code() == 0, run.text
    content = yaml.safe_load((tmp_path / 'configuration.yaml').read_text())
    assert content['arguments']['episodes'] == 1
    assert content['model']['model_id'] == 'untrained/Pendulum-v1/actor_float32.tflite'
    assert content['nodes']['/fleet/ant7/sim']['parameters']['environment_id'] == 'Pendulum-v1'
    assert content['nodes']['/fleet/ant7/policy']['parameters']['recipe'] == 'float32'


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_a_recorded_run_has_every_transition_in_its_bag(
    command, model, namespace, tmp_path, storage
):
    own = (f'model:={model}', f'namespace:={namespace}', f'output:={tmp_path}')
    words = ('episodes:=2', 'record:=true', f'record_storage:={storage}')
    run = command('sim', PENDULUM, *own, *words)

    assert run.exit_code() == 0, run.text
    with Reader(tmp_path / 'bag') as bag:
        topics = [connection.topic for connection, _, _ in bag.messages()]
    assert topics.count(f'/{namespace}/transition') == 2 * 200
    assert topics.count(f'/{namespace}/episode') == 2
    assert topics.count(f'/{namespace}/environment') == 1


@pytest.fixture
def run(capfd):
    """Run the command line in this process; return exit code and all that it wrote."""

    def run_with(*words):
        code = main(list(words))
        captured = capfd.readouterr()
        return code, captured.out + captured.err

    return run_with


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (('sim', 'epsodes:=3'), "unknown argument 'epsodes' (did you mean episodes?); valid are"),
        (('sim', 'configuration:=compresed'), 'must be one of compressed, uncompressed'),
        (('sim', 'runtime:=tflight'), 'must be one of auto, keras, litert, tflite_runtime'),
        (('sim', 'namespace:=ant-0'), 'namespace is'),
        (('sim', 'environment_id:=Ant-v9'), 'Ant-v5'),
        (('sim', 'environment_id:=CartPole-v1'), 'continuous'),
        (('sim', 'model:=nonesuch'), 'no such artifact folder'),
        (('simm',), "'simm' (did you mean sim?)"),
        (('sim', 'episodes'), 'name:=value'),
        (('demo', 'output:=/proc/nowhere'), '/proc/nowhere cannot be written'),
    ],
    ids=lambda value: '_'.join(value) if isinstance(value, tuple) else '',
)
def test_what_is_not_valid_is_an_error_before_anything_starts(run, words, message):
    code, text = run(*words)

    assert code != 0
    assert message in text
    assert 'Traceback' not in text
    assert 'started (pid' not in text


def test_an_error_is_the_exit_code_of_the_process_too(command):
    started = command('sim', 'epsodes:=3')

    assert started.exit_code() == 2
    assert started.text.splitlines()[-1].startswith("error: unknown argument 'epsodes'")


def test_an_unknown_recipe_lists_those_there_are(run, model):
    code, text = run('sim', PENDULUM, f'model:={model}', 'recipe:=int4')

    assert code == 2
    assert 'has keras, int8, float32' in text


def test_recipe_and_a_tflite_model_exclude_each_other(run, model):
    file = model / 'actor_int8.tflite'
    code, text = run('sim', PENDULUM, f'model:={file}', 'recipe:=float32')

    assert code == 2
    assert 'give one of them' in text


@pytest.mark.parametrize('name', ['sim', 'edge', 'desktop', 'demo', 'bench'])
def test_help_shows_every_argument(run, name):
    code, text = run(name, '--help')

    assert code == 0
    assert 'output' in text


def test_list_shows_the_systems_and_experiments(run):
    code, text = run('list')

    assert code == 0
    for name in ('sim', 'edge', 'desktop', 'demo', 'bench'):
        assert re.search(rf'^  {name} ', text, re.MULTILINE)
