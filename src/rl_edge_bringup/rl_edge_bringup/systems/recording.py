"""Recording, which every system can do: a node beside the others."""

from functools import partial
from pathlib import Path
from typing import Any

import yaml

from rl_edge_bringup.arguments import Argument, Values
from rl_edge_bringup.description import NodeDescription
from rl_edge_bringup.qos_profiles import load_qos
from rl_edge_bringup.rosbag2 import (
    AUTO,
    RECORDERS,
    ROSBAG2,
    ROSBAG2_NODE,
    choose_recorder,
    record_command,
    subscription_qos,
)
from rl_edge_core.files import write_atomically
from rl_edge_core.recording import free_folder, select_topics

BAG_FOLDER = 'bag'
RECORDER_NODE = 'recorder'
QOS_FILE = 'recorder_qos.yaml'
RECORD_ARGUMENTS = (
    Argument('record', False, 'record a bag into the folder bag of the output folder'),
    Argument(
        'record_topics',
        'default',
        'default (what an evaluation needs), all, or topic names separated by commas',
    ),
    Argument('record_storage', 'mcap', 'file format of the bag', choices=('mcap', 'sqlite3')),
    Argument(
        'recorder',
        AUTO,
        'ros2 bag record or the recorder of rl_edge; auto takes the first where it is installed',
        choices=RECORDERS,
    ),
)


def transition_recorders(values: Values) -> tuple[str, ...]:
    """Return the names of the nodes that record the transitions of the robot in ``namespace``.

    Raise ConfigurationError for topics that are none.
    """
    namespace = str(values['namespace'])
    topics = select_topics(str(values['record_topics']), [namespace])
    if not (values['record'] and topics.wants(f'/{namespace}/transition')):
        return ()
    recorder = choose_recorder(str(values['recorder']), str(values['record_storage']))
    return (ROSBAG2_NODE if recorder == ROSBAG2 else RECORDER_NODE,)


def recorder_nodes(values: Values) -> tuple[NodeDescription, ...]:
    """Return the recorder where ``record`` is true; the others wait until it has begun.

    A bag is never overwritten: where there is one already, and when the recorder is started again,
    it writes into the folders bag_2, bag_3, ... What rosbag2 asks of the publishers is written
    into the output folder.

    Raise ConfigurationError when the recorder that is asked for is not installed.
    """
    if not values.get('record'):
        return ()
    bag = Path(str(values['output'])) / BAG_FOLDER
    free = free_folder(bag)
    recorder = partial(
        NodeDescription,
        name=RECORDER_NODE,
        namespace=str(values['namespace']),
        ready_file=f'{free}/{free.name}_0.*',
    )
    storage = str(values['record_storage'])
    if choose_recorder(str(values['recorder']), storage) == ROSBAG2:
        command = _rosbag2_command(values, storage, bag)
        return (recorder(package='ros2bag', executable='record', command=command),)
    return (
        recorder(
            package='rl_edge_eval',
            executable='recorder_node',
            parameter_file='recorder.yaml',
            parameters=_parameters(values, bag),
        ),
    )


def _rosbag2_command(values: Values, storage: str, bag: Path) -> tuple[str, ...]:
    robots = str(values.get('robot_namespaces', '')) or str(values['namespace'])
    namespaces = robots.replace(',', ' ').split()
    topics = select_topics(str(values['record_topics']), namespaces)
    profiles = subscription_qos(topics, namespaces, load_qos(str(values['qos'])))
    qos_file = bag.with_name(QOS_FILE)
    write_atomically(qos_file, yaml.safe_dump(profiles, sort_keys=False))
    return record_command(topics, storage=storage, bag=str(bag), qos_file=str(qos_file))


def _parameters(values: Values, bag: Path) -> dict[str, Any]:
    return {
        'output': str(bag),
        'if_exists': 'number',
        'storage': values['record_storage'],
        'record_topics': values['record_topics'],
        'namespaces': values.get('robot_namespaces', ''),
    }
