"""The sim node: runs an environment over ROS 2, in lockstep with a policy or in real time."""

import secrets
import sys
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.task import Future
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool

from rl_edge_core.environment_spec import environment_arguments
from rl_edge_core.errors import ConfigurationError
from rl_edge_core.ros import qos
from rl_edge_core.ros.diagnostics import DiagnosticsPublisher
from rl_edge_core.ros.parameters import declare_parameters
from rl_edge_core.ros.qos_events import incompatible_peers, stop_watching_qos_events
from rl_edge_core.ros.resource_reporter import ResourceReporter
from rl_edge_interfaces.msg import Action
from rl_edge_interfaces.srv import Reset
from rl_edge_sim.control_loop import ControlLoop, LoopSettings, Phase
from rl_edge_sim.environment import make_environment
from rl_edge_sim.lockstep import Lockstep
from rl_edge_sim.mujoco_names import is_mujoco
from rl_edge_sim.realtime import Realtime
from rl_edge_sim.rendering import (
    RENDER_MODES,
    InlinePictures,
    Pictures,
    RenderThread,
    check_window_is_possible,
)
from rl_edge_sim.ros.health import Health, figures_of, health_of
from rl_edge_sim.ros.messages import to_answer, to_image
from rl_edge_sim.ros.publications import Publications, Throttle
from rl_edge_sim.ros.roles import missing_peers, rivals
from rl_edge_sim.sim_parameters import SimParameters, main
from rl_edge_sim.simulation import Simulation

_WATCH_PERIOD_SEC = 0.05
"""How often waiting is looked after; it bounds by how much timeouts are late."""
_REPORT_PERIOD_SEC = 1.0
_FLUSH_TIMEOUT_SEC = 3.5
"""How long the end waits for subscribers that have not received everything. Fast DDS asks them
every 3 s."""


class SimNode(Node):
    """Simulate one robot. All callbacks run on the executor's one thread.

    Topics and services are those of docs/architecture.md. A pause stops the loop between two
    steps; an action that answers the pending observation while paused is kept and applied when
    the loop goes on. A reset ends the open episode (reason RESET); it does not count as one of
    ``episodes``.
    """

    def __init__(self, **kwargs: Any) -> None:
        """Make the environment and its loop; the run begins when a policy is connected.

        ``kwargs`` go to rclpy's Node. Raise ConfigurationError for bad parameters.
        """
        super().__init__('sim', **kwargs)
        self.finished: Future = Future()
        self._settings = settings = declare_parameters(self, SimParameters)
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        if settings.render == 'window':
            check_window_is_possible()
        self._env = self._make_environment()
        self._simulation = Simulation(self._env, seed=settings.seed)
        self._run_id = secrets.randbits(63)
        self._rendering_failure = ''
        self._publications = Publications(
            self,
            self._simulation,
            run_id=self._run_id,
            joint_states_rate_hz=settings.joint_states_rate_hz,
            publish_clock=settings.publish_clock,
            restart_ticks=self._restart_ticks,
            finish=self._finish,
            after_step=self._offer_picture,
        )
        self._pictures = self._start_rendering()
        self._loop = self._make_loop()
        self._action = self.create_subscription(
            Action,
            'action',
            self._on_action,
            qos.action(),
            qos_overriding_options=qos.overridable(),
        )
        self.create_service(Reset, '~/reset', self._on_reset)
        self.create_service(SetBool, '~/pause', self._on_pause)
        self._diagnostics = DiagnosticsPublisher(self)
        self._report_throttle = Throttle(1.0 / _REPORT_PERIOD_SEC)
        self._troubles: list[str] = []
        self._reported = Health(b'', '')
        self._rejections_seen = self._dropped_seen = 0
        self._resources = ResourceReporter(self)
        self._publications.publish_environment(settings.mode)
        self.create_timer(_WATCH_PERIOD_SEC, self._watch, clock=self._steady)
        stop_watching_qos_events(self)

    @property
    def run_id(self) -> int:
        """Return the random number that addresses of this run carry."""
        return self._run_id

    def close(self) -> None:
        """Publish the open episode and the last state, and wait until they have arrived."""
        self._loop.close()
        self._report()
        if not self._publications.flush(_FLUSH_TIMEOUT_SEC):
            self.get_logger().warning('a subscriber did not acknowledge everything in time')
        self._resources.close()
        if self._pictures is not None:
            self._pictures.close()
        self._env.close()

    def _make_environment(self, *, for_pictures: bool = False) -> gymnasium.Env:
        settings = self._settings
        arguments = environment_arguments(settings.environment_arguments)
        if for_pictures:
            arguments['render_mode'] = RENDER_MODES[settings.render]
            arguments |= {'width': settings.render_width, 'height': settings.render_height}
        env = make_environment(
            settings.environment_id, reward_shaping=settings.reward_shaping, **arguments
        )
        if settings.render == 'none' or is_mujoco(env):
            return env
        # Without a state to copy, the environment itself has to draw.
        env.close()
        return make_environment(
            settings.environment_id,
            reward_shaping=settings.reward_shaping,
            render_mode=RENDER_MODES[settings.render],
            **arguments,
        )

    def _make_loop(self) -> ControlLoop:
        settings = self._settings
        loop_settings = LoopSettings(
            run_id=self._run_id,
            episodes=settings.episodes,
            on_policy_timeout=settings.on_policy_timeout,
            policy_timeout_sec=settings.policy_timeout_sec,
            first_action_timeout_sec=settings.first_action_timeout_sec,
            republish_period_sec=settings.republish_period_sec,
            action_max_age_sec=settings.action_max_age_sec,
        )
        if settings.mode == 'lockstep':
            return Lockstep(self._simulation, self._publications, loop_settings)
        loop = Realtime(
            self._simulation,
            self._publications,
            loop_settings,
            real_time_factor=settings.real_time_factor,
        )
        self._ticks = self.create_timer(loop.period_sec, loop.on_tick, clock=self._steady)
        return loop

    def _on_action(self, message: Action) -> None:
        self._loop.on_action(to_answer(message))

    def _restart_ticks(self) -> None:
        self._ticks.reset()

    def _finish(self, exit_code: int) -> None:
        if self._loop.failure:
            self.get_logger().error(self._loop.failure)
        if not self.finished.done():
            self.finished.set_result(exit_code)

    def _watch(self) -> None:
        self._loop.on_timer(missing=self._missing_peers())
        if self._rendering_failure and not self.finished.done():
            self.get_logger().error(self._rendering_failure)
            self.finished.set_result(1)
        self._report()

    def _missing_peers(self) -> str:
        if self._loop.phase is not Phase.WAITING:
            return ''
        return missing_peers(
            self,
            observation=self._publications.observation,
            action=self._action,
            transition=self._publications.transition,
            transition_subscribers=self._settings.awaited_subscribers,
        )

    def _report(self) -> None:
        is_due = self._report_throttle.is_due()
        if is_due:
            self._look_for_troubles()
        loop = self._loop
        dropped = loop.dropped_periods if isinstance(loop, Realtime) else 0
        health = health_of(
            loop,
            troubles=self._troubles,
            new_rejections=loop.rejected_actions - self._rejections_seen,
            dropped=dropped - self._dropped_seen,
        )
        if is_due:
            self._rejections_seen, self._dropped_seen = loop.rejected_actions, dropped
        if is_due or health != self._reported:
            self._reported = health
            self._diagnostics.publish(
                health.level, health.reason, figures_of(loop, self._simulation)
            )

    def _look_for_troubles(self) -> None:
        observation = self._publications.observation
        self._troubles = [
            *rivals(
                self,
                observation=observation.topic_name,
                action=self._action.topic_name,
                clock='/clock' if self._settings.publish_clock else None,
            ),
            *incompatible_peers(self, observation),
            *incompatible_peers(self, self._action),
        ]

    def _on_reset(self, request: Reset.Request, response: Reset.Response) -> Reset.Response:
        response.run_id = self._run_id
        try:
            response.episode = self._loop.reset(request.seed if request.use_seed else None)
        except ConfigurationError as error:
            response.success, response.message = False, str(error)
            return response
        response.success, response.message = True, f'episode {response.episode} begins'
        return response

    def _on_pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._loop.pause(request.data)
        response.success = True
        response.message = 'paused' if request.data else 'running'
        return response

    def _start_rendering(self) -> Pictures | None:
        settings = self._settings
        if settings.render == 'none':
            return None
        if settings.render == 'topic':
            self._image = self.create_publisher(
                Image, 'image', qos.image(), qos_overriding_options=qos.overridable()
            )
        self._picture_throttle = Throttle(settings.render_rate_hz)
        if not is_mujoco(self._env):
            return InlinePictures(show=self._publish_picture, fail=self._on_rendering_failure)
        return RenderThread(
            partial(self._make_environment, for_pictures=True),
            rate_hz=settings.render_rate_hz,
            show=self._publish_picture,
            fail=self._on_rendering_failure,
        )

    def _offer_picture(self, time_ns: int) -> None:
        if self._pictures is not None and self._picture_throttle.is_due():
            self._pictures.offer(self._env, time_ns)

    def _publish_picture(self, picture: np.ndarray, time_ns: int) -> None:
        if self.context.ok():
            self._image.publish(to_image(picture, time_ns))

    def _on_rendering_failure(self, reason: str) -> None:
        # Perhaps on the render thread: the timer on the executor's thread takes it up.
        self._rendering_failure = reason


if __name__ == '__main__':
    sys.exit(main())
