"""Making files prints what we say, and none of what the libraries say at every start."""

import subprocess
import sys

import numpy as np

from rl_edge_core.tensorflow_setup import NOISE


def test_compressing_prints_no_lines_of_libraries(tmp_path):
    visited = tmp_path / 'visited.npy'
    np.save(visited, np.random.default_rng(0).normal(size=(64, 105)).astype(np.float32))
    command = [sys.executable, '-m', 'rl_edge_compress', 'ant_v5/best', '--recipes']
    command += ['float32,dynamic,int8', '--calibration', str(visited)]
    command += ['--out', str(tmp_path / 'out')]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    assert not NOISE.search(run.stdout + run.stderr)
