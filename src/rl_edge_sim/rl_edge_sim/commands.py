"""What this package adds to the command ``rl_edge``."""

from rl_edge_core.command import Command

COMMANDS = (
    Command(
        name='urdf',
        group='look',
        help='write a URDF of a MuJoCo model, for RViz, Foxglove and robot_state_publisher',
        run='rl_edge_sim.urdf:main',
        example='Ant-v5 --out ant.urdf',
    ),
)
