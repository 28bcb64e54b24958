"""The parameters of the sim node."""

from dataclasses import dataclass

from rl_edge_core.ros.parameters import parameter
from rl_edge_sim.environment import REWARD_SHAPINGS
from rl_edge_sim.rendering import RENDERINGS

MODES = ('lockstep', 'realtime')
ON_POLICY_TIMEOUT = ('fail', 'wait')


@dataclass(frozen=True)
class SimParameters:
    """What the sim node is told; descriptions are those that ``ros2 param describe`` shows."""

    environment_id: str = parameter('Ant-v5', 'Gymnasium id of an environment.')
    environment_arguments: str = parameter(
        '', 'Arguments of the environment as a YAML mapping, e.g. {max_episode_steps: 200}.'
    )
    reward_shaping: str = parameter(
        'none', "Terms added to the environment's reward.", choices=REWARD_SHAPINGS
    )
    mode: str = parameter(
        'lockstep', 'A step waits for its action, or comes with the clock.', choices=MODES
    )
    real_time_factor: float = parameter(
        1.0, 'Simulated s in a s of real time, in mode realtime.', minimum=0.001, maximum=1000.0
    )
    episodes: int = parameter(0, 'Episodes after which the node ends; 0 for none.', minimum=0)
    seed: int = parameter(0, 'Episode k is reset with seed + k.', minimum=0)
    on_policy_timeout: str = parameter(
        'fail',
        'What a silent policy leads to in lockstep: fail ends the node with an error.',
        choices=ON_POLICY_TIMEOUT,
    )
    policy_timeout_sec: float = parameter(
        10.0, 'From when on an unanswered observation makes the policy silent.', minimum=0.01
    )
    first_action_timeout_sec: float = parameter(
        60.0, 'The same from the start of the node to the first action.', minimum=0.01
    )
    transition_subscribers: str = parameter(
        '', 'Nodes that receive transition before the run begins, e.g. recorder, train.'
    )
    republish_period_sec: float = parameter(
        0.5, 'After which an unanswered observation is published again.', minimum=0.01
    )
    action_max_age_sec: float = parameter(
        0.2, 'For how long an action is held in mode realtime.', minimum=0.0
    )
    render: str = parameter(
        'none', 'Show the simulation in a window or as images on a topic.', choices=RENDERINGS
    )
    render_rate_hz: float = parameter(20.0, 'Pictures a second at most.', minimum=0.1, maximum=240)
    render_width: int = parameter(480, 'Of the pictures, in pixels.', minimum=16, maximum=4096)
    render_height: int = parameter(480, 'Of the pictures, in pixels.', minimum=16, maximum=4096)
    joint_states_rate_hz: float = parameter(
        20.0, 'Joint states a second at most; 0 for none.', minimum=0.0, maximum=1000.0
    )
    publish_clock: bool = parameter(
        False, 'Publish simulated time on /clock; one node in a graph may.'
    )

    @property
    def awaited_subscribers(self) -> tuple[str, ...]:
        """Return the names in `transition_subscribers`."""
        return tuple(self.transition_subscribers.replace(',', ' ').split())
