"""Recording, which every system can do: a node beside the others, or `ros2 bag record`."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from rl_edge_bringup import models
from rl_edge_bringup.qos_profiles import QosOverrides, load_qos, publisher_profile
from rl_edge_bringup.systems import RECORDER, NodeDescription, robots_of
from rl_edge_core.errors import ConfigurationError
from rl_edge_core.files import free_path, write_atomically
from rl_edge_core.parameters import Values
from rl_edge_core.recording import SUBSCRIPTION_DEPTH, TopicSelection, select_topics
from rl_edge_core.shared_parameters import DEFAULT

BAG_FOLDER = 'bag'
RECORDER_NODE = 'recorder'
AUTO, ROSBAG2, RL_EDGE = 'auto', 'rosbag2', 'rl_edge'
ROSBAG2_NODE = 'rosbag2_recorder'
"""The name of the node that ``ros2 bag record`` makes."""
_OUR_PACKAGE = 'rl_edge_eval'
_LIMITS = ('max_file_size_mb', 'max_file_duration_sec', 'max_bag_size_mb')
"""Arguments that our recorder alone has."""
_OF_EVERY_STEP = ('observation', 'action', 'transition', 'episode')


def with_recorder(nodes: Sequence[NodeDescription], values: Values) -> tuple[NodeDescription, ...]:
    """Return the recorder, then ``nodes``, whose loops begin when it receives transitions.

    Raise ConfigurationError as `recorder_nodes` does.
    """
    return (*recorder_nodes(values), *(_awaiting_recorder(node, values) for node in nodes))


def _awaiting_recorder(node: NodeDescription, values: Values) -> NodeDescription:
    awaited = node.parameters.get('transition_subscribers')
    topics = select_topics(_topics(values), [node.namespace])
    if awaited is None or not topics.wants(f'/{node.namespace}/transition'):
        return node
    recorder = ROSBAG2_NODE if _recorder(values) == ROSBAG2 else RECORDER_NODE
    names = ', '.join(filter(None, [awaited, recorder]))
    return replace(node, parameters={**node.parameters, 'transition_subscribers': names})


def recorder_nodes(values: Values) -> tuple[NodeDescription, ...]:
    """Return the recorder; the nodes after it wait until it has begun.

    A bag is never overwritten: where there is one already, and when the recorder is started again,
    it writes into the folders bag_2, bag_3, ... What rosbag2 asks of the publishers is written
    beside the bag.

    Raise ConfigurationError when the recorder that is asked for is not installed, and for topics
    that are none.
    """
    bag = Path(str(values['output_folder'])) / BAG_FOLDER
    free = free_path(bag)
    recorder = partial(
        NodeDescription,
        name=RECORDER_NODE,
        namespace=str(values['namespace']),
        ready_file=f'{free}/{free.name}_0.*',
    )
    storage, topics = _storage(values), select_topics(_topics(values), robots_of(values))
    if _recorder(values) == ROSBAG2:
        profiles = subscription_qos(topics, robots_of(values), load_qos(str(values['qos'])))
        qos_file = free.with_name(f'{free.name}_qos.yaml')
        write_atomically(qos_file, yaml.safe_dump(profiles, sort_keys=False))
        command = record_command(topics, storage=storage, bag=str(bag), qos_file=str(qos_file))
        return (recorder(package='ros2bag', executable='record', command=command),)
    parameters: dict[str, Any] = {
        'output': str(bag),
        'if_exists': 'number',
        'storage': storage,
        'record_topics': _topics(values),
        'namespaces': str(values.get('robot_namespaces', '')),
        **{name: values[name] for name in _LIMITS if name in values},
    }
    return (recorder(package=_OUR_PACKAGE, executable=RECORDER, parameters=parameters),)


def _recorder(values: Values) -> str:
    wanted = str(values.get('recorder', AUTO))
    limits = [name for name in _LIMITS if values.get(name)]
    if limits and wanted == ROSBAG2:
        raise ConfigurationError(f'{limits[0]} is for recorder:={RL_EDGE}, not {ROSBAG2}')
    return choose_recorder(RL_EDGE if limits else wanted, _storage(values))


def _topics(values: Values) -> str:
    return str(values.get('record_topics', DEFAULT))


def _storage(values: Values) -> str:
    return str(values.get('record_storage', 'mcap'))


def choose_recorder(recorder: str, storage: str) -> str:
    """Return `ROSBAG2` or `RL_EDGE`; `AUTO` is the former where it can write ``storage``.

    Raise ConfigurationError with the command that installs what is missing.
    """
    missing = missing_for_rosbag2(storage)
    install = models.install_command(_rosbag2_packages(storage))
    if recorder == ROSBAG2 and missing:
        raise ConfigurationError(
            f'recorder is {ROSBAG2!r}, but {" and ".join(missing)} of rosbag2 can not be found: '
            f'{install}, or use recorder:={RL_EDGE}'
        )
    if recorder == ROSBAG2 or (recorder == AUTO and not missing):
        return ROSBAG2
    if not models.is_installed(_OUR_PACKAGE):
        raise ConfigurationError(
            f'record is true, but neither {_OUR_PACKAGE} nor rosbag2 is installed here: '
            f'{install}, or record on the desktop'
        )
    return RL_EDGE


def can_record() -> bool:
    """Return whether one of the two recorders is installed."""
    return models.is_installed(_OUR_PACKAGE) or not missing_for_rosbag2('mcap')


def missing_for_rosbag2(storage: str) -> list[str]:
    """Return what ``ros2 bag record`` with this storage (mcap, sqlite3) needs and lacks."""
    return models.missing(['ros2'], _rosbag2_packages(storage))


def _rosbag2_packages(storage: str) -> Sequence[str]:
    return ('ros2bag', f'rosbag2_storage_{storage}')


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

    ``qos_file`` holds `subscription_qos` as YAML. The program in between (see `rosbag2_process`)
    finds a free folder and ends the recorder after the nodes.
    """
    process = (sys.executable, '-m', 'rl_edge_bringup.rosbag2_process', bag)
    recorder = ('ros2', 'bag', 'record', '--storage', storage, '--regex', topics_regex(topics))
    qos = ('--qos-profile-overrides-path', qos_file)
    return (*process, *recorder, *qos, '--disable-keyboard-controls')


def topics_regex(topics: TopicSelection) -> str:
    """Return the regular expression, as rosbag2 reads it, of the names that are recorded.

    Hidden topics are left out by rosbag2 itself.
    """
    # Names have letters, digits, / and _ alone: nothing else stands for itself.
    patterns = (pattern.replace('*', '.*').replace('?', '.') for pattern in topics.patterns)
    return f'^({"|".join(patterns)})$'
