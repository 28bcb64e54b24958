"""Namespaces of robots."""

from rclpy.exceptions import InvalidNamespaceException
from rclpy.validate_namespace import validate_namespace

from rl_edge_core.errors import ConfigurationError


def checked_namespace(namespace: str) -> str:
    """Return ``namespace`` without its leading slash.

    Raise ConfigurationError when ROS 2 does not accept it.
    """
    bare = namespace.removeprefix('/')
    if not bare:
        raise ConfigurationError('namespace is empty, must be a name such as ant0')
    try:
        validate_namespace('/' + bare)
    except InvalidNamespaceException as error:
        reason = str(error).splitlines()[0].removeprefix('Invalid namespace: ').rstrip(':')
        raise ConfigurationError(
            f'namespace is {namespace!r}: {reason}; use letters, digits and underscores, '
            f'with / between levels, e.g. ant0 or fleet/ant0'
        ) from None
    return bare
