"""The robot as the control loop sees it: observations from sensors, actions to commands."""

import time
from collections.abc import Callable, Sequence

import numpy as np

from rl_edge_core.episode_result import EndedBy, EpisodeAccumulator, EpisodeResult
from rl_edge_core.loop.events import AppliedAction, StepEvent
from rl_edge_robot.commands import Commands
from rl_edge_robot.description import RobotDescription
from rl_edge_robot.observation import ObservationBuilder
from rl_edge_robot.safety import Motion, SafetyMonitor
from rl_edge_robot.sensors import Sensors


class RobotPlant:
    """The `Plant` of a robot. An action is sent when it comes, and acts until the next one."""

    def __init__(
        self,
        description: RobotDescription,
        sensors: Sensors,
        monitor: SafetyMonitor,
        *,
        send: Callable[[Sequence[float]], None],
        seed: int = 0,
        system_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """Read ``sensors``, which somebody fills, and hand commands to ``send``.

        Episode k has ``seed + k``, which whoever resets the robot may use.
        """
        self.spec = description.spec()
        self.term_names: tuple[str, ...] = ('alive', 'forward_velocity', 'action_cost')
        self.episode = self.step = self.steps = 0
        self.seed = self._first_seed = seed
        """Of the open episode."""
        self.observation = np.zeros(self.spec.observation_size, np.float32)
        self.time_ns = system_ns()
        self.commands = Commands(description)
        self.description, self.sensors, self.monitor = description, sensors, monitor
        self._builder = ObservationBuilder(description)
        self._send, self._system_ns = send, system_ns
        self._has_odometry = 'odometry' in description.sensors
        self._action = np.zeros(self.spec.action_size, np.float32)
        self._sent: AppliedAction | None = None
        self._position = np.nan
        self._open = EpisodeAccumulator(0, np.nan, self.term_names)

    def begin_episode(self, episode: int, seed: int | None = None) -> None:
        """Begin an episode where the robot is."""
        self.episode, self.step = episode, 0
        self.seed = self._first_seed + episode if seed is None else seed
        self._action, self._sent = np.zeros(self.spec.action_size, np.float32), None
        self._builder.restart()
        if self.monitor.motion is Motion.READY:
            self.observation = self._builder.build(self.sensors, self._action)
        self.time_ns = self._system_ns()
        self._position = self._forward_position()
        self._open = EpisodeAccumulator(self.seed, self._position, self.term_names)

    @property
    def has_fallen(self) -> bool:
        """Return whether the robot is stopped since it fell."""
        return self.monitor.motion is Motion.STOPPED and self.monitor.fell

    def send_safe(self) -> None:
        """Send the safe command now."""
        self._send(self.commands.safe())

    def send_ramp(self, share: float) -> None:
        """Send what lies ``share`` (0 to 1) of the way from the ramp's begin to the defaults."""
        self._send(self.commands.ramp(share))

    def send(self, applied: AppliedAction) -> None:
        """Send an action's command now; the safe command for the safe action."""
        self._sent, self._action = applied, applied.values
        if applied.is_safe_action:
            self.send_safe()
        else:
            self._send(self.commands.for_action(applied.values))

    def advance(self, applied: AppliedAction) -> StepEvent:
        """Close the control period in which ``applied`` acted, and observe where it has led."""
        if applied is not self._sent:
            self.send(applied)
        before, position = self._position, self._forward_position()
        reward = self.description.reward
        velocity = (position - before) / self.spec.control_period_sec
        terms = (
            reward.alive,
            reward.forward_velocity * velocity if reward.forward_velocity else 0.0,
            -reward.action_cost * sum(value * value for value in applied.values.tolist()),
        )
        terminated = self.has_fallen
        if terminated:
            self._open.termination_reason = self.monitor.reason
        total = sum(terms)
        self._open.add(total, terms, position)
        self._position, self.time_ns = position, self._system_ns()
        length = self.spec.max_episode_steps
        event = StepEvent(
            self.episode,
            self.step,
            self.observation,
            applied,
            total,
            terms,
            self._builder.build(self.sensors, applied.values),
            terminated,
            not terminated and length > 0 and self.step + 1 >= length,
            position,
            self.time_ns,
        )
        self.observation = event.next_observation
        self.step += 1
        self.steps += 1
        return event

    def result(self, ended_by: EndedBy) -> EpisodeResult:
        """Return what the open episode has come to."""
        if ended_by is EndedBy.SAFETY_STOP:
            self._open.termination_reason = self.monitor.reason
        return self._open.result(ended_by, control_period_sec=self.spec.control_period_sec)

    def _forward_position(self) -> float:
        return self.sensors.position[0] if self._has_odometry else np.nan
