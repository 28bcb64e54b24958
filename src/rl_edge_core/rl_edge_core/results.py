"""How results are written: what they were measured on, and what stands for a missing value."""

import dataclasses
import json
import math
import os
import platform
import tempfile
from collections.abc import Iterable, Mapping
from enum import Enum
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


def describe_machine() -> dict[str, Any]:
    """Return what results were measured on."""
    return {
        'processor': processor_name(),
        'cores': os.cpu_count(),
        'memory_gb': round(psutil.virtual_memory().total / 1e9, 1),
        'load_average_1min': round(os.getloadavg()[0], 2),
        'system': platform.platform(),
        'python': platform.python_version(),
        'ros_distro': os.environ.get('ROS_DISTRO', ''),
        'libraries': installed_versions(_LIBRARIES),
    }


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of those of some packages that are installed."""
    versions = {}
    for name in packages:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def json_types(value: Any) -> Any:
    """Return ``value`` in JSON types: mappings, lists, text and numbers, nested.

    A number that is not finite is missing, and becomes None. Dataclasses become mappings, without
    fields whose metadata say ``{'json': False}``.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: json_types(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if field.metadata.get('json', True)
        }
    if isinstance(value, Mapping):
        return {str(key): json_types(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_types(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value.value if isinstance(value, Enum) else value


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` (see `json_types`) atomically; raise StorageError when it can't be."""
    write_atomically(path, json.dumps(json_types(content), indent=1) + '\n')


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


def processor_name() -> str:
    """Return the name of the processor, else of its architecture."""
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        return platform.machine()
    names = (line.split(':', 1)[1].strip() for line in lines if line.startswith('model name'))
    return next(names, platform.machine())
