"""Recording, which every system can do: a node beside the others."""

from pathlib import Path

from rl_edge_bringup.arguments import Argument, Values
from rl_edge_bringup.description import NodeDescription
from rl_edge_bringup.rosbag2 import AUTO, RECORDERS, ROSBAG2, choose_recorder, record_command
from rl_edge_eval.recording.bag_folder import free_folder
from rl_edge_eval.recording.topic_selection import TopicSelection, select_topics

BAG_FOLDER = 'bag'
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


def records_transitions(values: Values) -> bool:
    """Return whether the transitions of the robot in ``namespace`` go into a bag.

    Raise ConfigurationError for topics that are none.
    """
    namespace = str(values['namespace'])
    topics = select_topics(str(values['record_topics']), [namespace])
    return bool(values['record']) and topics.wants(f'/{namespace}/transition')


def _topics(values: Values) -> TopicSelection:
    robots = str(values.get('robot_namespaces', '')) or str(values['namespace'])
    return select_topics(str(values['record_topics']), robots.replace(',', ' ').split())


def recorder_nodes(values: Values) -> tuple[NodeDescription, ...]:
    """Return the recorder where ``record`` is true; the others wait until it has begun.

    A bag is never overwritten: where there is one already, and when the recorder is started again,
    it writes into the folders bag_2, bag_3, ...

    Raise ConfigurationError when the recorder that is asked for is not installed.
    """
    if not values.get('record'):
        return ()
    bag = Path(str(values['output'])) / BAG_FOLDER
    free = free_folder(bag)
    ready_file = f'{free}/{free.name}_0.*'
    storage = str(values['record_storage'])
    if choose_recorder(str(values['recorder']), storage) == ROSBAG2:
        return (_rosbag2(values, bag, ready_file),)
    return (_recorder_node(values, bag, ready_file),)


def _rosbag2(values: Values, bag: Path, ready_file: str) -> NodeDescription:
    return NodeDescription(
        package='ros2bag',
        executable='record',
        name='recorder',
        namespace=str(values['namespace']),
        command=record_command(
            _topics(values), storage=str(values['record_storage']), bag=str(bag)
        ),
        ready_file=ready_file,
    )


def _recorder_node(values: Values, bag: Path, ready_file: str) -> NodeDescription:
    return NodeDescription(
        package='rl_edge_eval',
        executable='recorder_node',
        name='recorder',
        namespace=str(values['namespace']),
        parameter_file='recorder.yaml',
        parameters={
            'output': str(bag),
            'if_exists': 'number',
            'storage': values['record_storage'],
            'record_topics': values['record_topics'],
            'namespaces': values.get('robot_namespaces', ''),
        },
        ready_file=ready_file,
    )
