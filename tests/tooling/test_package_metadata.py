"""package.xml files name what the packages import, by rosdep keys that exist."""

from __future__ import annotations

import ast
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = sorted([*(ROOT / 'src').glob('*/package.xml'), ROOT / 'models' / 'package.xml'])

ROSDEP_KEYS = {
    'PIL': 'python3-pil',
    'cryptography': 'python3-cryptography',
    'gymnasium': 'python3-gymnasium-pip',
    'imageio': 'python3-imageio',
    'lxml': 'python3-lxml',
    'matplotlib': 'python3-matplotlib',
    'mujoco': 'python3-mujoco-pip',
    'numpy': 'python3-numpy',
    'psutil': 'python3-psutil',
    'rich': 'python3-rich',
    'tqdm': 'python3-tqdm',
    'yaml': 'python3-yaml',
}
"""Keys of the packages that we import, from rosdistro of August 2026."""
ROS_PACKAGES = {
    'ament_cmake',
    'ament_index_python',
    'builtin_interfaces',
    'diagnostic_msgs',
    'geometry_msgs',
    'launch',
    'launch_ros',
    'lifecycle_msgs',
    'nav_msgs',
    'rcl_interfaces',
    'rclpy',
    'ros2launch',
    'rosgraph_msgs',
    'rosidl_default_generators',
    'rosidl_default_runtime',
    'sensor_msgs',
    'simulation_interfaces',
    'std_msgs',
    'std_srvs',
    'tf2_msgs',
    'trajectory_msgs',
}
"""Released for Jazzy, Kilted and Lyrical, by rosdistro of August 2026."""
WITHOUT_A_KEY = {
    'ai_edge_litert',
    'ai_edge_quantizer',
    'flatbuffers',
    'glfw',
    'keras',
    'litert_quantizer',
    'lz4',
    'zstandard',
    'mcap',
    'mcap_ros2',
    'tensorboard',
    'tensorflow',
    'tflite_runtime',
}
"""Installed with pip by tools/requirements/full.in; docs/deployment.md lists them."""
EXTRAS = {
    'onnx',
    'onnxruntime',
    'ray',
    'rerun',
    'ros2bag',
    'rosbag2_py',
    'sb3_contrib',
    'simulation_interfaces',
    'sros2',
    'stable_baselines3',
    'torch',
}
"""Looked for when a command needs them, which says how to install them."""


def dependencies(file: Path) -> set[str]:
    """Return what a package.xml says is needed to build or run."""
    return {
        tag.text or ''
        for tag in ElementTree.parse(file).getroot()
        if tag.tag.endswith('depend') and tag.tag != 'test_depend'
    }


def imports(package: Path) -> set[str]:
    """Return the third-party and ROS packages that the modules of a package import."""
    names = set()
    for file in (package / package.name).rglob('*.py'):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition('.')[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names.add(node.module.partition('.')[0])
    return names - set(sys.stdlib_module_names) - {package.name} - EXTRAS - WITHOUT_A_KEY


def name_of(file: Path) -> str:
    """Name a test after its package."""
    return file.parent.name


@pytest.mark.parametrize('file', PACKAGES, ids=name_of)
def test_what_a_package_imports_is_declared(file: Path) -> None:
    needed = {ROSDEP_KEYS.get(name, name) for name in imports(file.parent)}

    assert needed <= dependencies(file)


@pytest.mark.parametrize('file', PACKAGES, ids=name_of)
def test_every_dependency_is_ours_or_has_a_key(file: Path) -> None:
    ours = {ElementTree.parse(package).findtext('name') or '' for package in PACKAGES}

    assert dependencies(file) <= ours | ROS_PACKAGES | set(ROSDEP_KEYS.values())


@pytest.mark.parametrize('file', PACKAGES, ids=name_of)
def test_the_metadata_is_what_a_release_needs(file: Path) -> None:
    package = ElementTree.parse(file).getroot()

    assert package.get('format') == '3'
    assert (package.findtext('name') or '').startswith('rl_edge_')
    assert package.findtext('license') == 'Apache-2.0'
    assert '@' in (package.find('maintainer').get('email') or '')  # type: ignore[union-attr]
    assert len(package.findtext('description') or '') > 40


def test_all_packages_have_one_version_which_the_changelog_has() -> None:
    versions = {ElementTree.parse(file).getroot().findtext('version') for file in PACKAGES}
    versions |= {
        match[1]
        for setup in (ROOT / 'src').glob('*/setup.py')
        if (match := re.search(r"version='([^']+)'", setup.read_text()))
    }

    (version,) = versions
    assert f'## {version}' in (ROOT / 'CHANGELOG.md').read_text()


@pytest.mark.parametrize('name', ['rl_edge_interfaces', 'rl_edge_core'])
def test_packages_that_others_build_on_declare_their_quality(name: str) -> None:
    text = (ROOT / 'src' / name / 'QUALITY_DECLARATION.md').read_text()

    assert re.search(r'\*\*Quality Level [1-5]\*\*', text)
    assert 'REP 2004' in text
