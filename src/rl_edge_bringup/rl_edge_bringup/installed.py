"""Parts of a ROS 2 installation that not every machine has."""

import os
import shutil
from collections.abc import Iterable

from ament_index_python.packages import PackageNotFoundError, get_package_prefix


def missing_programs(names: Iterable[str]) -> list[str]:
    """Return those of the programs that are not on the PATH."""
    return [name for name in names if shutil.which(name) is None]


def missing_packages(names: Iterable[str]) -> list[str]:
    """Return those of the ROS packages that are not installed or not sourced."""
    return [name for name in names if not _is_installed(name)]


def install_command(packages: Iterable[str]) -> str:
    """Return the command line that installs ROS packages of the distribution in use."""
    prefix = f'ros-{os.environ.get("ROS_DISTRO", "$ROS_DISTRO")}-'
    return ' '.join(
        ['sudo apt install', *(prefix + package.replace('_', '-') for package in packages)]
    )


def _is_installed(package: str) -> bool:
    try:
        get_package_prefix(package)
    except PackageNotFoundError:
        return False
    return True
