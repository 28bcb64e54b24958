"""The parameters of the robot node. Imports nothing heavy: launch files and help read them."""

from dataclasses import dataclass

from rl_edge_core.parameters import parameter
from rl_edge_core.shared_parameters import LoopParameters


@dataclass(frozen=True)
class RobotParameters(LoopParameters):
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
    reset_service: str = parameter(
        '',
        'Service (rl_edge_interfaces/Reset) that resets the robot before each episode, '
        'e.g. sim/reset of a simulated one; empty for none.',
    )
    seed: int = parameter(
        0, 'Seed of the first episode for reset_service; each further one has the next.', minimum=0
    )
    on_policy_timeout: str = parameter(
        'wait',
        'When no policy answers the first observation: end with an error, or wait for it.',
        choices=('fail', 'wait'),
    )

    def check(self) -> None:
        """Raise what the node would raise for description and model, before it is started."""
        from rl_edge_robot.description import read_description  # launch files of others need none

        read_description(self.description, self.model)


def main() -> int:
    """Run the robot node until it is told to end; return the exit code."""
    from rl_edge_core.ros.node_main import run_node_process  # launch files need no more than above

    return run_node_process('rl_edge_robot.robot_node:RobotNode', RobotParameters)
