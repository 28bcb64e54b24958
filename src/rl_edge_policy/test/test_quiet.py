"""No runtime prints its own lines: what a command says is what we say."""

import subprocess
import sys

import pytest

from rl_edge_policy.runtimes import RUNTIMES

ACT = """
import sys
import numpy as np
from rl_edge_policy.load import load_policy

policy = load_policy(sys.argv[1], recipe=sys.argv[2], runtime=sys.argv[3])
policy.act(np.zeros(policy.spec.observation_size, np.float32))
"""


@pytest.mark.parametrize('runtime', ['litert', 'tflite_runtime'])
def test_a_runtime_starts_in_silence(runtime, plane):
    if not RUNTIMES[runtime].is_installed:
        pytest.skip(f'{runtime} is not installed')
    command = [sys.executable, '-c', ACT, str(plane), 'float32', runtime]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (run.returncode, run.stdout, run.stderr) == (0, '', '')
