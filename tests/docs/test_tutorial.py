"""The training tutorial, run as it is written."""

import importlib.util
import json
import subprocess
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location('pages', Path(__file__).with_name('pages.py'))
pages = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(pages)

pytestmark = [pytest.mark.system, pytest.mark.timeout(1500)]


def test_the_training_tutorial_runs_as_written(tmp_path, ros_domain_id):
    blocks = pages.code_blocks(pages.pages()['docs/training.md'])
    commands = [line for block in blocks for line in block.splitlines() if line.strip()]
    assert len(commands) >= 6

    for command in commands:
        assert command.startswith('tools/env ')
        done = subprocess.run(
            f'{pages.ROOT}/{command}',
            shell=True,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f'{command}\n{done.stdout}\n{done.stderr}'

    manifest = json.loads(
        (tmp_path / 'runs' / 'pendulum' / 'policy' / 'manifest.json').read_text()
    )
    assert manifest['environment']['environment_id'] == 'InvertedPendulum-v5'
    assert list((tmp_path / 'results' / 'pendulum' / 'plots').glob('*.png'))
