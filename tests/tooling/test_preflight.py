"""What the preflight names, on machines made of stand-ins for the real programs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

BORROWED = ('awk', 'bash', 'dirname', 'getconf', 'sed')
STAND_INS = {
    'cc': '',
    'c++': '',
    'cmake': 'echo cmake version 3.28.3',
    'df': 'echo header; echo disk 9999999 1 8888888 1% /',
    'flock': '',
    'make': '',
    'python3': f'exec {sys.executable} "$@"',
    'uname': '[ "$1" = -m ] && echo x86_64 || echo Linux',
}
PYTHON_3_10 = """
case $2 in *version_info*) echo 3.10 $0 ;; esac
"""
PYTHON_3_12 = """
case $2 in *version_info*) echo 3.12 $0 ;; esac
"""


class Machine:
    """A folder of programs that serves as PATH."""

    def __init__(self, folder: Path, checkout: Path) -> None:
        """Fill the folder with stand-ins for all that the preflight looks for."""
        self.folder = folder
        self.checkout = checkout
        folder.mkdir()
        for name in BORROWED:
            program = shutil.which(name)
            assert program
            (folder / name).symlink_to(program)
        for name, script in STAND_INS.items():
            self.install(name, script)

    def install(self, name: str, script: str) -> Path:
        """Put a program in place of what is there."""
        program = self.folder / name
        program.unlink(missing_ok=True)
        program.write_text(f'#!/bin/sh\n{script}\n')
        program.chmod(0o755)
        return program

    def remove(self, *names: str) -> None:
        """Take programs away."""
        for name in names:
            (self.folder / name).unlink()

    def preflight(self, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the checkout's preflight on this machine."""
        return self.run(self.checkout / 'tools' / 'preflight', **environment)

    def run(self, *command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command that finds this machine's programs alone."""
        return subprocess.run(
            [str(part) for part in command],
            env={'PATH': str(self.folder), 'HOME': str(self.folder), **environment},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path, checkout: Path) -> Machine:
    """A machine on which the set-up would work, with a checkout of its own."""
    shutil.copytree(checkout / 'tools', tmp_path / 'checkout' / 'tools')
    return Machine(tmp_path / 'bin', tmp_path / 'checkout')


def test_a_complete_machine_gets_its_interpreter_named(machine: Machine) -> None:
    done = machine.preflight()

    assert done.returncode == 0, done.stderr
    assert done.stderr == ''
    assert Path(done.stdout.strip()).exists()


def test_all_that_is_missing_is_named_in_one_message_with_its_command(machine: Machine) -> None:
    machine.remove('c++', 'cmake', 'make')

    done = machine.preflight()

    assert done.returncode == 1
    assert done.stdout == ''
    assert 'a C++ compiler' in done.stderr
    assert 'sudo apt-get install build-essential' in done.stderr
    assert 'sudo apt-get install cmake' in done.stderr
    assert 'sudo apt-get install make' in done.stderr


def test_an_unsupported_python_is_named_with_the_one_to_install(machine: Machine) -> None:
    machine.install('python3', PYTHON_3_10)

    done = machine.preflight()

    assert done.returncode == 1
    assert 'Python 3.11, 3.12 or 3.13 (python3 is 3.10)' in done.stderr
    assert '-venv' in done.stderr


def test_a_supported_python_is_found_behind_an_unsupported_one(machine: Machine) -> None:
    machine.install('python3', PYTHON_3_10)
    supported = machine.install('python3.12', PYTHON_3_12)

    assert machine.preflight().stdout == f'{supported}\n'


def test_the_python_asked_for_is_the_only_one_looked_at(machine: Machine) -> None:
    done = machine.preflight(PYTHON='python3.99')

    assert done.returncode == 1
    assert 'PYTHON=python3.99 does not run' in done.stderr


def test_a_missing_venv_module_is_named(machine: Machine) -> None:
    machine.install('python3', PYTHON_3_12 + 'case $2 in *ensurepip*) exit 1 ;; esac')

    done = machine.preflight()

    assert done.returncode == 1
    assert 'the venv module of Python 3.12' in done.stderr
    assert 'sudo apt-get install python3.12-venv' in done.stderr


def test_missing_python_headers_are_named(machine: Machine) -> None:
    machine.install('python3', PYTHON_3_12 + 'case $2 in *Python.h*) exit 1 ;; esac')

    done = machine.preflight()

    assert done.returncode == 1
    assert 'sudo apt-get install python3.12-dev' in done.stderr


def test_an_old_cmake_is_named(machine: Machine) -> None:
    machine.install('cmake', 'echo cmake version 3.16.3')

    assert 'CMake 3.20 or later' in machine.preflight().stderr


def test_arm_needs_a_sourced_ros(machine: Machine) -> None:
    machine.install('uname', '[ "$1" = -m ] && echo aarch64 || echo Linux')

    assert 'no ROS 2 wheels' in machine.preflight().stderr
    version = f'{sys.version_info[0]}.{sys.version_info[1]}'
    assert machine.preflight(ROS_PYTHON=version).returncode == 0


def test_a_sourced_ros_needs_its_own_python(machine: Machine) -> None:
    machine.install('python3', 'echo 3.13 /opt/python3.13')

    done = machine.preflight(ROS_PYTHON='3.12')

    assert done.returncode == 1
    assert '3.12 (the sourced ROS 2 is built for it) (python3 is 3.13)' in done.stderr


def test_the_python_of_a_sourced_lyrical_is_taken(machine: Machine) -> None:
    lyrical = machine.install('python3.14', 'case $2 in *version_info*) echo 3.14 $0 ;; esac')

    assert machine.preflight(ROS_PYTHON='3.14').stdout == f'{lyrical}\n'
    assert machine.preflight(PYTHON='python3.14').returncode == 1, 'there is no TensorFlow for it'


def test_a_full_disk_is_named(machine: Machine) -> None:
    machine.install('df', 'echo header; echo disk 9999999 1 204800 99% /')

    assert '4 GB of disk space' in machine.preflight().stderr
    assert '(200 MB free)' in machine.preflight().stderr


@pytest.mark.skipif(os.geteuid() == 0, reason='root may write everywhere')
def test_a_read_only_checkout_is_named(machine: Machine) -> None:
    machine.checkout.chmod(0o555)

    assert 'permission to write' in machine.preflight().stderr


@pytest.mark.parametrize('name', ['a folder', 'a:folder'])
def test_a_path_that_search_paths_cannot_hold_is_named(
    machine: Machine, tmp_path: Path, name: str
) -> None:
    machine.checkout = machine.checkout.rename(tmp_path / name)

    assert 'without blanks and colons' in machine.preflight().stderr


@pytest.mark.parametrize('locale', ['C', 'C.UTF-8'])
@pytest.mark.parametrize('name', ['로봇', 'müller'])
def test_a_path_that_cmake_cannot_take_is_named(
    machine: Machine, tmp_path: Path, name: str, locale: str
) -> None:
    machine.checkout = machine.checkout.rename(tmp_path / name)

    done = machine.preflight(LC_ALL=locale)

    assert done.returncode == 1
    assert f'a checkout path of ASCII characters ({machine.checkout})' in done.stderr


@pytest.fixture
def contents(machine: Machine) -> Callable[[], list[str]]:
    """Tell what lies in the machine's checkout."""
    return lambda: sorted(path.name for path in machine.checkout.iterdir())


def test_env_does_nothing_before_the_preflight_passes(
    machine: Machine, contents: Callable[[], list[str]]
) -> None:
    machine.remove('c++')
    for name in ('find', 'rm'):
        program = shutil.which(name)
        assert program
        (machine.folder / name).symlink_to(program)
    (machine.checkout / 'src').mkdir()

    done = machine.run(machine.checkout / 'tools' / 'env', 'true')

    assert done.returncode == 1
    assert 'a C++ compiler' in done.stderr
    assert contents() == ['src', 'tools']
