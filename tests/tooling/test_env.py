"""tools/env as the commands that run in it see it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def env(checkout: Path) -> str:
    """tools/env of this checkout."""
    return str(checkout / 'tools' / 'env')


def output(*command: str, **environment: str) -> str:
    """Run a command to its successful end and return what it printed."""
    return subprocess.run(
        command,
        env={**os.environ, **environment},
        check=True,
        text=True,
        stdout=subprocess.PIPE,
    ).stdout


def test_arguments_arrive_as_they_were_given(env: str) -> None:
    arguments = ['two words', '', '*', '$HOME', '--with', '"quoted"', 'new\nline']

    assert output(env, 'printf', '%s|', *arguments) == ''.join(f'{a}|' for a in arguments)


@pytest.mark.parametrize('code', [0, 1, 42])
def test_the_exit_code_is_the_commands(env: str, code: int) -> None:
    assert subprocess.run([env, 'bash', '-c', f'exit {code}'], check=False).returncode == code


@pytest.mark.parametrize('sent', [signal.SIGINT, signal.SIGTERM])
def test_signals_reach_the_command_itself(env: str, sent: signal.Signals) -> None:
    program = (
        'import signal; signal.signal(2, signal.SIG_DFL); print(1, flush=True); signal.pause()'
    )
    with subprocess.Popen([env, 'python', '-c', program], stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b'1\n'
        process.send_signal(sent)
        assert process.wait(timeout=30) == -sent


def test_standard_input_is_the_commands(env: str) -> None:
    done = subprocess.run(
        [env, 'cat'], input='through', text=True, capture_output=True, check=True
    )

    assert done.stdout == 'through'


def test_python_is_the_environments(env: str, checkout: Path) -> None:
    prefix = output(env, 'python', '-c', 'import sys; print(sys.prefix)').strip()

    assert Path(prefix).parent == checkout
    assert Path(prefix).name.startswith('.venv')


def test_rclpy_imports_in_the_process_that_was_started(env: str) -> None:
    libraries = output(env, 'printenv', 'LD_LIBRARY_PATH')

    program = 'import os, rclpy; print(os.environ["LD_LIBRARY_PATH"])'

    # the wheels' rclpy, were it not content, would run Python again with another path
    assert output(env, 'python', '-c', program) == libraries


@pytest.mark.parametrize(
    'variable', ['PATH', 'PYTHONPATH', 'LD_LIBRARY_PATH', 'AMENT_PREFIX_PATH', 'ROS_DISTRO']
)
def test_running_it_inside_itself_changes_nothing(env: str, variable: str) -> None:
    assert output(env, env, 'printenv', variable) == output(env, 'printenv', variable)


def test_discovery_stays_on_this_machine_unless_the_user_says_otherwise(env: str) -> None:
    name = 'ROS_AUTOMATIC_DISCOVERY_RANGE'

    assert output(env, 'printenv', name, **{name: ''}) == 'LOCALHOST\n'
    assert output(env, 'printenv', name, **{name: 'SUBNET'}) == 'SUBNET\n'


@pytest.fixture
def sourced_ros(tmp_path: Path) -> Callable[[str, str], dict[str, str]]:
    """Return the variables that sourcing a ROS 2 sets, one that has nothing but rclpy."""

    def source(distribution: str, python: str) -> dict[str, str]:
        prefix = tmp_path / distribution
        (prefix / 'lib' / f'python{python}' / 'site-packages' / 'rclpy').mkdir(parents=True)
        return {'ROS_DISTRO': distribution, 'AMENT_PREFIX_PATH': str(prefix), 'PYTHON': ''}

    return source


@pytest.fixture
def run_in_terminal(tmp_path: Path, checkout: Path) -> Callable:
    """Run tools/env of a checkout that is set up, from a terminal in which nothing is active."""
    env = tmp_path / 'checkout' / 'tools' / 'env'
    env.parent.mkdir(parents=True)
    shutil.copy2(checkout / 'tools' / 'env', env)
    (env.parent / 'requirements' / 'extras').mkdir(parents=True)
    environment = tmp_path / 'checkout' / '.venv' / '.rl_edge' / 'environment.sh'
    environment.parent.mkdir(parents=True)
    environment.write_text('export ROS_DISTRO=jazzy RMW_IMPLEMENTATION=rmw_fastrtps_cpp\n')

    def run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [env, *command],
            env={'PATH': os.environ['PATH'], 'RL_EDGE_SKIP_CHECK': '1', **variables},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


@pytest.mark.parametrize(
    ('distribution', 'python', 'reason'),
    [
        ('humble', '3.10', 'Jazzy is the oldest release that rl_edge runs on'),
        ('lyrical', '3.14', 'TensorFlow has no release for its Python 3.14; RL_EDGE_SUBSET=edge'),
        ('mystic', '3.15', 'rl_edge has no packages for its Python 3.15'),
    ],
)
def test_a_sourced_ros_that_is_not_used_is_named_with_the_reason(
    run_in_terminal: Callable, sourced_ros: Callable, distribution: str, python: str, reason: str
) -> None:
    done = run_in_terminal('printenv', 'ROS_DISTRO', **sourced_ros(distribution, python))

    assert done.stdout == 'jazzy\n'
    assert f'not the sourced ROS 2 {distribution}: {reason}' in done.stderr


def test_the_edge_is_set_up_over_a_sourced_lyrical(
    run_in_terminal: Callable, sourced_ros: Callable
) -> None:
    done = run_in_terminal('true', RL_EDGE_SUBSET='edge', **sourced_ros('lyrical', '3.14'))

    assert '.venv-lyrical-edge is not set up' in done.stderr


def test_wheels_that_are_asked_for_are_taken_before_a_sourced_ros(
    run_in_terminal: Callable, sourced_ros: Callable
) -> None:
    sourced = sourced_ros('kilted', '3.12')

    jazzy = run_in_terminal('printenv', 'ROS_DISTRO', ROS_WHEELS='jazzy', **sourced)
    kilted = run_in_terminal('true', ROS_WHEELS='kilted', **sourced)

    assert (jazzy.stdout, jazzy.stderr) == ('jazzy\n', '')
    assert '.venv-wheels-kilted is not set up' in kilted.stderr


def test_a_middleware_that_the_wheels_lack_is_named(run_in_terminal: Callable) -> None:
    done = run_in_terminal(
        'printenv', 'RMW_IMPLEMENTATION', RMW_IMPLEMENTATION='rmw_cyclonedds_cpp'
    )

    assert done.stdout == 'rmw_fastrtps_cpp\n'
    assert 'using RMW_IMPLEMENTATION=rmw_fastrtps_cpp' in done.stderr
    assert 'no rmw_cyclonedds_cpp' in done.stderr


def test_the_users_own_modules_stay_importable(env: str, tmp_path: Path) -> None:
    inherited = os.environ.get('PYTHONPATH', '')

    found = output(env, 'printenv', 'PYTHONPATH', PYTHONPATH=f'{inherited}:{tmp_path}')

    assert found.strip().endswith(f':{tmp_path}')


@pytest.mark.parametrize(
    ('arguments', 'variables', 'expected'),
    [
        ([], {}, 'usage: tools/env'),
        (['--wiht', 'bench', 'true'], {}, 'no such option: --wiht'),
        (
            ['--with', 'bentch', 'true'],
            {},
            "no such extra: 'bentch' (audit, bench-train, docs, onnx, ray, rerun, security, ",
        ),
        (['true'], {'RL_EDGE_SUBSET': 'egde'}, "'egde' (full, edge)"),
        (['true'], {'ROS_WHEELS': 'humble'}, "'humble' (jazzy, kilted)"),
    ],
)
def test_what_it_does_not_know_is_an_error_that_lists_what_it_knows(
    env: str, arguments: list[str], variables: dict[str, str], expected: str
) -> None:
    done = subprocess.run(
        [env, *arguments],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 2
    assert expected in done.stderr


def test_a_second_run_does_not_set_up(env: str) -> None:
    subprocess.run([env, '--build'], check=True)

    done = subprocess.run([env, '--build'], capture_output=True, text=True, check=True)

    assert (done.stdout, done.stderr) == ('', '')
