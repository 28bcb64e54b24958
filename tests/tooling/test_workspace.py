"""Which packages are built when, with real builds of a scratch package."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SETUP = """
from glob import glob
from setuptools import setup
setup(
    name='scratch', version='0.1.0', packages=['scratch'], license='Apache-2.0',
    data_files=[
        ('share/ament_index/resource_index/packages', ['resource/scratch']),
        ('share/scratch', ['package.xml']),
        ('share/scratch/config', glob('config/*.yaml')),
    ],
)
"""
PACKAGE = """<?xml version="1.0"?>
<package format="3">
  <name>scratch</name><version>0.1.0</version><description>Scratch.</description>
  <maintainer email="nobody@example.org">Nobody</maintainer><license>Apache-2.0</license>
  <export><build_type>ament_python</build_type></export>
</package>
"""


def write(file: Path, text: str = '') -> Path:
    """Write a file, making its folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


@dataclass
class Workspace:
    """A checkout with one package, whose builds are counted."""

    places: Any
    source: Path
    builds: list[list[str]]

    def build(self) -> int:
        """Build what changed; return how many times colcon ran for it."""
        import workspace

        before = len(self.builds)
        workspace.build_changed(self.places, 'installation')
        return len(self.builds) - before

    @property
    def share(self) -> Path:
        """Where the package's data files are installed."""
        return self.places.workspace / 'install' / 'scratch' / 'share' / 'scratch'


BUILDS = pytest.mark.timeout(600)
"""Marks a test that runs colcon, which takes seconds, and many on a machine that is busy."""


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A workspace beside the real one, built with the real one's tools."""
    import places
    import workspace

    source = tmp_path / 'src' / 'scratch'
    write(source / 'setup.py', SETUP)
    write(source / 'package.xml', PACKAGE)
    write(source / 'resource' / 'scratch')
    write(source / 'config' / 'one.yaml', 'value: 1')
    write(source / 'scratch' / '__init__.py', 'VALUE = 1')
    builds: list[list[str]] = []

    def counted(command: list[Any], **options: Any) -> str:
        builds.append([str(part) for part in command])
        return places.run(command, **options)

    monkeypatch.setattr(workspace, 'run', counted)
    monkeypatch.setattr(places.Places, 'python', Path(sys.executable))
    there = places.Places(
        root=tmp_path, venv=tmp_path / '.venv', subset='full', ros_wheels='jazzy'
    )
    return Workspace(places=there, source=source, builds=builds)


@BUILDS
def test_only_what_changed_is_built_and_python_is_live(scratch: Workspace) -> None:
    assert scratch.build() == 1
    assert (scratch.share / 'config' / 'one.yaml').read_text() == 'value: 1'
    assert scratch.build() == 0, 'nothing changed'

    write(scratch.source / 'scratch' / 'module.py', 'VALUE = 2')
    write(scratch.source / 'config' / 'one.yaml', 'value: 2')
    assert scratch.build() == 0, 'both are reached through links'
    assert (scratch.share / 'config' / 'one.yaml').read_text() == 'value: 2'
    imported = subprocess.run(
        [sys.executable, '-c', 'from scratch.module import VALUE; print(VALUE)'],
        env={'PYTHONPATH': str(scratch.places.workspace / 'build' / 'scratch')},
        check=True,
        capture_output=True,
        text=True,
    )
    assert imported.stdout == '2\n'

    (scratch.source / 'config' / 'one.yaml').rename(scratch.source / 'config' / 'two.yaml')
    assert scratch.build() == 1, 'the list of data files changed'
    assert [file.name for file in (scratch.share / 'config').iterdir()] == ['two.yaml']


@BUILDS
def test_a_build_that_failed_or_was_interrupted_starts_from_nothing(scratch: Workspace) -> None:
    from places import StepError

    leftover = write(scratch.places.workspace / 'build' / 'scratch' / 'half_written')
    write(scratch.source / 'setup.py', SETUP + 'raise SystemExit("on purpose")')
    with pytest.raises(StepError, match='on purpose'):
        scratch.build()
    assert not leftover.exists(), 'there was no stamp, so it was not trusted'

    write(scratch.source / 'setup.py', SETUP)
    assert scratch.build() == 1
    assert scratch.build() == 0


def test_products_of_a_removed_package_go(scratch: Workspace) -> None:
    scratch.places.state.joinpath('packages').mkdir(parents=True)
    write(scratch.places.state / 'packages' / 'gone')
    product = write(scratch.places.workspace / 'install' / 'gone' / 'share' / 'file')
    shutil.rmtree(scratch.source)

    assert scratch.build() == 0
    assert not product.exists()
    assert list((scratch.places.state / 'packages').iterdir()) == []


@pytest.mark.parametrize('name', ['setup.py', 'package.xml'])
def test_files_that_steer_the_build_count_with_their_content(
    scratch: Workspace, name: str
) -> None:
    from workspace import package_digest

    before = package_digest(scratch.source, 'installation')
    (scratch.source / name).write_text('changed')

    assert package_digest(scratch.source, 'installation') != before


@pytest.mark.parametrize(
    'name', ['launch/new.launch.py', 'scratch/sub/__init__.py', 'urdf/x.urdf']
)
def test_new_files_that_a_build_lists_count(scratch: Workspace, name: str) -> None:
    from workspace import package_digest

    before = package_digest(scratch.source, 'installation')
    write(scratch.source / name)

    assert package_digest(scratch.source, 'installation') != before


def test_everything_counts_in_a_package_that_is_compiled(scratch: Workspace) -> None:
    from workspace import package_digest

    write(scratch.source / 'CMakeLists.txt')
    message = write(scratch.source / 'msg' / 'One.msg', 'float32 value')
    before = package_digest(scratch.source, 'installation')
    assert package_digest(scratch.source, 'other installation') != before

    message.write_text('float64 value')
    assert package_digest(scratch.source, 'installation') != before


def test_the_edge_has_its_own_packages(scratch: Workspace) -> None:
    from dataclasses import replace

    from workspace import find_packages

    for name in ('rl_edge_core', 'rl_edge_sim'):
        write(scratch.places.root / 'src' / name / 'package.xml')
        write(scratch.places.root / 'src' / name / 'setup.py')
    unfinished = write(scratch.places.root / 'src' / 'unfinished' / 'package.xml')

    assert list(find_packages(scratch.places)) == ['rl_edge_core', 'rl_edge_sim', 'scratch']
    assert list(find_packages(replace(scratch.places, subset='edge'))) == ['rl_edge_core']
    assert unfinished.exists()
