"""Start rclpy, or say in one sentence why it can not be started."""

import os
from typing import Any

from rl_edge_core.errors import ConfigurationError
from rl_edge_core.files import ros_log_folder


def init_rclpy(**options: Any) -> None:
    """Call ``rclpy.init`` with ``options``, with a folder for logs that can be written to.

    Every program of ours that uses rclpy starts it so, but for the bare node of the benchmarks.
    Raise ConfigurationError for what ROS 2 refuses, and where DDS Security is asked of the wheels.
    """
    import rclpy

    if os.environ.get('ROS_SECURITY_ENABLE') == 'true' and os.environ.get('RL_EDGE_ROS_WHEELS'):
        raise ConfigurationError(
            'ROS_SECURITY_ENABLE is true, but the Fast DDS of the ROS 2 wheels is built without '
            'DDS Security: source a ROS 2 distribution, or unset ROS_SECURITY_ENABLE'
        )
    ros_log_folder()
    try:
        rclpy.init(**options)
    except Exception as error:  # rclpy raises several unrelated types here
        reason = str(error).partition(', at ')[0].replace('\n', ' ').strip()
        if 'logging' in reason or 'log dir' in reason:
            reason += ': set ROS_LOG_DIR to a folder that can be written to'
        raise ConfigurationError(reason) from error
