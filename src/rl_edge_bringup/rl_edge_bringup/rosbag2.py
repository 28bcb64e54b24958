"""Record with ``ros2 bag record``, where it is installed."""

import sys
from collections.abc import Sequence

from rl_edge_bringup.installed import install_command, missing_packages, missing_programs
from rl_edge_bringup.qos_profiles import QosOverrides, publisher_profile
from rl_edge_core.errors import ConfigurationError
from rl_edge_core.recording import SUBSCRIPTION_DEPTH, TopicSelection

AUTO, ROSBAG2, RL_EDGE = 'auto', 'rosbag2', 'rl_edge'
RECORDERS = (AUTO, ROSBAG2, RL_EDGE)
ROSBAG2_NODE = 'rosbag2_recorder'
"""The name of the node that ``ros2 bag record`` makes."""
_OF_EVERY_STEP = ('observation', 'action', 'transition', 'episode')


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


def subscription_qos(
    topics: TopicSelection, robots: Sequence[str], overrides: QosOverrides
) -> dict[str, dict[str, str | int]]:
    """Return what to ask for on the topics of each step, as rosbag2 reads it.

    On its own rosbag2 keeps the last 10 messages of a topic. In lockstep that is a few
    milliseconds: whatever holds it up for longer costs transitions.
    """
    profiles: dict[str, dict[str, str | int]] = {}
    for robot in robots:
        for topic in _OF_EVERY_STEP:
            name = f'/{robot.strip("/")}/{topic}'
            if topics.wants(name):
                offer = publisher_profile(overrides, topic)
                profiles[name] = {
                    'history': 'keep_last',
                    'depth': SUBSCRIPTION_DEPTH,
                    'reliability': offer.reliability.short_key,
                    'durability': offer.durability.short_key,
                }
    return profiles


def record_command(
    topics: TopicSelection, *, storage: str, bag: str, qos_file: str
) -> tuple[str, ...]:
    """Return the command line that records ``topics`` into the folder ``bag``.

    ``qos_file`` holds `subscription_qos` as YAML. The programme in between (see
    `rosbag2_process`) finds a free folder and ends the recorder after the nodes.
    """
    process = (sys.executable, '-m', 'rl_edge_bringup.rosbag2_process', bag)
    recorder = ('ros2', 'bag', 'record', '--storage', storage, '--regex', topics_regex(topics))
    qos = ('--qos-profile-overrides-path', qos_file)
    return (*process, *recorder, *qos, '--disable-keyboard-controls')


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
