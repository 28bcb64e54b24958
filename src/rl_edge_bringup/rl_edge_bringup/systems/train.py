"""Robots that act and explore, and the node that learns from what they send."""

from dataclasses import replace

from rl_edge_bringup.arguments import Argument, Values
from rl_edge_bringup.description import NodeDescription, SystemDescription
from rl_edge_bringup.namespaces import checked_namespace
from rl_edge_bringup.systems.common import (
    POLICY_ARGUMENTS,
    RUN_ARGUMENTS,
    SIM_ARGUMENTS,
    policy_node,
    sim_node,
)

TRAIN_NODE = 'train'
TRAIN_ARGUMENTS = (
    Argument('preset', 'sac', 'preset of rl_edge_train, or the path of a YAML file like one'),
    Argument('training_seed', 0, 'seed of networks and replay', minimum=0),
    Argument(
        'robot_namespaces',
        '',
        'namespaces of the robots to learn from, separated by commas; empty for namespace alone',
    ),
    Argument('resume', True, 'go on from the newest checkpoint in the output folder, if any'),
    Argument('export_period_sec', 10.0, 'time between policies sent to the robots', minimum=0.1),
    Argument('checkpoint_period_sec', 300.0, 'time between checkpoints', minimum=1.0),
)


def train_node(values: Values, robots: list[str]) -> NodeDescription:
    """Return the node that learns; it lives in the run's namespace, the robots in their own."""
    return NodeDescription(
        package='rl_edge_train',
        executable='train_node',
        name=TRAIN_NODE,
        namespace=str(values['namespace']),
        parameter_file='train_node.yaml',
        parameters={
            'robots': [f'/{robot}' for robot in robots],
            'preset': values['preset'],
            'seed': values['training_seed'],
            'output': f'{values["output"]}/training',
            'resume': values['resume'],
            'export_period_sec': values['export_period_sec'],
            'checkpoint_period_sec': values['checkpoint_period_sec'],
        },
    )


def _nodes(values: Values) -> tuple[NodeDescription, ...]:
    names = str(values['robot_namespaces']) or str(values['namespace'])
    robots = [checked_namespace(name.strip()) for name in names.split(',')]
    of_robots = [
        node
        for index, robot in enumerate(robots)
        for node in _robot_nodes({**values, 'namespace': robot}, index=index)
    ]
    return (*of_robots, train_node(values, robots))


def _robot_nodes(values: Values, *, index: int) -> tuple[NodeDescription, ...]:
    # Robots that explore alike teach less: each has seeds of its own, far from the others'.
    seeds = {
        'seed': int(values['seed']) + 1_000_000 * index,
        'exploration_seed': int(values['exploration_seed']) + index,
    }
    return sim_node({**values, **seeds}, learners=(TRAIN_NODE,)), policy_node({**values, **seeds})


# Robots wait for the trainer to be ready, however long it compiles.
_DEFAULTS = {'exploration': 'stochastic', 'on_policy_timeout': 'wait'}


def _of_training(argument: Argument) -> Argument:
    if argument.name == 'configuration':
        return replace(
            argument,
            default='uncompressed',
            description='the full Keras actor-critic alone can explore',
            choices=('uncompressed',),
        )
    return replace(argument, default=_DEFAULTS.get(argument.name, argument.default))


TRAIN = SystemDescription(
    name='train',
    description='robots that act and explore, and a node that learns from them',
    arguments=(
        *TRAIN_ARGUMENTS,
        *map(_of_training, (*POLICY_ARGUMENTS, *SIM_ARGUMENTS)),
        *RUN_ARGUMENTS,
    ),
    nodes=_nodes,
)
