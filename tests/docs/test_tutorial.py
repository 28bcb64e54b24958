"""The tutorials, run as they are written."""

import importlib.util
import json
import os
import signal
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


@pytest.mark.xdist_group('edge')
def test_the_way_from_desktop_to_device_runs_as_written(edge, tmp_path, ros_domain_id):
    page = pages.pages()['docs/deployment.md'].split('## Try it on one machine first')[1]
    section = page.split('\n## ')[0]
    device, desktop = (block.splitlines() for block in pages.code_blocks(section))
    make_edge, start_policy = (line for line in device if line.strip())
    assert make_edge == 'make edge'
    (tmp_path / 'models').symlink_to(pages.ROOT / 'models')
    terminal = {name: os.environ[name] for name in ('HOME', 'PATH', 'LANG') if name in os.environ}
    terminal['ROS_DOMAIN_ID'] = str(ros_domain_id)
    (tmp_path / '.edge').symlink_to(edge)

    policy = subprocess.Popen(
        start_policy,
        shell=True,
        cwd=tmp_path,
        env=terminal,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        said = {}
        for command in filter(str.strip, desktop):
            done = subprocess.run(
                command.replace('tools/env', str(pages.ROOT / 'tools' / 'env')),
                shell=True,
                cwd=tmp_path,
                env={**os.environ, **terminal} if 'tools/env' in command else terminal,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f'{command}\n{done.stdout}\n{done.stderr}'
            said[command.split()[1]] = done.stdout
    finally:
        os.killpg(policy.pid, signal.SIGINT)
        log = policy.communicate(timeout=60)[0]
    assert 'active' in said['health'], log
    assert (tmp_path / 'results' / 'device' / 'bag' / 'metadata.yaml').exists()
