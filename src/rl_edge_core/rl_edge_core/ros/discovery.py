"""How often a node announces itself to Fast DDS participants that start at the same time."""

import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path

PROFILE = Path(__file__).with_name('fast_dds.xml')
_VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
_FILES = ('DEFAULT_FASTRTPS_PROFILES.xml', 'DEFAULT_FASTDDS_PROFILES.xml')


def announce_often(variables: MutableMapping[str, str] = os.environ) -> None:
    """Let Fast DDS repeat its announcements after 0.3 s instead of 3 s; call it before `rclpy`.

    Of nodes that start together some miss each other's first announcements (one pair in six on a
    busy machine), and the first action waited for the repetition. Profiles of the user, in a file
    that ``variables`` name or in the current folder, are left alone; other middleware ignores it.
    """
    has_own = any(variables.get(name) for name in _VARIABLES)
    if not has_own and not any(Path(name).exists() for name in _FILES):
        variables[profiles_variable(variables)] = str(PROFILE)


def profiles_variable(variables: Mapping[str, str] = os.environ) -> str:
    """Return the variable that Fast DDS of the ROS 2 in use reads; later ones warn of Jazzy's."""
    return _VARIABLES[0] if variables.get('ROS_DISTRO', 'jazzy') == 'jazzy' else _VARIABLES[1]
