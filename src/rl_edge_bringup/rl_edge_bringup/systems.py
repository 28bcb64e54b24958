"""The systems, as data: which nodes run, and which arguments they are made from.

The arguments are the parameters of the nodes, read from the dataclass that each node's package
registers, so that a system needs no more packages than those of its own nodes.
"""

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rl_edge_core.errors import ConfigurationError, did_you_mean
from rl_edge_core.parameters import Setting, Values, node_parameters, settings_of
from rl_edge_core.shared_parameters import RecorderParameters

POLICY, SIM, TRAIN, RECORDER = 'policy_node', 'sim_node', 'train_node', 'recorder_node'
ROBOT = 'robot_node'
"""Executables."""
SHUTDOWN, RESPAWN, IGNORE = 'shutdown', 'respawn', 'ignore'
ON_NODE_EXIT = (SHUTDOWN, RESPAWN, IGNORE)
MOST_RESTARTS = 5
"""Of a node in a row, with `RESPAWN`."""
READY_PERIOD_SEC = 0.05
"""How often a ready file is looked for."""
COMPRESSED, UNCOMPRESSED = CONFIGURATIONS = ('compressed', 'uncompressed')
DEFAULT_MODEL = 'ant_v5/best'
UNTRAINED = 'untrained'
"""``model:=untrained`` is an artifact of the study's shape with random weights, made on demand."""


@dataclass(frozen=True)
class NodeDescription:
    """One node, or another program beside the nodes, in a process of its own."""

    package: str
    executable: str
    name: str
    namespace: str
    """Without the leading slash, e.g. ``ant0``."""
    command: tuple[str, ...] = ()
    """Command line of a program that is not ours; empty for a node."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """What the arguments set."""
    ends_run: bool = False
    """True: the run is over when it, and all others like it, have ended with exit code 0."""
    ready_file: str = ''
    """Pattern of a file that the nodes after this one wait for; empty for none."""

    @property
    def full_name(self) -> str:
        """Return the name in the graph, e.g. ``/ant0/policy``."""
        return f'/{self.namespace}/{self.name}'


@dataclass(frozen=True)
class SystemDescription:
    """A named set of nodes and the arguments they are made from."""

    name: str
    description: str
    make_arguments: Callable[[], tuple[Setting, ...]]
    nodes: Callable[[Values], tuple[NodeDescription, ...]]
    """Makes the nodes from a checked value of each argument. Starts nothing."""
    executables: tuple[str, ...]
    """Of its nodes: where one of their packages is not installed, the system can't run."""
    example: str
    """What follows its name in an example that works."""
    needs: tuple[str, ...] = ()
    """ROS packages that are not ours and have to be installed."""
    programs: tuple[str, ...] = ()
    """What of them has to be on the PATH."""

    @property
    def arguments(self) -> tuple[Setting, ...]:
        """Return the arguments; raise ConfigurationError where a node is not installed."""
        return self.make_arguments()


def find_system(name: str) -> SystemDescription:
    """Return the system called ``name``; raise ConfigurationError that lists those there are."""
    for system in SYSTEMS:
        if system.name == name:
            return system
    names = [system.name for system in SYSTEMS]
    raise ConfigurationError(
        f'no system is called {name!r}{did_you_mean(name, names)}; there are {", ".join(names)}'
    )


def labels(nodes: Sequence[NodeDescription]) -> list[str]:
    """Return what to call each node: its name, with the namespace where several have that name."""
    names = [node.name for node in nodes]
    return [
        node.name if names.count(node.name) == 1 else f'{node.namespace}/{node.name}'
        for node in nodes
    ]


# Arguments -------------------------------------------------------------------------------------

RUN_ARGUMENTS = (
    Setting('namespace', 'ant0', 'Namespace of the robot: all its topics and nodes are in it.'),
    Setting(
        'on_node_exit',
        SHUTDOWN,
        'When a node exits: end the run with its name and exit code, start the node again, or go '
        'on without it.',
        choices=ON_NODE_EXIT,
    ),
    Setting(
        'qos',
        'default',
        'QoS of the topics: default, wired, lossy, or a file like config/qos_lossy.yaml.',
    ),
    Setting(
        'enclave',
        'off',
        'DDS Security (docs/security.md): off, on for /NAMESPACE/NODE, or one enclave for all.',
    ),
    Setting(
        'output_folder',
        '',
        'Folder for the resolved configuration; empty for a new one beside the ROS 2 logs.',
        alias='output',
    ),
    Setting(
        'log_level',
        'info',
        'Least severe messages that the nodes log.',
        choices=('debug', 'info', 'warn', 'error', 'fatal'),
    ),
)
_RECORD = Setting('record', False, 'Record a bag into the folder bag of the output folder.')
_OF_RECORDER = {
    'storage': 'record_storage',
    'record_topics': 'record_topics',
    **{name: name for name in ('max_file_size_mb', 'max_file_duration_sec', 'max_bag_size_mb')},
}
"""Parameters of the recorder that are arguments of systems, and their names there."""
_RECORDER = Setting(
    'recorder',
    'auto',
    'ros2 bag record or the recorder of rl_edge; auto takes the first where it is installed.',
    choices=('auto', 'rosbag2', 'rl_edge'),
)
RECORDING_ARGUMENTS = (_RECORD.name, *_OF_RECORDER.values(), _RECORDER.name)
_CONFIGURATION = Setting(
    'configuration',
    'compressed',
    'The TFLite actor alone, or the full Keras actor-critic it was made from.',
    choices=CONFIGURATIONS,
)
_ROBOTS = Setting(
    'robot_namespaces',
    '',
    'Namespaces of the robots to learn from, separated by commas; empty for namespace alone.',
)
_MODEL_TEXT = (
    f'Artifact folder, model file in one, or name under models/; empty for {DEFAULT_MODEL}, '
    f'{UNTRAINED} for random weights.'
)


def arguments_of(
    executable: str,
    *,
    without: Sequence[str] = (),
    renamed: Mapping[str, str] | None = None,
    changed: Mapping[str, Mapping[str, Any]] | None = None,
) -> tuple[Setting, ...]:
    """Return the parameters of a node as arguments of a system.

    ``without`` are those that the system itself sets; ``renamed`` gives others a name of the
    system's own; ``changed`` gives, by parameter, fields of `Setting` that differ here. Raise
    ConfigurationError when the node's package is not installed.
    """
    new_names, changes = renamed or {}, changed or {}
    return tuple(
        replace(
            setting,
            **{'name': new_names.get(setting.name, setting.name), **changes.get(setting.name, {})},
        )
        for setting in settings_of(node_parameters(executable))
        if setting.name not in without
    )


def policy_arguments(**changed: Mapping[str, Any]) -> tuple[Setting, ...]:
    """Return the arguments that the policy is made from; ``changed`` as for `arguments_of`."""
    changes = {'model': {'description': _MODEL_TEXT}, **changed}
    return (_CONFIGURATION, *arguments_of(POLICY, changed=changes))


def sim_arguments(**changed: Mapping[str, Any]) -> tuple[Setting, ...]:
    """Return the arguments that the simulator is made from."""
    return arguments_of(SIM, without=('transition_subscribers',), changed=changed)


def run_arguments() -> tuple[Setting, ...]:
    """Return the arguments that every system with nodes has: how to run, and what to record."""
    of_recorder = (
        replace(setting, name=_OF_RECORDER[setting.name])
        for setting in settings_of(RecorderParameters)
        if setting.name in _OF_RECORDER
    )
    return (*RUN_ARGUMENTS, _RECORD, *of_recorder, _RECORDER)


def _train_arguments() -> tuple[Setting, ...]:
    of_policy = {
        # Only the full model can explore, and robots wait for a trainer that compiles.
        'exploration': {'default': 'stochastic'},
        'load_model': {'default': 'archive'},  # the way of the trainer's policies
        'model': {
            'description': 'The first policy: as for sim; empty for the networks of the preset.'
        },
    }
    configuration, *rest = policy_arguments(**of_policy)
    return (
        *arguments_of(
            TRAIN,
            without=('robots', 'policy_node', 'sim_node', 'output'),
            renamed={'seed': 'training_seed'},
        ),
        _ROBOTS,
        replace(configuration, default='uncompressed', choices=('uncompressed',)),
        *rest,
        *sim_arguments(on_policy_timeout={'default': 'wait'}),
        *run_arguments(),
    )


# Nodes -----------------------------------------------------------------------------------------


def policy_node(values: Values) -> NodeDescription:
    """Return the node that answers observations with actions."""
    return _node(POLICY, values)


def sim_node(values: Values, *, learners: Sequence[str] = ()) -> NodeDescription:
    """Return the node that simulates; the run is over when it has finished its episodes.

    It begins when ``learners`` receive transitions.
    """
    return _node(SIM, values, ends_run=True, transition_subscribers=', '.join(learners))


def robot_node(values: Values) -> NodeDescription:
    """Return the node between a robot's standard topics and a policy; it ends the run."""
    return _node(ROBOT, values, ends_run=True, transition_subscribers='')


def robots_of(values: Values) -> list[str]:
    """Return the namespaces of the robots in a run."""
    names = str(values.get('robot_namespaces') or values['namespace'])
    return names.replace(',', ' ').split()


def _node(
    executable: str, values: Values, *, ends_run: bool = False, **parameters: Any
) -> NodeDescription:
    """Return a node of ours: its parameters are the arguments of the same names, and more."""
    names = [setting.name for setting in settings_of(node_parameters(executable))]
    name = executable.removesuffix('_node')
    return NodeDescription(
        package=f'rl_edge_{name}',
        executable=executable,
        name=name,
        namespace=str(values['namespace']),
        parameters={**{n: values[n] for n in names if n in values}, **parameters},
        ends_run=ends_run,
    )


def _training_nodes(values: Values) -> tuple[NodeDescription, ...]:
    robots = robots_of(values)
    nodes: list[NodeDescription] = []
    for index, robot in enumerate(robots):
        # Robots that explore alike teach less: each has seeds of its own, far from the others'.
        own = {
            **values,
            'namespace': robot,
            'seed': int(values['seed']) + 1_000_000 * index,
            'exploration_seed': int(values['exploration_seed']) + index,
        }
        nodes += [sim_node(own, learners=('train',)), policy_node(own)]
    trainer = _node(  # in the run's namespace, the robots in their own
        TRAIN,
        values,
        robots=[f'/{robot}' for robot in robots],
        seed=values['training_seed'],
        output=f'{values["output_folder"]}/training',
    )
    return (*nodes, trainer)


def _monitor_nodes(values: Values) -> tuple[NodeDescription, ...]:
    namespace, folder = str(values['namespace']), str(values['output_folder'])
    command = (sys.executable, '-m', 'rl_edge_bringup.monitor_process', namespace, folder)
    return (NodeDescription('rqt_gui', 'rqt', 'rqt', namespace, command, ends_run=True),)


SYSTEMS = (
    SystemDescription(
        name='sim',
        description='the closed loop on one machine: simulator and policy',
        make_arguments=lambda: (*policy_arguments(), *sim_arguments(), *run_arguments()),
        nodes=lambda values: (sim_node(values), policy_node(values)),
        executables=(SIM, POLICY),
        example='configuration:=compressed episodes:=3',
    ),
    SystemDescription(
        name='edge',
        description='the policy alone, for the edge device',
        make_arguments=lambda: (*policy_arguments(), *run_arguments()),
        nodes=lambda values: (policy_node(values),),
        executables=(POLICY,),
        example='model:=models/ant_v5/best namespace:=ant0',
    ),
    SystemDescription(
        name='desktop',
        description='everything but the policy, which edge runs on another computer',
        make_arguments=lambda: (*sim_arguments(), *run_arguments()),
        nodes=lambda values: (sim_node(values),),
        executables=(SIM,),
        example='mode:=realtime namespace:=ant0',
    ),
    SystemDescription(
        name='robot',
        description='a policy on a robot behind standard topics (docs/robots.md)',
        make_arguments=lambda: tuple(
            sorted(
                (
                    *arguments_of(ROBOT, without=('transition_subscribers', 'model')),
                    *policy_arguments(),
                    *run_arguments(),
                ),
                key=lambda setting: setting.name not in ('description', 'model'),  # first
            )
        ),
        nodes=lambda values: (robot_node(values), policy_node(values)),
        executables=(ROBOT, POLICY),
        example='description:=ant_v5 model:=models/ant_v5/best namespace:=ant0',
    ),
    SystemDescription(
        name='train',
        description='robots that act and explore over ROS 2, and a node that learns from them',
        make_arguments=_train_arguments,
        nodes=_training_nodes,
        executables=(TRAIN, SIM, POLICY),
        example='preset:=sac environment_id:=Ant-v5 output_folder:=runs/online',
    ),
    SystemDescription(
        name='record',
        description='a bag of one or more robots that run, until Ctrl-C',
        make_arguments=lambda: (
            replace(_ROBOTS, description=_ROBOTS.description.replace('learn from', 'record')),
            *(replace(s, default=True) if s is _RECORD else s for s in run_arguments()),
        ),
        nodes=lambda _: (),
        executables=() if shutil.which('ros2') else (RECORDER,),
        example='namespace:=ant0 output_folder:=mybag',
    ),
    SystemDescription(
        name='monitor',
        description='rqt with plots of CPU, memory and latency of a robot that runs',
        make_arguments=lambda: tuple(
            setting for setting in RUN_ARGUMENTS if setting.name in ('namespace', 'output_folder')
        ),
        nodes=_monitor_nodes,
        executables=(),
        example='namespace:=ant0',
        needs=('rqt_gui', 'rqt_plot'),
        programs=('rqt',),
    ),
)
