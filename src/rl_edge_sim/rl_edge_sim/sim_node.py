"""The sim node: runs an environment over ROS 2, in lockstep with a policy or in real time."""

import sys
from array import array
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from rclpy.subscription import Subscription
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState

from rl_edge_core.environment_spec import environment_arguments
from rl_edge_core.loop.lockstep import Lockstep
from rl_edge_core.loop.realtime import Realtime
from rl_edge_core.ros import qos
from rl_edge_core.ros.conversions import set_stamp
from rl_edge_core.ros.loop_node import LoopNode
from rl_edge_core.ros.loop_publisher import Throttle
from rl_edge_sim import rendering
from rl_edge_sim.environment import make_environment
from rl_edge_sim.mujoco_names import is_mujoco, joint_reader
from rl_edge_sim.ros.simulation_services import offer_simulation_services
from rl_edge_sim.ros.standard_robot import StandardRobot
from rl_edge_sim.sim_parameters import SimParameters, main
from rl_edge_sim.simulation import Simulation


class SimNode(LoopNode[SimParameters]):
    """Simulate one robot; topics and services are those of docs/architecture.md."""

    duplicates = 'two simulators publish observations'

    def __init__(self, **kwargs: Any) -> None:
        """Make the environment and its loop; the run begins when a policy is connected.

        ``kwargs`` go to rclpy's Node. Raise ConfigurationError for bad parameters.
        """
        super().__init__('sim', SimParameters, **kwargs)
        settings = self.settings
        if settings.render == 'window':
            rendering.check_window_is_possible()
        self._env = _make_environment(settings)
        self._views: list[_ClockView | _JointStateView] = []
        self._picture_throttle = Throttle(settings.render_rate_hz)
        self._standard: StandardRobot | None = None
        self._pictures = self._start_rendering()
        is_standard = settings.interface == 'standard'
        if settings.publish_clock:
            self._views.append(_ClockView(self))
        if is_mujoco(self._env) and (is_standard or settings.joint_states_rate_hz):
            # Who drives a robot by standard topics needs them at each step.
            rate_hz = None if is_standard else settings.joint_states_rate_hz
            self._views.append(_JointStateView(self, self._env, rate_hz))
        if is_standard:
            self._standard = StandardRobot(
                self, settings, self._env, finish=self.finish, after_step=self._after_step
            )
            return
        simulation = Simulation(self._env, seed=settings.seed)
        in_real_time = partial(Realtime, real_time_factor=settings.real_time_factor)
        make_loop = Lockstep if settings.mode == 'lockstep' else in_real_time
        self.serve(simulation, make_loop, mode=settings.mode, after_step=self._after_step)
        offer_simulation_services(self, self._loop, step=None, finish=self.finish)

    def close(self) -> None:
        """Publish the open episode and the last state, and wait until they have arrived."""
        if self._standard is None:
            super().close()
        else:
            self._standard.close()
        if self._pictures is not None:
            self._pictures.close()
        self._env.close()

    def awaited_subscription(self) -> Subscription | None:
        """Return the actions' in lockstep; a robot behind standard topics waits for none."""
        return None if self._standard is not None else super().awaited_subscription()

    def exclusive_topics(self) -> list[tuple[str, str]]:
        """Return the topics that this node alone may publish, each with the complaint."""
        clock = ('/clock', 'two nodes publish the simulated time')
        return [*super().exclusive_topics(), *([clock] if self.settings.publish_clock else [])]

    def _after_step(self, time_ns: int) -> None:
        for view in self._views:
            view.publish(time_ns)
        if self._pictures is not None and self._picture_throttle.is_due():
            self._pictures.offer(self._env, time_ns)

    def _start_rendering(self) -> rendering.Pictures | None:
        settings = self.settings
        if settings.render == 'none':
            return None
        if settings.render == 'topic':
            self._image = qos.publisher(self, Image, 'image', qos.image())
        if not is_mujoco(self._env):
            return rendering.InlinePictures(show=self._publish_picture, fail=self.fail)
        return rendering.RenderThread(
            partial(_make_environment, settings, for_pictures=True),
            rate_hz=settings.render_rate_hz,
            show=self._publish_picture,
            fail=self.fail,
        )

    def _publish_picture(self, picture: np.ndarray, time_ns: int) -> None:
        if self.context.ok():
            self._image.publish(to_image(picture, time_ns))


def _make_environment(settings: SimParameters, *, for_pictures: bool = False) -> gymnasium.Env:
    arguments = environment_arguments(settings.environment_arguments)
    shaping, drawing = (
        settings.reward_shaping,
        {'render_mode': rendering.RENDER_MODES[settings.render]},
    )
    if for_pictures:
        size = {'width': settings.render_width, 'height': settings.render_height}
        arguments |= {**drawing, **size}
    env = make_environment(settings.environment_id, reward_shaping=shaping, **arguments)
    if settings.render == 'none' or is_mujoco(env):
        return env
    # Without a state to copy, the environment itself has to draw.
    env.close()
    return make_environment(
        settings.environment_id, reward_shaping=shaping, **drawing, **arguments
    )


class _ClockView:
    """Publish the simulated time on /clock."""

    def __init__(self, node: SimNode) -> None:
        self._publisher, self._message = node.create_publisher(Clock, '/clock', 10), Clock()

    def publish(self, time_ns: int) -> None:
        set_stamp(self._message.clock, time_ns)
        self._publisher.publish(self._message)


class _JointStateView:
    """Publish joint states, at a limited rate or at each step."""

    def __init__(self, node: SimNode, env: gymnasium.Env, rate_hz: float | None) -> None:
        self._env, self._joints = env, joint_reader(env)
        self._throttle = None if rate_hz is None else Throttle(rate_hz)
        self._publisher = qos.publisher(node, JointState, 'joint_states', qos.joint_states())
        self._message = JointState(name=list(self._joints.names))

    def publish(self, time_ns: int) -> None:
        if self._throttle is not None and not self._throttle.is_due():
            return
        set_stamp(self._message.header.stamp, time_ns)
        self._message.position, self._message.velocity = self._joints.read(self._env)
        self._publisher.publish(self._message)


def to_image(picture: np.ndarray, time_ns: int) -> Image:
    """Return ``picture``, uint8 of shape (height, width, 3) in RGB, drawn at a simulated time."""
    height, width, channels = picture.shape
    data = array('B')
    data.frombytes(np.ascontiguousarray(picture, np.uint8).data)
    message = Image(height=height, width=width, encoding='rgb8', step=width * channels, data=data)
    set_stamp(message.header.stamp, time_ns)
    message.header.frame_id = 'camera'
    return message


if __name__ == '__main__':
    sys.exit(main())
