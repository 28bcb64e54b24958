"""Record with ``ros2 bag record``, where it is installed."""

import sys
from collections.abc import Sequence

from rl_edge_bringup.installed import install_command, missing_packages, missing_programs
from rl_edge_core.errors import ConfigurationError
from rl_edge_eval.recording.topic_selection import TopicSelection

AUTO, ROSBAG2, RL_EDGE = 'auto', 'rosbag2', 'rl_edge'
RECORDERS = (AUTO, ROSBAG2, RL_EDGE)


def choose_recorder(recorder: str, storage: str) -> str:
    """Return `ROSBAG2` or `RL_EDGE`; `AUTO` is the former where it can write ``storage``.

    Raise ConfigurationError with the command that installs what is missing.
    """
    missing = missing_for_rosbag2(storage)
    if recorder == ROSBAG2 and missing:
        raise ConfigurationError(
            f'recorder is {ROSBAG2!r}, but {" and ".join(missing)} of rosbag2 can not be found: '
            f'{install_command(_packages(storage))}, or use recorder:={RL_EDGE}'
        )
    if recorder != AUTO:
        return recorder
    return RL_EDGE if missing else ROSBAG2


def missing_for_rosbag2(storage: str) -> list[str]:
    """Return what ``ros2 bag record`` with this storage (mcap, sqlite3) needs and lacks."""
    return missing_programs(['ros2']) + missing_packages(_packages(storage))


def record_command(topics: TopicSelection, *, storage: str, bag: str) -> tuple[str, ...]:
    """Return the command line that records ``topics`` into the folder ``bag``.

    The programme in between (see `rosbag2_process`) finds a free folder and ends the recorder
    after the nodes.
    """
    process = (sys.executable, '-m', 'rl_edge_bringup.rosbag2_process', bag)
    recorder = ('ros2', 'bag', 'record', '--storage', storage, '--regex', topics_regex(topics))
    return (*process, *recorder, '--disable-keyboard-controls')


def topics_regex(topics: TopicSelection) -> str:
    """Return the regular expression, as rosbag2 reads it, of the names that are recorded.

    Hidden topics are left out by rosbag2 itself.
    """
    return f'^({"|".join(_regex(pattern) for pattern in topics.patterns)})$'


def _regex(pattern: str) -> str:
    # Names have letters, digits, / and _ alone: nothing else stands for itself.
    return pattern.replace('*', '.*').replace('?', '.')


def _packages(storage: str) -> Sequence[str]:
    return ('ros2bag', f'rosbag2_storage_{storage}')
