"""The control loop on a robot: steps, stops, and the way back to moving. No ROS here."""

import time
from collections.abc import Callable

from rl_edge_core.episode_result import EndedBy
from rl_edge_core.loop.action_gate import Answer
from rl_edge_core.loop.control_loop import Phase
from rl_edge_core.loop.events import AppliedAction, LoopOutput
from rl_edge_core.loop.realtime import Realtime
from rl_edge_core.shared_parameters import LoopParameters
from rl_edge_robot.robot_plant import RobotPlant
from rl_edge_robot.safety import Motion
from rl_edge_robot.timing import StepTimes

_NANOSECONDS = 1_000_000_000
_SAME_MOMENT = 0.5
"""In periods: how far apart the stamps of sensors may lie that speak of one moment."""
_NEXT_MOMENT = 0.9
"""In periods: how much later the next one is at least. Stamps jitter, and sensors may be faster
than control."""
_LATEST_TICK = 2.5
"""In periods: after which steps on sensors go on by the clock."""


class RobotLoop(Realtime):
    """Real time on a robot: an action is sent when it comes, and acts until the next one.

    Steps are taken at ticks of the clock, or as soon as all sensors have spoken of one moment, as
    the description says. Each episode waits to begin: what the simulator's loop does at once, a
    robot may not, since it may have fallen. It begins when nothing is missing, with what the
    sensors have just said, and once the robot was put to its start where somebody can do that.
    """

    _plant: RobotPlant

    def __init__(
        self,
        plant: RobotPlant,
        output: LoopOutput,
        settings: LoopParameters,
        *,
        run_id: int,
        find_missing: Callable[[], str] = lambda: '',
        reset_robot: Callable[[int], bool] | None = None,
        find_controller_fault: Callable[[], str] = lambda: '',
        on_motion: Callable[[Motion], None] = lambda motion: None,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Wait for a policy and a robot that is ready to move.

        ``find_missing`` returns who has to be there for an episode to begin. ``reset_robot`` asks
        for the robot to be put to its start with a seed, and returns whether it could ask; who
        calls sets `is_at_start` when that is done. ``find_controller_fault`` returns why commands
        reach nobody. ``on_motion`` hears what the robot may do now.
        """
        self.times = StepTimes(plant.spec.control_period_sec)
        self.is_at_start = reset_robot is None
        self._find_missing, self._reset_robot = find_missing, reset_robot
        self._find_controller_fault, self._on_motion = find_controller_fault, on_motion
        self._reset_of_episode = -1
        self._period_ns = round(plant.spec.control_period_sec * _NANOSECONDS)
        self._measuring = plant.description.measuring_sensors
        self._moment_ns = -self._period_ns
        self._began_ns = 0
        super().__init__(plant, output, settings, run_id=run_id, now_ns=now_ns)

    @property
    def steps_on_sensors(self) -> bool:
        """Return whether steps wait for the sensors, and not for the clock."""
        return self._plant.description.step_on == 'sensors'

    def on_timer(self, *, missing: str = '') -> None:
        """Look after waiting, see `ControlLoop.on_timer`; only a sensor lets an episode begin."""
        if self.phase is not Phase.WAITING or missing:
            super().on_timer(missing=missing)

    def on_tick(self, began_ns: int | None = None) -> None:
        """Take a step; ``began_ns`` is when the sensor that it waited for was heard."""
        self._began_ns = self._now_ns() if began_ns is None else began_ns
        if self.phase is Phase.RUNNING and not self.is_paused:
            self.times.begin(self._began_ns)
        super().on_tick()

    def on_sensor(self, heard_ns: int) -> None:
        """Stop the robot where a sensor's message demands it; do what waited for that message."""
        self.look()
        moment_ns = self._plant.sensors.moment_ns(
            self._measuring, within_ns=round(_SAME_MOMENT * self._period_ns)
        )
        if moment_ns is None:
            return
        if 0 <= moment_ns - self._moment_ns < _NEXT_MOMENT * self._period_ns:
            return
        self._moment_ns = moment_ns
        if self.phase is Phase.WAITING:
            self._begin_if_possible(heard_ns)
        elif self.steps_on_sensors:
            self.on_tick(heard_ns)

    def on_period(self) -> None:
        """At each period, whatever else happens: stop, ramp, or keep the robot safe."""
        plant, monitor = self._plant, self._plant.monitor
        monitor.controller_fault = self._find_controller_fault()
        self.look()
        if monitor.motion is Motion.RAMP:
            plant.send_ramp(monitor.ramp_share(self._now_ns()))
        elif monitor.motion is Motion.STOPPED or self.is_paused or self._outlasts_its_episode():
            plant.send_safe()
        elif self.steps_on_sensors and self._is_tick_overdue():
            self.on_tick()  # the sensors do not speak of one moment any more

    def look(self) -> None:
        """Let the monitor look, and stop the robot at once where it says so."""
        plant, monitor = self._plant, self._plant.monitor
        before = monitor.motion
        now = monitor.look(plant.sensors, self._now_ns())
        if now is before:
            return
        if now is Motion.STOPPED:
            plant.send_safe()
            self._end_stopped_episode()
        elif now is Motion.RAMP:
            positions = plant.sensors.positions
            plant.commands.begin_ramp([positions[name] for name in plant.commands.names])
        self._on_motion(now)

    def _end_stopped_episode(self) -> None:
        if self.phase is Phase.RUNNING and self._plant.has_fallen:
            self._advance(self._answer or self._without_answer(self._now_ns()))
        elif self.phase in (Phase.STARTING, Phase.RUNNING):
            self._end_episode(EndedBy.SAFETY_STOP)
            self._begin_episode()

    def _begin_if_possible(self, heard_ns: int) -> None:
        plant = self._plant
        if self.is_paused or self._find_missing():
            return
        if self._reset_robot is not None and self._reset_of_episode != plant.episode:
            self.is_at_start = False
            if self._reset_robot(plant.seed):
                self._reset_of_episode = plant.episode
        elif self.is_at_start:
            self._began_ns = heard_ns
            # The observation of a moment ago is none to begin with.
            plant.begin_episode(plant.episode, plant.seed)
            super().on_timer()

    def _outlasts_its_episode(self) -> bool:
        """Return whether the last command of an episode that is over still acts."""
        if self.phase is not Phase.WAITING or self._plant.description.action.kind == 'position':
            return False  # a position stays what it is
        return self.silent_sec > self._settings.action_max_age_sec

    def _is_tick_overdue(self) -> bool:
        last_ns = self._last_tick_ns
        return last_ns is not None and self._now_ns() - last_ns > _LATEST_TICK * self._period_ns

    def _show_observation(self) -> None:
        self.times.observed(self._now_ns() - self._began_ns)
        super()._show_observation()

    def _accept(self, answer: Answer) -> AppliedAction | None:
        applied = super()._accept(answer)
        if applied is not None and not self.is_paused:
            self._plant.send(applied)
            self.times.commanded(self._now_ns() - applied.received_ns)
        return applied

    def _restart_ticks(self) -> None:
        if self.phase is not Phase.WAITING:
            super()._restart_ticks()

    def _begin_episode(self, seed: int | None = None) -> None:
        self._plant.begin_episode(self._plant.episode + 1, seed)
        self._forget_answers()
        self.times.restart()
        self._last_tick_ns = None
        self._waiting_since_ns = self._now_ns()
        self.phase = Phase.WAITING
