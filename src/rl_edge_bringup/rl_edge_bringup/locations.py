"""Where installed files, models, results and logs are, and which programs this machine has."""

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from ament_index_python.packages import (
    PackageNotFoundError,
    get_package_prefix,
    get_package_share_directory,
)

from rl_edge_core.errors import ConfigurationError

PACKAGE = 'rl_edge_bringup'
MODELS_PACKAGE = 'rl_edge_models'
"""Installs the folder models/ of the checkout."""


def share_folder(package: str = PACKAGE) -> Path:
    """Return the share folder of a package; raise ConfigurationError when it is not built."""
    try:
        return Path(get_package_share_directory(package))
    except PackageNotFoundError:
        raise _not_built(package) from None


def executable_path(package: str, executable: str) -> Path:
    """Return a node's program; raise ConfigurationError when it is not built."""
    try:
        folder = Path(get_package_prefix(package)) / 'lib' / package
    except PackageNotFoundError:
        raise _not_built(package) from None
    if not (folder / executable).is_file():
        there = ', '.join(sorted(path.name for path in folder.glob('*'))) or 'none'
        raise ConfigurationError(f'{package} has no program {executable!r}; it has {there}')
    return folder / executable


def workspace_folder() -> Path | None:
    """Return the checkout that this package belongs to; None when it was installed alone."""
    if root := os.environ.get('RL_EDGE_ROOT'):
        return Path(root)
    for folder in Path(__file__).resolve().parents:
        if (folder / 'src' / PACKAGE).is_dir():
            return folder
    return None


def models_folder() -> Path | None:
    """Return the folder of shipped models: the checkout's, else the installed one; or None."""
    checkout = workspace_folder()
    if checkout is not None and (checkout / 'models').is_dir():
        return checkout / 'models'
    try:
        return Path(get_package_share_directory(MODELS_PACKAGE))
    except PackageNotFoundError:
        return None


def results_folder() -> Path:
    """Return the folder that experiments write to: the checkout's, else one in ROS_HOME."""
    checkout = workspace_folder()
    return checkout / 'results' if checkout else generated_folder() / 'results'


def ros_home() -> Path:
    """Return the folder of what ROS 2 programs keep for a user."""
    return Path(os.environ.get('ROS_HOME') or '~/.ros').expanduser()


def generated_folder() -> Path:
    """Return the folder of what is made on demand, such as untrained models."""
    return ros_home() / 'rl_edge'


def ros_log_folder() -> Path:
    """Return the folder for logs as ROS 2 nodes find it."""
    if folder := os.environ.get('ROS_LOG_DIR'):
        return Path(folder).expanduser()
    return ros_home() / 'log'


def missing_programs(names: Iterable[str]) -> list[str]:
    """Return those of the programs that are not on the PATH."""
    return [name for name in names if shutil.which(name) is None]


def missing_packages(names: Iterable[str]) -> list[str]:
    """Return those of the ROS packages that are not installed or not sourced."""
    return [name for name in names if not is_installed(name)]


def is_installed(package: str) -> bool:
    """Return whether a ROS package is built and sourced."""
    try:
        get_package_prefix(package)
    except PackageNotFoundError:
        return False
    return True


def install_command(packages: Iterable[str]) -> str:
    """Return the command line that installs ROS packages of the distribution in use."""
    prefix = f'ros-{os.environ.get("ROS_DISTRO", "$ROS_DISTRO")}-'
    return ' '.join(
        ['sudo apt install', *(prefix + package.replace('_', '-') for package in packages)]
    )


def _not_built(package: str) -> ConfigurationError:
    return ConfigurationError(
        f'package {package} is not built or its workspace is not sourced: '
        f'run colcon build and source install/setup.bash, or use tools/env'
    )
