"""Where installed files, models and results are."""

import os
from pathlib import Path

from ament_index_python.packages import (
    PackageNotFoundError,
    get_package_prefix,
    get_package_share_directory,
)

from rl_edge_core.errors import ConfigurationError

PACKAGE = 'rl_edge_bringup'


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


def models_folder() -> Path:
    """Return the folder of shipped models: the checkout's, else ``models`` where we are."""
    return (workspace_folder() or Path.cwd()) / 'models'


def results_folder() -> Path:
    """Return the folder that experiments write to: the checkout's, else ``results`` here."""
    return (workspace_folder() or Path.cwd()) / 'results'


def ros_log_folder() -> Path:
    """Return the folder for logs as ROS 2 nodes find it."""
    if folder := os.environ.get('ROS_LOG_DIR'):
        return Path(folder).expanduser()
    home = os.environ.get('ROS_HOME') or '~/.ros'
    return Path(home).expanduser() / 'log'


def _not_built(package: str) -> ConfigurationError:
    return ConfigurationError(
        f'package {package} is not built or its workspace is not sourced: '
        f'run colcon build and source install/setup.bash, or use tools/env'
    )
