"""Arguments and nodes that more than one system has."""

from collections.abc import Sequence

from rl_edge_bringup.arguments import Argument, Values
from rl_edge_bringup.description import NodeDescription
from rl_edge_bringup.models import (
    AUTO,
    CONFIGURATIONS,
    DEFAULT_ENVIRONMENT,
    DEFAULT_MODEL,
    RUNTIMES,
    UNTRAINED,
)
from rl_edge_bringup.node_exit import RESPAWN, SHUTDOWN
from rl_edge_bringup.systems.recording import RECORD_ARGUMENTS, transition_recorders

RUN_ARGUMENTS = (
    Argument('namespace', 'ant0', 'namespace of the robot: all its topics and nodes are in it'),
    Argument(
        'on_node_exit',
        SHUTDOWN,
        'when a node dies: end the run with its name and exit code, or start the node again',
        choices=(SHUTDOWN, RESPAWN),
    ),
    Argument(
        'qos',
        'default',
        'QoS of the topics: default, wired, lossy, or a file of the form of config/qos_lossy.yaml',
    ),
    Argument(
        'output',
        '',
        'folder for the resolved configuration; empty for a new one beside the ROS 2 logs',
    ),
    Argument(
        'log_level',
        'info',
        'least severe messages that the nodes log',
        choices=('debug', 'info', 'warn', 'error', 'fatal'),
    ),
    *RECORD_ARGUMENTS,
)

POLICY_ARGUMENTS = (
    Argument(
        'configuration',
        'compressed',
        'the TFLite actor alone, or the full Keras actor-critic it was made from',
        choices=CONFIGURATIONS,
    ),
    Argument(
        'model',
        '',
        f'artifact folder, model file in one, or name under models/; empty for {DEFAULT_MODEL}, '
        f'{UNTRAINED} for random weights',
    ),
    Argument(
        'recipe', '', 'compressed file of the artifact, e.g. int8; empty for its preferred one'
    ),
    Argument(
        'runtime',
        AUTO,
        'what loads the model; auto takes the first of the file that is installed',
        choices=RUNTIMES,
    ),
    Argument('threads', 1, 'threads that compute an action', minimum=1),
    Argument(
        'exploration',
        'none',
        'act as the policy is, or sample from its distribution (uncompressed alone)',
        choices=('none', 'stochastic'),
    ),
    Argument('exploration_seed', 0, 'seed of what is sampled', minimum=0),
)
_NOT_OF_THE_NODE = ('configuration',)

SIM_ARGUMENTS = (
    Argument(
        'environment_id',
        DEFAULT_ENVIRONMENT,
        'Gymnasium environment with continuous actions, e.g. InvertedPendulum-v5',
    ),
    Argument(
        'environment_arguments',
        '',
        'arguments of the environment as a YAML mapping, e.g. {max_episode_steps: 200}',
    ),
    Argument(
        'mode',
        'lockstep',
        'lockstep: a step waits for the action that answers it; realtime: on the steady clock',
        choices=('lockstep', 'realtime'),
    ),
    Argument('episodes', 0, 'episodes to run before the run ends; 0 for no end', minimum=0),
    Argument('seed', 0, 'seed of the first episode; each further one has the next', minimum=0),
    Argument(
        'render',
        'none',
        'nothing, a window, or sensor_msgs/Image on the topic image',
        choices=('none', 'window', 'topic'),
    ),
    Argument('render_rate_hz', 20.0, 'pictures a second at most', minimum=0.1),
    Argument('render_width', 480, 'of the pictures, in pixels', minimum=16),
    Argument('render_height', 480, 'of the pictures, in pixels', minimum=16),
    Argument(
        'reward_shaping',
        'none',
        "the environment's own reward, or with the study's shaping",
        choices=('none', 'study'),
    ),
    Argument(
        'real_time_factor',
        1.0,
        'simulated over real time in realtime mode; 1 is 20 Hz for Ant-v5',
        minimum=0.001,
    ),
    Argument(
        'on_policy_timeout',
        'fail',
        'when the policy is silent in lockstep: end the run, or wait for it',
        choices=('fail', 'wait'),
    ),
    Argument(
        'policy_timeout_sec',
        10.0,
        'from when on an unanswered observation makes the policy silent, in lockstep',
        minimum=0.01,
    ),
    Argument(
        'first_action_timeout_sec',
        60.0,
        'the same from the start of the sim to the first action, which Keras takes seconds for',
        minimum=0.01,
    ),
    Argument(
        'action_max_age_sec',
        0.2,
        'for how long an action is held in realtime before the safe action stands in',
        minimum=0.0,
    ),
    Argument(
        'publish_clock', False, 'publish simulation time on /clock; for one sim of a graph only'
    ),
)


def policy_node(values: Values) -> NodeDescription:
    """Return the node that answers observations with actions."""
    return NodeDescription(
        package='rl_edge_policy',
        executable='policy_node',
        name='policy',
        namespace=str(values['namespace']),
        parameter_file='policy.yaml',
        parameters={
            argument.name: values[argument.name]
            for argument in POLICY_ARGUMENTS
            if argument.name not in _NOT_OF_THE_NODE
        },
    )


def sim_node(values: Values, *, learners: Sequence[str] = ()) -> NodeDescription:
    """Return the node that simulates; the run is over when it has finished its episodes.

    It begins when ``learners`` and the recorder, where there is one, receive transitions.
    """
    return NodeDescription(
        package='rl_edge_sim',
        executable='sim_node',
        name='sim',
        namespace=str(values['namespace']),
        parameter_file='sim_node.yaml',
        parameters={
            **{argument.name: values[argument.name] for argument in SIM_ARGUMENTS},
            'transition_subscribers': ', '.join((*learners, *transition_recorders(values))),
        },
        ends_run=True,
    )
