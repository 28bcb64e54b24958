"""What the sim node publishes: the `Outlet` of its loop."""

import time
from collections.abc import Callable
from typing import Any

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState

from rl_edge_core.episode_result import EpisodeResult
from rl_edge_core.ros import qos
from rl_edge_core.ros.conversions import to_environment
from rl_edge_interfaces.msg import Environment, EpisodeSummary, Observation, Transition
from rl_edge_sim.control_loop import Finished, Observed, Stepped
from rl_edge_sim.joint_states import joint_reader
from rl_edge_sim.mujoco_names import is_mujoco
from rl_edge_sim.ros.messages import fill_observation, fill_transition, set_stamp, to_summary
from rl_edge_sim.simulation import Simulation

_NANOSECONDS = 1_000_000_000
_EPISODE_LOG_PERIOD_SEC = 1.0
"""At most one line a second, however short the episodes are."""


class Throttle:
    """Say, by the steady clock, when something may happen again."""

    def __init__(self, rate_hz: float) -> None:
        """Allow ``rate_hz`` times a second, on average at most; 0 for never."""
        self._period_ns = round(_NANOSECONDS / rate_hz) if rate_hz else 0
        self._tolerance_ns = self._period_ns // 4
        self._next_ns = 0

    def is_due(self) -> bool:
        """Return whether it may happen now, and count that as happening.

        It may come a quarter of a period early, else what is asked for at the very rate that is
        allowed would be refused whenever it jitters; the next time is then no earlier for it.
        """
        now_ns = time.monotonic_ns()
        if not self._period_ns or now_ns < self._next_ns - self._tolerance_ns:
            return False
        is_on_schedule = now_ns - self._next_ns < self._period_ns
        self._next_ns = (self._next_ns if is_on_schedule else now_ns) + self._period_ns
        return True


class Publications:
    """Publish what a loop produces. Messages of each step are made once and filled again."""

    def __init__(
        self,
        node: Node,
        simulation: Simulation,
        *,
        run_id: int,
        joint_states_rate_hz: float,
        publish_clock: bool,
        restart_ticks: Callable[[], None],
        finish: Callable[[int], None],
        after_step: Callable[[int], None],
    ) -> None:
        """Create the publishers.

        ``after_step`` is called at the end of each step and reset with the simulated time, in ns.
        """
        self._node, self._simulation, self._run_id = node, simulation, run_id
        self.restart_ticks, self.finish = restart_ticks, finish
        self._after_step = after_step
        self._environment = _publisher(node, Environment, 'environment', qos.environment())
        self.observation = _publisher(node, Observation, 'observation', qos.observation())
        self.transition = _publisher(node, Transition, 'transition', qos.transition())
        self._episode = _publisher(node, EpisodeSummary, 'episode', qos.episode())
        self._observation_message = Observation(run_id=run_id)
        self._transition_message = Transition(run_id=run_id)
        self._clock = None
        if publish_clock:
            self._clock, self._clock_message = node.create_publisher(Clock, '/clock', 10), Clock()
        self._joint_states = None
        if joint_states_rate_hz and is_mujoco(simulation.env):
            self._joint_states = _publisher(node, JointState, 'joint_states', qos.joint_states())
            self._joints = joint_reader(simulation.env)
            self._joint_states_throttle = Throttle(joint_states_rate_hz)
            self._joint_state_message = JointState(name=list(self._joints.names))

    def publish_environment(self, mode: str) -> None:
        """Publish, once and latched, what is simulated."""
        simulation = self._simulation
        self._environment.publish(
            to_environment(
                simulation.spec,
                run_id=self._run_id,
                reward_term_names=simulation.term_names,
                mode=mode,
            )
        )

    def publish_observation(self, observed: Observed) -> None:
        """Publish an observation; the first of an episode is not followed by a step."""
        fill_observation(self._observation_message, observed)
        self.observation.publish(self._observation_message)
        if not observed.step:
            self._publish_slow_ones(observed.time_ns)

    def publish_step(self, stepped: Stepped) -> None:
        """Publish a transition and what goes with the time that it led to."""
        # Filling and serializing it for nobody would cost as much as the observation.
        if self.transition.get_subscription_count():
            fill_transition(self._transition_message, stepped)
            self.transition.publish(self._transition_message)
        self._publish_slow_ones(stepped.time_ns)

    def publish_episode(self, finished: Finished) -> None:
        """Publish the summary of an episode."""
        self._episode.publish(
            to_summary(
                finished, run_id=self._run_id, reward_term_names=self._simulation.term_names
            )
        )
        result = finished.result
        self._node.get_logger().info(
            f'episode {finished.episode} (seed {result.seed}): return '
            f'{result.episode_return:.1f}, {result.length} steps, {result.forward_distance:.2f} m '
            f'forward, ended by {_words(result)}',
            throttle_duration_sec=_EPISODE_LOG_PERIOD_SEC,
        )

    def flush(self, timeout_sec: float) -> bool:
        """Wait until subscribers have acknowledged what was published; False when they did not."""
        end = time.monotonic() + timeout_sec
        publishers = (self._environment, self.observation, self.transition, self._episode)
        return all(
            publisher.wait_for_all_acked(Duration(seconds=max(0.0, end - time.monotonic())))
            for publisher in publishers
        )

    def _publish_slow_ones(self, time_ns: int) -> None:
        if self._clock is not None:
            set_stamp(self._clock_message.clock, time_ns)
            self._clock.publish(self._clock_message)
        if self._joint_states is not None and self._joint_states_throttle.is_due():
            message = self._joint_state_message
            set_stamp(message.header.stamp, time_ns)
            message.position, message.velocity = self._joints.read(self._simulation.env)
            self._joint_states.publish(message)
        self._after_step(time_ns)


def _publisher(node: Node, message_type: type, topic: str, profile: QoSProfile) -> Publisher:
    options: dict[str, Any] = {'qos_overriding_options': qos.overridable()}
    return node.create_publisher(message_type, topic, profile, **options)


def _words(result: EpisodeResult) -> str:
    reason = f': {result.termination_reason}' if result.termination_reason else ''
    return result.ended_by.name.lower().replace('_', ' ') + reason
