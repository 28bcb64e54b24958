"""The parameters of the train node. Imports nothing heavy: launch files and help read them."""

from dataclasses import dataclass
from pathlib import Path

from rl_edge_core.errors import ConfigurationError
from rl_edge_core.parameters import parameter


@dataclass(frozen=True)
class TrainParameters:
    """What the train node is told."""

    robots: tuple[str, ...] = parameter(('ant0',), 'Namespaces of the robots to learn from.')
    policy_node: str = parameter('policy', 'Name of the policy node in each namespace.')
    sim_node: str = parameter('sim', 'Name of the sim node in each namespace.')
    preset: str = parameter('sac', 'Preset of rl_edge_train, or path of a YAML file like one.')
    seed: int = parameter(0, 'Seed of networks, replay and exploration.', minimum=0)
    output: str = parameter('', 'Folder for checkpoints, replay and policy; empty for a new one.')
    resume: bool = parameter(
        True,
        'Go on from the newest checkpoint in the output folder, or start where there is none; '
        'false refuses a folder with checkpoints.',
    )
    most_updates_behind: int = parameter(
        500,
        'Updates owed from which on the sims are paused until half of them are made; 0: never.',
        minimum=0,
    )
    export_period_sec: float = parameter(
        10.0, 'Time between policies sent to the robots.', unit='s', minimum=0.1
    )
    checkpoint_period_sec: float = parameter(
        300.0, 'Time between checkpoints.', unit='s', minimum=1.0
    )

    def check(self) -> None:
        """Raise ConfigurationError for what the node would refuse, before it is started."""
        from rl_edge_train import checkpoint  # load more than a launch file needs
        from rl_edge_train.run_config import load_preset

        load_preset(self.preset)
        if self.output and not self.resume and checkpoint.paths(Path(self.output, 'checkpoints')):
            raise ConfigurationError(
                f'{self.output} holds the checkpoints of an earlier run: set resume to go on with '
                f'it, or name another output folder'
            )


def main() -> int:
    """Run the train node until it is told to end; return the exit code."""
    from rl_edge_core.ros.node_main import run_node_process  # launch files need no more than above

    return run_node_process('rl_edge_train.train_node:make_train_node', TrainParameters)
