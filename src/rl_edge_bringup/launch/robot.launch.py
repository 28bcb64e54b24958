"""`ros2 launch rl_edge_bringup robot.launch.py`; `--show-args` lists the arguments."""

from launch import LaunchDescription
from rl_edge_bringup.launch_front_end import describe_launch
from rl_edge_bringup.systems import find_system


def generate_launch_description() -> LaunchDescription:
    return describe_launch(find_system('robot'))
