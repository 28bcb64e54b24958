"""The entry points of this package: what it adds to ``rl_edge``, and the recorder's executable."""

from rl_edge_core.command import Command
from rl_edge_core.shared_parameters import RecorderParameters

_RUN = 'rl_edge_eval.__main__:main'

COMMANDS = (
    Command(
        name='bag',
        group='look',
        help='what recorded runs were like: tables, plots, JSON, CSV',
        run=_RUN,
        words=('bag',),
        example='results/report/bags/* --plots plots',
    ),
    Command(
        name='replay',
        group='look',
        help='give the observations of a bag to a model and compare its actions',
        run=_RUN,
        words=('replay',),
        example='mybag --model models/ant_v5/best',
    ),
    Command(
        name='view',
        group='look',
        help='a bag in the Rerun viewer: the robot in 3D, actions, rewards, latency, CPU',
        run=_RUN,
        words=('view',),
        example='mybag --save mybag.rrd',
    ),
)


def record_node() -> int:
    """Run the recorder node until it is told to end; exit code 1 when the bag can't be written."""
    from rl_edge_core.ros.node_main import run_node_process  # late: it is for the node's process

    return run_node_process('rl_edge_eval.recorder_node:RecorderNode', RecorderParameters)
