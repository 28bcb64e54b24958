"""The parameters of the sim node. Imports nothing heavy: launch files and help read them."""

from dataclasses import dataclass

from rl_edge_core.parameters import parameter
from rl_edge_core.shared_parameters import LoopParameters

MODES = ('lockstep', 'realtime')
INTERFACES = ('native', 'standard')
RENDERINGS = ('none', 'window', 'topic')
REWARD_SHAPINGS = ('none', 'study')


@dataclass(frozen=True)
class SimParameters(LoopParameters):
    """What the sim node is told."""

    environment_id: str = parameter(
        'Ant-v5', 'Gymnasium environment with continuous actions, e.g. InvertedPendulum-v5.'
    )
    environment_arguments: str = parameter(
        '', 'Arguments of the environment as a YAML mapping, e.g. {max_episode_steps: 200}.'
    )
    reward_shaping: str = parameter(
        'none',
        "The environment's own reward, or with the study's shaping.",
        choices=REWARD_SHAPINGS,
    )
    interface: str = parameter(
        'native',
        'Topics of rl_edge, or standard: a robot with JointState, Imu, Odometry and commands.',
        choices=INTERFACES,
    )
    mode: str = parameter(
        'lockstep',
        'lockstep: a step waits for the action that answers it; realtime: on the steady clock.',
        choices=MODES,
    )
    real_time_factor: float = parameter(
        1.0,
        'Simulated over real time in mode realtime; 1 is 20 Hz for Ant-v5.',
        minimum=0.001,
        maximum=1000.0,
    )
    seed: int = parameter(
        0, 'Seed of the first episode; each further one has the next.', minimum=0
    )
    render: str = parameter(
        'none', 'Nothing, a window, or sensor_msgs/Image on the topic image.', choices=RENDERINGS
    )
    render_rate_hz: float = parameter(
        20.0, 'Pictures per second at most.', unit='Hz', minimum=0.1, maximum=240
    )
    render_width: int = parameter(
        480, 'Width of the pictures.', unit='pixels', minimum=16, maximum=4096
    )
    render_height: int = parameter(
        480, 'Height of the pictures.', unit='pixels', minimum=16, maximum=4096
    )
    joint_states_rate_hz: float = parameter(
        20.0, 'Joint states per second at most; 0 for none.', unit='Hz', minimum=0.0, maximum=1000
    )
    publish_clock: bool = parameter(
        False, 'Publish simulated time on /clock; for one sim of a graph alone.'
    )


def main() -> int:
    """Run the sim node until it is told to end; return the exit code."""
    from rl_edge_core.ros.node_main import run_node_process  # launch files need no more than above

    return run_node_process('rl_edge_sim.sim_node:SimNode', SimParameters)
