"""The parameters of the recorder node. Imports nothing heavy: launch files and help read them."""

from dataclasses import dataclass

from rl_edge_core.parameters import parameter
from rl_edge_core.recording import ALL, DEFAULT

FAIL, NUMBER = 'fail', 'number'
STORAGES = ('mcap', 'sqlite3')


@dataclass(frozen=True)
class RecorderParameters:
    """What the recorder node is told."""

    output: str = parameter('', 'Bag folder to create; it has to be given.')
    if_exists: str = parameter(
        FAIL,
        'When the bag folder exists: an error, or the first free one of bag_2, bag_3, ...',
        choices=(FAIL, NUMBER),
    )
    storage: str = parameter('mcap', 'File format of the bag.', choices=STORAGES)
    record_topics: str = parameter(
        DEFAULT,
        f'{DEFAULT} (what an evaluation needs), {ALL} (the whole graph), or topic names separated '
        f'by commas; * stands for anything.',
    )
    namespaces: str = parameter(
        '', 'Namespaces of the robots, separated by commas; empty for that of this node.'
    )
    flush_period_sec: float = parameter(
        0.5,
        'What a kill may cost at most; a power cut also what the disk had not taken yet.',
        unit='s',
        minimum=0.05,
        maximum=1.0,
    )
    max_file_size_mb: float = parameter(
        0.0,
        'Begin another file of the bag where one is that large; 0: never.',
        unit='MB',
        minimum=0.0,
    )
    max_file_duration_sec: float = parameter(
        0.0,
        'Begin another file of the bag where one spans that long; 0: never.',
        unit='s',
        minimum=0.0,
    )
    max_bag_size_mb: float = parameter(
        0.0,
        'Delete the oldest file of the bag where all are larger; 0: never. Files are a fifth of '
        'it where max_file_size_mb is 0.',
        unit='MB',
        minimum=0.0,
    )
    linger_sec: float = parameter(
        3.0,
        'How long to go on, once told to end, while the loop still has publishers.',
        unit='s',
        minimum=0.0,
        maximum=60.0,
    )


def main() -> int:
    """Run the recorder node until it is told to end; exit code 1 when the bag can't be written."""
    from rl_edge_core.ros.node_main import run_node_process  # launch files need no more than above

    return run_node_process('rl_edge_eval.recorder_node:RecorderNode', RecorderParameters)
