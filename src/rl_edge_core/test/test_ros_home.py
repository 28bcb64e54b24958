"""Where logs go when nothing says so, and that every command gets along without a home."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rl_edge_core.files import ros_home, ros_log_folder


@pytest.fixture
def no_home(tmp_path, monkeypatch):
    """Let HOME be a file, below which not even root makes a folder; return where to look."""
    (tmp_path / 'file').touch()
    (tmp_path / 'tmp').mkdir()
    monkeypatch.setenv('HOME', str(tmp_path / 'file'))
    monkeypatch.setenv('TMPDIR', str(tmp_path / 'tmp'))
    monkeypatch.setattr('tempfile.tempdir', None)
    monkeypatch.setenv('ROS_HOME', '')
    monkeypatch.setenv('ROS_LOG_DIR', '')
    return tmp_path / 'tmp'


def test_the_home_folder_is_taken_and_not_made_before_it_is_needed(no_home, monkeypatch):
    home = no_home / 'me'
    monkeypatch.setenv('HOME', str(home))

    assert (ros_home(), ros_log_folder()) == (home / '.ros', home / '.ros' / 'log')
    assert not home.exists()
    assert not os.environ['ROS_HOME']


def test_a_home_that_cannot_be_written_to_is_told_once(no_home, capsys):
    folder = no_home / f'rl_edge-{os.getuid()}'

    assert ros_home() == folder
    assert ros_log_folder() == folder / 'log'
    assert os.environ['ROS_HOME'] == str(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert capsys.readouterr().err.count('cannot be written to') == 1


def test_a_log_folder_of_another_user_is_no_home(no_home, monkeypatch):
    """As after one run as root: ~/.ros is ours, ~/.ros/log is not."""
    home = no_home / 'me'
    (home / '.ros' / 'log').mkdir(parents=True)
    monkeypatch.setenv('HOME', str(home))
    denied = home / '.ros' / 'log'
    monkeypatch.setattr('os.access', lambda path, mode: Path(path) != denied)

    assert ros_home() == no_home / f'rl_edge-{os.getuid()}'


def test_a_link_in_the_place_of_the_temporary_folder_is_not_followed(no_home, tmp_path):
    target = tmp_path / 'of_another'
    target.mkdir()
    (no_home / f'rl_edge-{os.getuid()}').symlink_to(target)

    assert ros_home().parent == no_home
    assert ros_home().resolve() != target


def test_what_the_user_chose_stays(no_home, monkeypatch, capsys):
    monkeypatch.setenv('ROS_HOME', '/srv/ros')
    assert ros_log_folder() == Path('/srv/ros/log')

    monkeypatch.setenv('ROS_LOG_DIR', '/srv/logs')
    assert ros_log_folder() == Path('/srv/logs')
    assert capsys.readouterr().err == ''


@pytest.mark.parametrize(
    ('words', 'code', 'said'),
    [
        (('topic', 'list'), 0, 'no topic: '),
        (('health', '0.5'), 1, 'no policy in /ant0 answered within 0.5 s\n'),
        (('sim', 'model:=none'), 2, "error: model is 'none'"),
        (('policy', 'none'), 2, 'error: '),
    ],
)
def test_commands_work_without_a_home(no_home, ros_domain_id, words, code, said):
    done = subprocess.run(
        [sys.executable, '-m', 'rl_edge_core.command', *words],
        cwd=no_home,
        env={**os.environ, 'RL_EDGE_NAMESPACE': 'ant0'},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr
    assert 'Traceback' not in done.stderr
