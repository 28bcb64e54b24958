"""The one edge installation that tests of several folders share."""

import os
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope='session')
def edge(tmp_path_factory) -> Path:
    """The folder of an edge installation: RL_EDGE_INSTALLATION names one that is there already.

    Tests that use it are of the group `edge`, so that one worker makes it once.
    """
    if there := os.environ.get('RL_EDGE_INSTALLATION'):
        return Path(there)
    folder = tmp_path_factory.mktemp('edge') / 'installation'
    command = ['make', '-C', CHECKOUT, 'edge', f'INTO={folder}']
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder
