"""The lock files cover what they are for, and point at no place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PYTHONS = ('3.11', '3.12', '3.13')
EXTRAS = ('audit', 'bench-train', 'docs', 'onnx', 'ray', 'rerun', 'security', 'torch')
LOCKS = (
    *(f'extras/{extra}' for extra in EXTRAS),
    'bootstrap',
    'sourced-edge',
    'sourced',
    'wheels-edge',
    'wheels-kilted-edge',
    'wheels-kilted',
    'wheels',
)


@pytest.fixture
def requirements(checkout: Path) -> Path:
    """The folder of the lock files."""
    return checkout / 'tools' / 'requirements'


def pins(file: Path, python: str) -> dict[str, str]:
    """Return the versions that a lock file gives one Python on x86-64 Linux, by project."""
    environment = {
        'python_version': python,
        'python_full_version': f'{python}.1',
        'sys_platform': 'linux',
        'platform_system': 'Linux',
        'platform_machine': 'x86_64',
        'platform_python_implementation': 'CPython',
        'implementation_name': 'cpython',
        'os_name': 'posix',
    }
    found: dict[str, str] = {}
    for line in re.findall(r'^[a-z0-9].*?(?= \\$|$)', file.read_text(), flags=re.MULTILINE):
        pin = Requirement(line)
        if pin.marker is None or pin.marker.evaluate(environment):
            assert pin.name not in found, f'two versions of {pin.name} for Python {python}'
            found[pin.name] = str(pin.specifier).removeprefix('==')
    return found


def test_every_lock_file_is_looked_at(requirements: Path) -> None:
    found = {str(file.relative_to(requirements)) for file in requirements.glob('**/*.lock')}
    assert found == {f'{lock}.lock' for lock in LOCKS}


@pytest.mark.parametrize('lock', LOCKS)
def test_no_place_is_named_and_every_pin_has_hashes(requirements: Path, lock: str) -> None:
    text = (requirements / f'{lock}.lock').read_text()

    assert not re.search(r'://|^--(index|extra|find)|@ |/(home|root|tmp|opt|usr)/', text, re.M)
    for pin in re.split(r'\n(?=\S)', text)[1:]:
        assert '--hash=sha256:' in pin, pin


@pytest.mark.parametrize('python', PYTHONS)
def test_tflite_runtime_and_the_numpy_that_it_needs_are_for_python_3_11_alone(
    requirements: Path, python: str
) -> None:
    found = pins(requirements / 'wheels.lock', python)

    assert ('tflite-runtime' in found) == (python == '3.11')
    assert found['numpy'].startswith('1.' if python == '3.11' else '2.')


@pytest.mark.parametrize('python', PYTHONS)
def test_a_sourced_ros_keeps_the_numpy_that_its_messages_are_compiled_with(
    requirements: Path, python: str
) -> None:
    found = pins(requirements / 'sourced.lock', python)

    assert found['numpy'].startswith('2.' if python == '3.13' else '1.')
    assert not [name for name in found if name.startswith('ros-')]


@pytest.mark.parametrize('python', PYTHONS)
@pytest.mark.parametrize('kind', ['wheels', 'wheels-kilted', 'sourced'])
def test_the_edge_is_a_part_of_the_whole_without_its_heavy_packages(
    requirements: Path, kind: str, python: str
) -> None:
    edge = pins(requirements / f'{kind}-edge.lock', python)
    whole = pins(requirements / f'{kind}.lock', python)

    assert edge.items() <= whole.items()
    assert {'ai-edge-litert', 'numpy', 'psutil', 'pyyaml'} <= edge.keys()
    assert not {'tensorflow-cpu', 'keras', 'gymnasium', 'mujoco'} & edge.keys()


@pytest.mark.parametrize('python', PYTHONS)
def test_another_ros_distribution_changes_nothing_else(requirements: Path, python: str) -> None:
    def without_ros(lock: str) -> dict[str, str]:
        found = pins(requirements / lock, python)
        return {name: pin for name, pin in found.items() if not name.startswith('ros-')}

    assert without_ros('wheels-kilted.lock') == without_ros('wheels.lock')
    assert pins(requirements / 'wheels-kilted.lock', python)['ros-rclpy'].startswith('9.')


@pytest.mark.parametrize('extra', EXTRAS)
def test_extras_lie_beside_the_whole_and_hold_no_pytorch(requirements: Path, extra: str) -> None:
    for python in PYTHONS:
        added = pins(requirements / 'extras' / f'{extra}.lock', python)
        assert not added.keys() & pins(requirements / 'wheels.lock', python).keys()
        assert not [name for name in added if re.match('torch|nvidia|cuda|triton', name)]
    assert re.search(r'^torch==\d', (requirements / 'extras' / 'torch.txt').read_text(), re.M)


@pytest.mark.parametrize('python', PYTHONS)
def test_the_lock_holds_what_the_requirements_ask_for(requirements: Path, python: str) -> None:
    found = pins(requirements / 'wheels.lock', python)

    for source in ('ros', 'build', 'edge', 'full', 'dev'):
        for line in (requirements / f'{source}.in').read_text().splitlines():
            if line and not line.startswith(('#', '-r')):
                asked = Requirement(line)
                if asked.marker is None or asked.marker.evaluate({'python_version': python}):
                    name = asked.name.lower()
                    assert asked.specifier.contains(found[name]), line
