"""What this package adds to the command ``rl_edge``."""

from rl_edge_bringup.systems import SYSTEMS
from rl_edge_core.command import Command

COMMANDS = (
    *(
        Command(
            name=system.name,
            group='look' if system.name == 'record' else 'run',
            help=system.description,
            run='rl_edge_bringup.__main__:run_system',
            words=(system.name,),
            example=system.example,
            starts_nodes=True,
            nodes=system.executables,
        )
        for system in SYSTEMS
    ),
    Command(
        name='security',
        group='run',
        help="keys and signed permissions for a robot's nodes, made with sros2",
        run='rl_edge_bringup.security:main',
        example='ant0 --keystore ~/rl_edge_keys',
    ),
)
