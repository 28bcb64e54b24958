"""Where the deployment's files are, and the one edge installation that its tests share."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT / 'tests'))  # for the module watcher


@pytest.fixture
def checkout() -> Path:
    return CHECKOUT


@pytest.fixture(scope='session')
def edge(tmp_path_factory) -> Path:
    """The folder of an edge installation: RL_EDGE_INSTALLATION names one that is there already."""
    if there := os.environ.get('RL_EDGE_INSTALLATION'):
        return Path(there)
    folder = tmp_path_factory.mktemp('edge') / 'installation'
    command = [sys.executable, CHECKOUT / 'tools' / 'edge', '--into', folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture
def bare_environment(ros_domain_id) -> dict[str, str]:
    """The environment of a device: nothing of the workspace's own."""
    keep = ('HOME', 'LANG', 'PATH', 'TMPDIR')
    environment = {name: os.environ[name] for name in keep if name in os.environ}
    own = os.environ.get('RL_EDGE_ENV', '')
    path = [entry for entry in environment['PATH'].split(':') if not own or own not in entry]
    return environment | {
        'PATH': ':'.join(path),
        'ROS_DOMAIN_ID': str(ros_domain_id),
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
    }
