"""What this package adds to the command ``rl_edge``: the policy node as a device runs it."""

import os
from collections.abc import Sequence

from rl_edge_core.command import Command
from rl_edge_core.errors import ConfigurationError

_USAGE = """usage: {prog} policy MODEL [ROS ARGUMENTS]

Start the policy node, e.g. with -p recipe:=int8. MODEL is an artifact folder, a model file in
one, or a name under models/. RL_EDGE_NAMESPACE names the robot (ant0 by default); ROS_DOMAIN_ID,
ROS_STATIC_PEERS and ROS_AUTOMATIC_DISCOVERY_RANGE say, as for every ROS 2 program, who finds
it."""

COMMANDS = (
    Command(
        name='policy',
        group='run',
        help='the policy node alone, without checks, as a service runs it',
        run='rl_edge_policy.commands:run_policy',
        example='models/ant_v5/best -p recipe:=int8',
    ),
    Command(
        name='sign',
        group='shrink',
        help='sign the model files of an artifact with an Ed25519 key',
        run='rl_edge_policy.sign_command:main',
        example='key.pem models/ant_v5/best',
    ),
    Command(
        name='health',
        group='look',
        help='exit code 0 when the policy of a robot answers, else 1 and the reason',
        run='rl_edge_policy.ros.health_command:main',
        example='5',
    ),
    Command(
        name='measure',
        group='prove',
        help='measure a policy on this machine; prints a row of docs/deployment.md',
        run='rl_edge_policy.ros.measure_command:main',
        example='models/ant_v5/best int8',
    ),
)


def robot_namespace() -> str:
    """Return the namespace that RL_EDGE_NAMESPACE names, with the leading slash."""
    return '/' + os.environ.get('RL_EDGE_NAMESPACE', 'ant0').removeprefix('/')


def run_policy(words: Sequence[str], prog: str) -> int:
    """Run the policy node with a model and ROS arguments; return the exit code."""
    from rl_edge_core.model_files import named_model, shipped_models_hint
    from rl_edge_core.ros.node_main import (
        run_node_process,  # `rl_edge --help` needs `COMMANDS` alone
    )
    from rl_edge_policy.policy_parameters import PolicyParameters

    if not words or words[0] in ('-h', '--help'):
        print(_USAGE.format(prog=prog))
        return 0 if words else 2
    model, *more = words
    path = named_model(model)
    if not path.exists():
        raise ConfigurationError(f'there is no model {model}{shipped_models_hint(model)}')
    of_ros = ['--ros-args', '-r', f'__ns:={robot_namespace()}', '-r', '__node:=policy']
    of_ros += ['-p', f'model:={path}', *(word for word in more if word != '--ros-args')]
    make_node = 'rl_edge_policy.policy_node:make_policy_node'
    return run_node_process(make_node, PolicyParameters, words=of_ros)
