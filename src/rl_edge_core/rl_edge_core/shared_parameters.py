"""Parameters that more than one package knows: of control loops and of the recorder.

Imports nothing heavy: launch files and help read them.
"""

from dataclasses import dataclass

from rl_edge_core.parameters import parameter

DEFAULT, ALL = 'default', 'all'
FAIL, NUMBER = 'fail', 'number'
STORAGES = ('mcap', 'sqlite3')


@dataclass(frozen=True)
class LoopParameters:
    """The parameters that every node around a control loop has; times are of the steady clock."""

    episodes: int = parameter(
        0, 'Episodes after which the node, and with it the run, ends; 0 for no end.', minimum=0
    )
    """Those that a reset ended do not count."""
    on_policy_timeout: str = parameter(
        'fail',
        'When the policy is silent in lockstep: end with an error, or wait for it.',
        choices=('fail', 'wait'),
    )
    policy_timeout_sec: float = parameter(
        10.0,
        'From when on an unanswered observation makes the policy silent, in lockstep.',
        unit='s',
        minimum=0.01,
    )
    first_action_timeout_sec: float = parameter(
        60.0,
        'The same from the start of the node to the first action: Keras needs several seconds.',
        unit='s',
        minimum=0.01,
    )
    transition_subscribers: str = parameter(
        '', 'Nodes that receive transition before the run begins, e.g. recorder, train.'
    )
    republish_period_sec: float = parameter(
        0.5, 'After which an unanswered observation is published again.', unit='s', minimum=0.01
    )
    action_max_age_sec: float = parameter(
        0.2,
        'For how long an action is held in mode realtime before the safe action is applied '
        'instead.',
        unit='s',
        minimum=0.0,
    )


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
