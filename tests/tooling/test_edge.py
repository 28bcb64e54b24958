"""Where tools/edge puts its installation."""

from __future__ import annotations

import importlib.util
import os
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def edge(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """tools/edge as a module that installs and builds nothing."""
    loader = SourceFileLoader('tools_edge', str(checkout / 'tools' / 'edge'))
    spec = importlib.util.spec_from_loader('tools_edge', loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, 'tools_edge', module)
    loader.exec_module(module)
    for name in ('_install_python_packages', '_build_packages', '_write_environment'):
        monkeypatch.setattr(module, name, lambda *_: None)
    described = {'versions': {}, 'python_packages_mb': 1, 'rl_edge_mb': 1, 'whole_mb': 1}
    monkeypatch.setattr(module, 'describe', lambda *_, **__: described)
    return module


def install(edge: ModuleType, target: Path) -> None:
    """Make an installation from wheels."""
    from places import Places

    there: Any = Places(root=target, venv=target, subset='edge', ros_wheels='jazzy')
    edge.install(there, target)


def test_an_earlier_installation_is_replaced_in_the_folder_that_is_there(
    edge: ModuleType, tmp_path: Path
) -> None:
    target = tmp_path / 'opt' / 'rl_edge'
    install(edge, target)
    (target / 'ros').mkdir()
    (target / 'ros' / 'old').write_text('of an earlier version')
    inode = target.stat().st_ino

    install(edge, target)

    # /opt belongs to root: the folder in it is given to the user, who can't make it again
    assert target.stat().st_ino == inode
    assert not (target / 'ros').exists()
    assert (target / 'bin' / 'rl_edge').exists()


def test_a_folder_that_holds_something_else_is_left_alone(
    edge: ModuleType, tmp_path: Path
) -> None:
    from places import StepError

    (tmp_path / 'thesis.tex').write_text('mine')

    with pytest.raises(StepError, match='holds something else'):
        install(edge, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ['thesis.tex']


def test_the_user_of_a_service_reads_what_a_private_umask_made(
    edge: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o755)
    monkeypatch.setattr('sys.argv', ['edge', '--into', str(tmp_path / 'rl_edge')])
    before = os.umask(0o077)
    try:
        assert edge.main() == 0
    finally:
        os.umask(before)

    made = [tmp_path / 'rl_edge', *(tmp_path / 'rl_edge').rglob('*')]
    assert len(made) > 2
    assert all(path.stat().st_mode & 0o004 for path in made)
