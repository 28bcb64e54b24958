"""The parameters of the robot node. Imports nothing heavy: launch files and help read them."""

from dataclasses import dataclass

from rl_edge_core.parameters import parameter

ON_POLICY_TIMEOUT = ('fail', 'wait')


@dataclass(frozen=True)
class RobotParameters:
    """What the robot node is told."""

    description: str = parameter(
        '', 'Robot description: a YAML file, or the name of one that is shipped, e.g. ant_v5.'
    )
    model: str = parameter(
        '', 'Artifact that the description is compared with at the start; empty for none.'
    )
    dry_run: bool = parameter(
        False, 'Compute commands and publish them on command_preview; send the robot none.'
    )
    episodes: int = parameter(
        0, 'Episodes after which the node, and with it the run, ends; 0 for no end.', minimum=0
    )
    on_policy_timeout: str = parameter(
        'wait',
        'When no policy answers the first observation: end with an error, or wait for it.',
        choices=ON_POLICY_TIMEOUT,
    )
    policy_timeout_sec: float = parameter(
        10.0, 'From when on an unanswered observation makes the policy silent.', minimum=0.01
    )
    first_action_timeout_sec: float = parameter(
        60.0, 'The same from the start of the node to the first action.', unit='s', minimum=0.01
    )
    transition_subscribers: str = parameter(
        '', 'Nodes that receive transition before the run begins, e.g. recorder.'
    )
    republish_period_sec: float = parameter(
        0.5, 'After which an unanswered observation is published again.', unit='s', minimum=0.01
    )
    action_max_age_sec: float = parameter(
        0.2,
        'For how long an action is held before the safe command stands in.',
        unit='s',
        minimum=0.0,
    )


def main() -> int:
    """Run the robot node until it is told to end; return the exit code."""
    from rl_edge_core.ros.node_main import run_node_process  # launch files need no more than above

    return run_node_process('rl_edge_robot.robot_node:RobotNode', RobotParameters)
