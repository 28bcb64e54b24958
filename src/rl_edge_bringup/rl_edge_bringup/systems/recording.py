"""Recording, which every system can do: a node beside the others."""

from rl_edge_bringup.arguments import Argument, Values
from rl_edge_bringup.description import NodeDescription
from rl_edge_eval.recording.topic_selection import select_topics

BAG_FOLDER = 'bag'
RECORD_ARGUMENTS = (
    Argument('record', False, 'record a bag into the folder bag of the output folder'),
    Argument(
        'record_topics',
        'default',
        'default (what an evaluation needs), all, or topic names separated by commas',
    ),
    Argument('record_storage', 'mcap', 'file format of the bag', choices=('mcap', 'sqlite3')),
)


def records_transitions(values: Values) -> bool:
    """Return whether the transitions of the robot in ``namespace`` go into a bag.

    Raise ConfigurationError for topics that are none.
    """
    namespace = str(values['namespace'])
    topics = select_topics(str(values['record_topics']), [namespace])
    return bool(values['record']) and topics.wants(f'/{namespace}/transition')


def recorder_nodes(values: Values) -> tuple[NodeDescription, ...]:
    """Return the recorder where ``record`` is true; the others wait until it has subscribed."""
    if not values['record']:
        return ()
    bag = f'{values["output"]}/{BAG_FOLDER}'
    return (
        NodeDescription(
            package='rl_edge_eval',
            executable='recorder_node',
            name='recorder',
            namespace=str(values['namespace']),
            parameter_file='recorder.yaml',
            parameters={
                'output': bag,
                'storage': values['record_storage'],
                'record_topics': values['record_topics'],
                'namespaces': values.get('robot_namespaces', ''),
            },
            ready_file=f'{bag}/{BAG_FOLDER}_0.*',
        ),
    )
