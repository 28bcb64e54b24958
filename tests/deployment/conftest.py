"""Where the deployment's files are, and what a device has of the environment."""

import os
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT / 'tests'))  # for the module watcher


@pytest.fixture
def checkout() -> Path:
    return CHECKOUT


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
