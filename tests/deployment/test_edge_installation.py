"""The edge installation, made in a clean folder and driven through an episode."""

import contextlib
import importlib.util
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from watcher import Watcher

from rl_edge_bringup.prepare import prepare
from rl_edge_bringup.running_system import RunningSystem
from rl_edge_bringup.systems import find_system
from rl_edge_compress.untrained import ensure_untrained
from rl_edge_interfaces.msg import EpisodeSummary

LARGEST_PYTHON_PACKAGES_MB = 120
LARGEST_MEMORY_MB = 120  # with what the middleware shares with the observer; TensorFlow: 600
ENVIRONMENT = 'Ant-v5'
STEPS = 60

pytestmark = [pytest.mark.system, pytest.mark.timeout(1500), pytest.mark.xdist_group('edge')]


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    arguments = f'{{max_episode_steps: {STEPS}, terminate_when_unhealthy: false}}'
    folder = tmp_path_factory.mktemp('models')
    return ensure_untrained(ENVIRONMENT, arguments, folder), arguments


@contextlib.contextmanager
def policy_of(edge, environment, *arguments):
    command = [edge / 'bin' / 'rl_edge', 'policy', *arguments]
    process = subprocess.Popen(command, env=environment)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def run_edge(edge, environment, *arguments, timeout_sec=300):
    command = [edge / 'bin' / 'rl_edge', *map(str, arguments)]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=timeout_sec, check=False
    )


def test_its_python_packages_are_small_enough(edge):
    installation = json.loads((edge / 'installation.json').read_text())

    assert installation['python_packages_mb'] <= LARGEST_PYTHON_PACKAGES_MB
    assert 'ai-edge-litert' in installation['packages_mb']


def test_it_has_no_compiler_and_nothing_of_training(edge, checkout, bare_environment):
    check = [checkout / 'docker' / 'check_edge', edge, '--in-folder']

    done = subprocess.run(check, env=bare_environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def test_it_needs_no_library_of_the_checkout(edge, checkout):
    libraries = list((edge / 'ros').rglob('*.so'))
    needing = [file.name for file in libraries if bytes(checkout) in file.read_bytes()]

    assert len(libraries) > 8
    assert not [file for file in libraries if file.is_symlink()]
    assert not needing


def test_its_bill_of_materials_has_each_package_with_version_and_licence(edge, checkout, tmp_path):
    sbom = tmp_path / 'sbom.json'
    audit = [sys.executable, checkout / 'tools' / 'audit', edge, '--sbom', sbom]

    done = subprocess.run(audit, capture_output=True, text=True, check=False)

    document = json.loads(sbom.read_text())
    assert (document['bomFormat'], document['specVersion']) == ('CycloneDX', '1.5')
    parts = {part['name']: part for part in document['components']}
    versions = json.loads((edge / 'installation.json').read_text())['versions']
    installed = {
        name: version for name, version in versions.items() if f'ros-{name}' not in versions
    }
    assert {name: parts[name]['version'] for name in installed} == installed
    assert {'rl_edge_interfaces', 'rl_edge_core', 'rl_edge_policy'} <= set(parts)
    assert not [
        name for name in parts if parts[name]['licenses'][0]['license']['name'] == 'not stated'
    ]
    assert 'rl_edge_policy' in done.stdout


def test_it_acts_through_a_whole_episode_and_says_that_it_is_well(
    edge, bare_environment, ros_domain_id, model, tmp_path
):
    path, arguments = model
    given = {'environment_id': ENVIRONMENT, 'environment_arguments': arguments}
    given |= {'episodes': '1', 'output': str(tmp_path), 'first_action_timeout_sec': '120'}
    desktop = find_system('desktop')
    valid = {argument.name for argument in desktop.arguments}
    prepared = prepare(desktop, {key: value for key, value in given.items() if key in valid})
    with (
        Watcher('ant0', domain_id=ros_domain_id) as observer,
        RunningSystem(prepared.processes) as simulator,
    ):
        # The policy comes last, so that the observer misses nothing.
        observer.wait_for(lambda: observer.sees_simulator)
        with policy_of(edge, bare_environment, path) as process:
            assert simulator.wait(200).exit_code == 0
            observer.wait_for(lambda: observer.episodes)
            health = run_edge(edge, bare_environment, 'health', 60)
            memory_mb = process.memory_info().rss / 1e6

    (episode,) = observer.episodes
    assert episode.length == STEPS
    assert episode.ended_by == EpisodeSummary.ENDED_BY_TIME_LIMIT
    assert (episode.safe_actions, episode.rejected_actions) == (0, 0)
    assert all(transition.model_hash for transition in observer.transitions())
    assert health.returncode == 0, health.stdout
    assert health.stdout.startswith('active: ')
    assert memory_mb < LARGEST_MEMORY_MB


# `edge` where nothing but interfaces, core, policy and bringup is installed ----------------------

ABSENT = ('rl_edge_eval', 'rl_edge_sim', 'rl_edge_train', 'rl_edge_experiments', 'mcap', 'rosbags')


def test_only_four_packages_are_installed(edge, bare_environment):
    names = f'[n for n in {ABSENT!r} if importlib.util.find_spec(n)]'
    program = f'import importlib.util, rl_edge_bringup; print({names})'
    done = run_edge(edge, bare_environment, 'run', 'python', '-c', program)

    assert (done.returncode, done.stdout) == (0, '[]\n'), done.stderr


def test_the_command_shows_what_is_installed_here(edge, bare_environment):
    done = run_edge(edge, bare_environment, '--help')

    assert done.returncode == 0, done.stderr
    commands = {line.split()[0] for line in done.stdout.splitlines() if line.startswith('  ')}
    assert {'edge', 'policy', 'health', 'measure'} <= commands
    assert not commands & {'demo', 'bag', 'compress', 'evaluate'}


def test_what_is_not_installed_is_named(edge, bare_environment):
    done = run_edge(edge, bare_environment, 'sim')

    assert done.returncode == 2
    assert (
        'the package of sim_node is not installed; the nodes that are: policy_node' in done.stderr
    )


@contextlib.contextmanager
def until_interrupted(command, environment, log):
    with log.open('w') as output:
        process = subprocess.Popen(
            [str(word) for word in command],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def test_its_command_line_starts_edge(edge, bare_environment, model, tmp_path):
    words = ('edge', f'model:={model[0]}', 'threads:=2', 'qos:=lossy')
    environment = {**bare_environment, 'ROS_HOME': str(tmp_path / 'home')}
    log = tmp_path / 'log'
    with until_interrupted([edge / 'bin' / 'rl_edge', *words], environment, log) as process:
        health = run_edge(edge, bare_environment, 'health', 60)

    assert 'untrained/Ant-v5/actor_int8.tflite' in health.stdout, log.read_text()
    assert process.returncode == 130
    assert 'Traceback' not in log.read_text()


@pytest.mark.skipif(shutil.which('ros2') is None, reason='ros2 launch is not installed')
def test_ros2_launch_starts_edge(edge, bare_environment, model, tmp_path):
    """The packages of launch alone are lent to the installation; nothing else of ours is there."""
    launch = importlib.util.find_spec('launch')
    others = [importlib.util.find_spec(name) for name in ('osrf_pycommon', 'lark', 'argcomplete')]
    folders = {str(Path(spec.origin).parents[1]) for spec in (launch, *others) if spec}
    if any((Path(folder) / 'rl_edge_sim').exists() for folder in folders):
        pytest.skip('launch is installed into the folder of our own packages')
    lent = f'export PYTHONPATH=$PYTHONPATH:{":".join(folders)}; exec "$@"'
    command = [edge / 'bin' / 'rl_edge', 'run', 'bash', '-c', lent, '_', 'python']
    command += [shutil.which('ros2'), 'launch', '--noninteractive', 'rl_edge_bringup']
    words = ('edge.launch.py', f'model:={model[0]}')
    environment = {**bare_environment, 'ROS_HOME': str(tmp_path / 'home')}
    log = tmp_path / 'log'
    with until_interrupted([*command, *words], environment, log) as process:
        health = run_edge(edge, bare_environment, 'health', 60)

    assert 'untrained/Ant-v5/actor_int8.tflite' in health.stdout, log.read_text()
    assert process.returncode == 0, log.read_text()


def test_health_is_bad_where_no_policy_answers(edge, bare_environment):
    health = run_edge(edge, bare_environment, 'health', 0.5)

    assert health.returncode == 1
    assert 'no policy in /ant0 answered' in health.stdout


def test_a_model_that_is_not_there_is_named(edge, bare_environment, tmp_path):
    done = run_edge(edge, bare_environment, 'policy', tmp_path / 'nothing')

    assert done.returncode == 2
    assert f'no model {tmp_path / "nothing"}' in done.stderr


def test_the_measurement_prints_a_row_for_the_table(edge, bare_environment, model):
    done = run_edge(edge, bare_environment, 'measure', model[0])

    assert done.returncode == 0, done.stderr
    head, line, row = done.stdout.splitlines()
    assert head.count('|') == line.count('|') == row.count('|')
    assert 'litert' in row
