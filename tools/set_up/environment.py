"""The environment variables that commands of the workspace run with."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from pathlib import Path

from places import Places

_DEFAULTS = {
    'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
    'KERAS_BACKEND': 'tensorflow',
    'TF_CPP_MIN_LOG_LEVEL': '2',
}
"""Set only where the user has not."""


def write_environment(places: Places, packages: Iterable[str]) -> None:
    """Write what tools/env sources: plain assignments, so that it costs next to nothing."""
    lines = ['# Written by tools/set_up, sourced by tools/env.']
    for name, folders in _search_paths(places, packages).items():
        if folders:
            value = shlex.quote(':'.join(map(str, folders)))
            lines.append(f'export {name}={value}"${{{name}:+:${name}}}"')
    lines += [f'export {name}={shlex.quote(value)}' for name, value in _settings(places).items()]
    lines += [f'export {name}="${{{name}:-{value}}}"' for name, value in _DEFAULTS.items()]
    file = places.state / 'environment.sh'
    new = file.with_suffix('.new')
    new.write_text('\n'.join(lines) + '\n')
    new.replace(file)


def build_environment(places: Places) -> dict[str, str]:
    """Return the environment to build in: without the packages that are about to be built."""
    env = {**os.environ, **_settings(places)}
    for name, folders in _search_paths(places, []).items():
        inherited = [env[name]] if env.get(name) else []
        env[name] = ':'.join([*map(str, folders), *inherited])
    for name in ('MFLAGS', 'MAKELEVEL'):  # of the make that may have called us
        env.pop(name, None)
    # unless told, colcon adds a load limit, with which a busy machine compiles next to nothing
    env['MAKEFLAGS'] = f'-j{len(os.sched_getaffinity(0))}'
    env['COLCON_DEFAULTS_FILE'] = os.devnull  # the user's may ask for another layout
    return env


def _settings(places: Places) -> dict[str, str]:
    settings = {
        'RL_EDGE_ROOT': str(places.root),
        'RL_EDGE_ENV': str(places.venv),
        'VIRTUAL_ENV': str(places.venv),
        'PYTHONNOUSERSITE': '1',
    }
    if places.ros_wheels:
        settings |= {
            'RL_EDGE_ROS_WHEELS': places.ros_wheels,
            'ROS_DISTRO': places.ros_wheels,
            'ROS_VERSION': '2',
            'ROS_PYTHON_VERSION': '3',
            'RMW_IMPLEMENTATION': 'rmw_fastrtps_cpp',
            # rclpy's wheel runs Python again to set LD_LIBRARY_PATH unless told that it is set
            '_ROS_WHEELS_BOOTSTRAP_COMPLETE': '1',
        }
    return settings


def _search_paths(places: Places, packages: Iterable[str]) -> dict[str, list[Path]]:
    """Return each search path's own folders, first ones first."""
    build, install = places.workspace / 'build', places.workspace / 'install'
    prefixes = [install / package for package in packages]
    programs = [prefix / 'bin' for prefix in prefixes if (prefix / 'bin').is_dir()]
    libraries = [prefix / 'lib' for prefix in prefixes if list((prefix / 'lib').glob('*.so'))]
    # an ament_python package is imported from its build folder, where links lead to the sources
    modules = [build / p.name for p in prefixes if list((build / p.name).glob('*.egg-info'))]
    for prefix in prefixes:
        for folder in prefix.glob('**/lib/python3*/*-packages'):
            modules += [folder] if any(entry.is_dir() for entry in folder.iterdir()) else []
    if not places.sourced:
        prefixes.append(places.venv)
        libraries.append(places.venv / 'lib')
        libraries += sorted(places.venv.glob('lib/python3*/site-packages/ros_*.libs'))
    return {
        'PATH': [places.venv / 'bin', *programs],
        'PYTHONPATH': modules,
        'LD_LIBRARY_PATH': libraries,
        'AMENT_PREFIX_PATH': prefixes,
        'CMAKE_PREFIX_PATH': prefixes,
    }
