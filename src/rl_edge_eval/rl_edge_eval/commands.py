"""The entry points of this package: what it adds to ``rl_edge``, and the recorder's executable."""

import os

from rl_edge_core.command import Command
from rl_edge_core.shared_parameters import RecorderParameters

_RUN = 'rl_edge_eval.__main__:main'

COMMANDS = tuple(
    Command(name=name, group='look', help=text, run=_RUN, words=(name,), example=example)
    for name, text, example in (
        (
            'bag',
            'what recorded runs were like: tables, plots, JSON, CSV',
            'results/report/bags/* --plots plots',
        ),
        (
            'replay',
            'give the observations of a bag to a model and compare its actions',
            'mybag --model models/ant_v5/best',
        ),
        (
            'view',
            'a bag in the Rerun viewer: the robot in 3D, actions, rewards, latency, CPU',
            'mybag --save mybag.rrd',
        ),
    )
)


def record_node() -> int:
    """Run the recorder node until it is told to end; exit code 1 when the bag can't be written."""
    from rl_edge_core.ros.node_main import run_node_process  # late: it is for the node's process

    if os.sched_getscheduler(0) == os.SCHED_OTHER:
        # What wakes it must not take a core from the loop that it records.
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    make_node = 'rl_edge_eval.recorder_node:RecorderNode'
    return run_node_process(make_node, RecorderParameters, alone=False)  # each has its own bag
