"""rqt beside a robot: CPU, memory and latency of its sim and its policy."""

import sys

from rl_edge_bringup.arguments import Values
from rl_edge_bringup.description import NodeDescription, SystemDescription
from rl_edge_bringup.installed import install_command, missing_packages, missing_programs
from rl_edge_bringup.systems.common import RUN_ARGUMENTS
from rl_edge_core.errors import ConfigurationError

_PACKAGES = ('rqt_gui', 'rqt_plot')


def check_rqt() -> None:
    """Raise ConfigurationError, with the command that installs it, where rqt is missing."""
    missing = missing_programs(['rqt']) + missing_packages(_PACKAGES)
    if missing:
        raise ConfigurationError(
            f'monitor needs rqt, of which {" and ".join(missing)} can not be found: '
            f'{install_command(_PACKAGES)}'
        )


def _nodes(values: Values) -> tuple[NodeDescription, ...]:
    namespace, output = str(values['namespace']), str(values['output'])
    return (
        NodeDescription(
            package='rqt_gui',
            executable='rqt',
            name='rqt',
            namespace=namespace,
            command=(
                sys.executable,
                '-m',
                'rl_edge_bringup.monitor_process',
                namespace,
                output,
            ),
            ends_run=True,
        ),
    )


MONITOR = SystemDescription(
    name='monitor',
    description='rqt with plots of CPU, memory and latency of a robot that runs',
    arguments=tuple(a for a in RUN_ARGUMENTS if a.name in ('namespace', 'output')),
    nodes=_nodes,
    check=check_rqt,
)
