"""Imports run one way, ROS stays at the edge of each package, and nothing is pickled."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

BELOW = {
    'rl_edge_core': {'rl_edge_interfaces'},
    'rl_edge_sim': {'rl_edge_interfaces', 'rl_edge_core'},
    'rl_edge_robot': {'rl_edge_interfaces', 'rl_edge_core'},
    'rl_edge_policy': {'rl_edge_interfaces', 'rl_edge_core'},
}
BELOW['rl_edge_compress'] = BELOW['rl_edge_sim'] | {'rl_edge_sim', 'rl_edge_policy'}
BELOW['rl_edge_eval'] = BELOW['rl_edge_compress']
BELOW['rl_edge_train'] = BELOW['rl_edge_compress'] | {'rl_edge_compress'}
BELOW['rl_edge_bringup'] = BELOW['rl_edge_core'] | {'rl_edge_core'}
BELOW['rl_edge_experiments'] = {
    *BELOW['rl_edge_train'],
    *('rl_edge_train', 'rl_edge_eval', 'rl_edge_bringup', 'rl_edge_robot'),
}
ROS = re.compile(r'rclpy|launch|launch_ros|rl_edge_interfaces|builtin_interfaces|\w+_(msgs|srvs)')
PICKLING = {'pickle', '_pickle', 'cloudpickle', 'dill', 'joblib', 'shelve', 'marshal'}
READS_PICKLES = 'pickled_arrays.py'
"""The one module that follows pickles, by an unpickler that imports and calls nothing."""
STARTS_RCLPY = ('start.py', 'baseline_node.py')
"""The one module that all share, and the bare node that benchmarks compare with."""
ROOT = Path(__file__).resolve().parents[2]


def modules() -> list[Path]:
    """Return the modules of all packages, tests left out."""
    return sorted(
        file
        for package in BELOW
        for file in (ROOT / 'src' / package / package).rglob('*.py')
        if '__pycache__' not in file.parts
    )


def imported(file: Path) -> Iterator[str]:
    """Yield the top-level names that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text(), str(file))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition('.')[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.partition('.')[0]


def may_import_ros(file: Path) -> bool:
    """Tell whether a module is one of those that ROS is for."""
    package = file.relative_to(ROOT / 'src').parts[0]
    return (
        package in ('rl_edge_bringup', 'rl_edge_experiments')
        or file.name.endswith('_node.py')
        or 'ros' in file.parts[-3:-1]
    )


def case_id(file: Path) -> str:
    """Name a test after the module it looks at."""
    return str(file.relative_to(ROOT / 'src'))


def test_there_are_modules_to_look_at() -> None:
    assert modules()


@pytest.mark.parametrize('file', modules(), ids=case_id)
def test_imports_run_one_way_and_know_ros_only_where_it_belongs(file: Path) -> None:
    package = file.relative_to(ROOT / 'src').parts[0]
    names = set(imported(file))

    ours = {name for name in names if name.startswith('rl_edge_')}
    assert ours <= BELOW[package] | {package}
    if not may_import_ros(file):
        assert not {name for name in names if ROS.fullmatch(name)}


def test_no_module_imports_what_imports_it() -> None:
    """Neither at its head nor, put off, in a function."""
    files = {
        '.'.join(file.relative_to(ROOT / 'src').with_suffix('').parts[1:]): file
        for file in modules()
    }
    uses: dict[str, set[str]] = {}
    for name, file in files.items():
        imports = [
            n for n in ast.walk(ast.parse(file.read_text())) if isinstance(n, ast.ImportFrom)
        ]
        found = {node.module for node in imports}
        found |= {f'{node.module}.{alias.name}' for node in imports for alias in node.names}
        uses[name] = found & files.keys()
    assert sum(map(len, uses.values())) > len(files)
    TopologicalSorter(uses).prepare()  # raises CycleError, which names the modules of a circle


@pytest.mark.parametrize('file', modules(), ids=case_id)
def test_nothing_is_pickled(file: Path) -> None:
    found = PICKLING & set(imported(file))
    assert found == ({'pickle'} if file.name == READS_PICKLES else set())
    for node in ast.walk(ast.parse(file.read_text(), str(file))):
        if isinstance(node, ast.keyword) and node.arg == 'allow_pickle':
            assert isinstance(node.value, ast.Constant)
            assert node.value.value is False


@pytest.mark.parametrize('file', modules(), ids=case_id)
def test_rclpy_is_started_in_one_place(file: Path) -> None:
    """It finds a folder for logs, and says in one sentence what ROS 2 refuses."""
    calls = re.findall(r'\b(?:rclpy|context|Context\(\))\.init\(', file.read_text(), re.ASCII)
    assert bool(calls) == (file.name in STARTS_RCLPY)
