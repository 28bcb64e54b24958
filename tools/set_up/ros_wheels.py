"""Make the ROS 2 wheels build interface packages on this machine."""

from __future__ import annotations

import os
import re
from pathlib import Path

from places import Places, run

_NUMPY_HEADERS = re.compile(r'/opt/python/[^;"]*/site-packages/numpy/_?core/include')
_PYTHON_HEADERS = re.compile(r'/opt/python/[^/;"]*/include/python3\.\d+')
_ASK = 'import numpy, sysconfig; print(sysconfig.get_paths()["include"], numpy.get_include())'


def point_cmake_at_this_machine(places: Places) -> None:
    """Rewrite the paths of the wheels' build machine in their exported CMake files."""
    env = {**os.environ, '_ROS_WHEELS_BOOTSTRAP_COMPLETE': '1'}
    python_headers, numpy_headers = run([places.python, '-c', _ASK], env=env).split()
    for file in (places.venv / 'share').glob('*/cmake/*.cmake'):
        text = file.read_text()
        pointed = _NUMPY_HEADERS.sub(numpy_headers, text)
        pointed = _PYTHON_HEADERS.sub(python_headers, pointed)
        if pointed != text:
            _replace(file, pointed)


def _replace(file: Path, text: str) -> None:
    """Write a new file in place of the old: uv's cache may hold the old one by another name."""
    new = file.with_suffix('.new')
    new.write_text(text)
    new.replace(file)
