"""What experiments write beside their figures."""

import json
import math
import os
import platform
import tempfile
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from rl_edge_core.files import ensure_folder, storage_errors, write_atomically

_NEEDED_BYTES = 2_000_000

_LIBRARIES = (
    'ros-jazzy-rclpy',
    'gymnasium',
    'mujoco',
    'tensorflow-cpu',
    'keras',
    'ai-edge-litert',
    'tflite-runtime',
    'onnxruntime',
    'numpy',
)


def result_folder(path: Path) -> Path:
    """Make ``path`` a folder that results can be written to, before anything is run for them.

    Raise StorageError when it can't be, because of missing rights or of a full disk.
    """
    ensure_folder(path)
    with storage_errors(path), tempfile.TemporaryFile(dir=path) as file:
        file.write(bytes(_NEEDED_BYTES))
        file.flush()
        os.fsync(file.fileno())
    return path


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write ``content`` atomically; what is not finite becomes null, which JSON has."""
    write_atomically(path, json.dumps(_plain(content), indent=1) + '\n')


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def describe_machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    return {
        'processor': _processor(),
        'cores': os.cpu_count(),
        'memory_gb': round(psutil.virtual_memory().total / 1e9, 1),
        'load_average_1min': round(os.getloadavg()[0], 2),
        'system': platform.platform(),
        'python': platform.python_version(),
        'ros_distro': os.environ.get('ROS_DISTRO', ''),
        'libraries': library_versions(),
    }


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that the figures depend on."""
    versions = {}
    for name in _LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def _processor() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        return platform.machine()
    names = (line.split(':', 1)[1].strip() for line in lines if line.startswith('model name'))
    return next(names, platform.machine())
