"""What this package adds to the command ``rl_edge``."""

import shutil

from rl_edge_core.command import Command

_RUN = 'rl_edge_bringup.command_line:run_system'
_EXAMPLES = {
    'sim': 'configuration:=compressed episodes:=3',
    'edge': 'model:=models/ant_v5/best namespace:=ant0',
    'desktop': 'mode:=realtime namespace:=ant0',
    'robot': 'description:=ant_v5 model:=models/ant_v5/best namespace:=ant0',
    'train': 'preset:=sac environment_id:=Ant-v5 output_folder:=runs/online',
    'record': 'namespace:=ant0 output_folder:=mybag',
    'monitor': 'namespace:=ant0',
}
_HELP = {
    'sim': 'the closed loop on one machine: simulator and policy',
    'edge': 'the policy alone, for the edge device',
    'desktop': 'everything but the policy, which edge runs on another computer',
    'robot': 'a policy on a robot behind standard topics (docs/robots.md)',
    'train': 'robots that act and explore over ROS 2, and a node that learns from them',
    'record': 'a bag of one or more robots that run, until Ctrl-C',
    'monitor': 'rqt with plots of CPU, memory and latency of a robot that runs',
}

_NODES = {
    'sim': ('sim_node', 'policy_node'),
    'edge': ('policy_node',),
    'desktop': ('sim_node',),
    'robot': ('robot_node', 'policy_node'),
    'train': ('train_node', 'sim_node', 'policy_node'),
    'record': () if shutil.which('ros2') else ('recorder_node',),
    'monitor': (),
}

COMMANDS = (
    *(
        Command(
            name=name,
            group='look' if name == 'record' else 'run',
            help=_HELP[name],
            run=_RUN,
            words=(name,),
            example=example,
            starts_nodes=True,
            nodes=_NODES[name],
        )
        for name, example in _EXAMPLES.items()
    ),
    Command(
        name='security',
        group='run',
        help="keys and signed permissions for a robot's nodes, made with sros2",
        run='rl_edge_bringup.security:main',
        example='ant0 --keystore ~/rl_edge_keys',
    ),
)
