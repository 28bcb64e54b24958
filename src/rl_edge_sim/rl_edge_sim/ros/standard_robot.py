"""A simulated robot behind standard topics: it steps in real time and takes commands as they come.

For `rl_edge_robot`, and for other people's controllers: it speaks as hardware with ros2_control
does, and knows nothing of policies.
"""

import sys
from collections.abc import Callable
from typing import Any, cast

import gymnasium
import numpy as np
from geometry_msgs.msg import TransformStamped
from gymnasium.envs.mujoco import MujocoEnv
from nav_msgs.msg import Odometry
from rclpy.node import Node
from sensor_msgs.msg import Imu
from std_msgs.msg import Float64MultiArray, String
from std_srvs.srv import SetBool
from trajectory_msgs.msg import JointTrajectory

from rl_edge_core.episode_result import EndedBy
from rl_edge_core.errors import ConfigurationError
from rl_edge_core.loop.action_gate import ActionCounts
from rl_edge_core.loop.events import AppliedAction, EpisodeEvent
from rl_edge_core.ros import qos
from rl_edge_core.ros.conversions import set_stamp
from rl_edge_core.ros.diagnostics import (
    OK,
    WARN,
    DiagnosticsPublisher,
    ResourceReporter,
    create_steady_timer,
)
from rl_edge_core.ros.executor import take_pending
from rl_edge_core.ros.loop_publisher import EpisodeLog
from rl_edge_core.wording import counted
from rl_edge_interfaces.srv import Reset
from rl_edge_sim.mujoco_names import actuator_scales, base_of, is_mujoco
from rl_edge_sim.ros.simulation_services import offer_simulation_services
from rl_edge_sim.sim_parameters import SimParameters
from rl_edge_sim.simulation import Simulation
from rl_edge_sim.urdf import urdf_of

_WORLD = 'odom'


class StandardRobot:
    """Simulate a robot as its drivers would show it.

    Beside the joint_states of its node it publishes, for a robot with a free base, imu, odometry
    and, where tf2_msgs is installed, the transform from odom to the base; robot_description is its
    URDF. Commands are of the actuators, in their order (commands) or by joint name
    (joint_trajectory): N m or N for motors, rad, m or rad/s for servos. A command older than
    ``action_max_age_sec`` is replaced by zero. A robot that has left its environment's limits is
    shown so for one period, then it is put back to its start.
    """

    def __init__(
        self,
        node: Node,
        settings: SimParameters,
        env: gymnasium.Env,
        *,
        finish: Callable[[int], None],
        after_step: Callable[[int], None],
    ) -> None:
        """Start to step ``env`` by timers of ``node``.

        ``finish`` ends the node with an exit code once ``episodes`` have ended; ``after_step`` is
        called at each step with the simulated time, in ns, before the base is published. Raise
        ConfigurationError for an environment that is no MuJoCo robot.
        """
        self._node, self._settings, self._env, self._finish = node, settings, env, finish
        self._after_step = after_step
        if not is_mujoco(env):
            raise ConfigurationError(
                f'interface standard needs a MuJoCo environment, {settings.environment_id} is '
                f'none: choose one such as Ant-v5, or interface native'
            )
        self._simulation = Simulation(self._env, seed=settings.seed)
        self._base = base_of(self._env)
        self._scales = actuator_scales(self._env)
        spec = self._simulation.spec
        self._action, self._command_age = spec.safe.copy(), sys.maxsize
        self._largest_age = round(
            settings.action_max_age_sec * settings.real_time_factor / spec.control_period_sec
        )
        self._is_over, self._episodes_done = False, 0
        self._next_seed: int | None = None
        self.is_paused = False
        self._repeated = 0
        """Steps with the command of the step before, since no newer one had come."""
        self._create_topics()
        self._diagnostics, self._resources = DiagnosticsPublisher(node), ResourceReporter(node)
        self._log = EpisodeLog(node.get_logger().info)
        self._simulation.begin_episode(0)
        self._publish()
        period_sec = spec.control_period_sec / settings.real_time_factor
        self._ticks = create_steady_timer(node, period_sec, self._on_tick)
        node.create_service(Reset, '~/reset', self._on_reset)
        node.create_service(SetBool, '~/pause', self._on_pause)
        offer_simulation_services(node, self, step=self._on_tick, finish=finish)
        create_steady_timer(node, 1.0, self._report)
        node.get_logger().info(
            f'{spec.environment_id} behind standard topics: {1 / period_sec:g} Hz, commands on '
            f'{self._commands.topic_name} for {", ".join(spec.action_names)}'
        )

    def close(self) -> None:
        """Say how the episodes went, and stop the thread."""
        self._log.close()
        self._node.get_logger().info(
            f'{counted(self._simulation.steps, "step")}, {self._repeated} of them with the '
            f'command of the step before'
        )
        self._resources.close()

    def _create_topics(self) -> None:
        node = self._node
        if self._base is not None:
            self._imu = qos.publisher(node, Imu, 'imu', qos.joint_states())
            self._odometry = qos.publisher(node, Odometry, 'odometry', qos.joint_states())
            self._transforms = _transform_publisher(node)
        model = cast(MujocoEnv, self._env.unwrapped).model
        text, notes = urdf_of(model, self._settings.environment_id.replace('-', '_'))
        for note in notes:
            node.get_logger().debug(f'URDF: {note}')
        self._description = qos.publisher(node, String, 'robot_description', qos.environment())
        self._description.publish(String(data=text))
        self._commands = qos.subscription(
            node, Float64MultiArray, 'commands', self._on_commands, qos.action()
        )
        self._trajectories = qos.subscription(
            node, JointTrajectory, 'joint_trajectory', self._on_trajectory, qos.action()
        )

    # Commands ------------------------------------------------------------------------------

    def _on_commands(self, message: Float64MultiArray) -> None:
        self._take(np.asarray(message.data, np.float64))

    def _on_trajectory(self, message: JointTrajectory) -> None:
        """Take the last point of a trajectory, by joint name."""
        names = list(self._simulation.spec.action_names)
        if not message.points or sorted(message.joint_names) != sorted(names):
            self._complain(
                f'trajectory ignored: it is for {list(message.joint_names)}, must be for {names}'
            )
            return
        point = message.points[-1]
        values = point.effort or point.positions or point.velocities
        if len(values) == len(names):
            by_name = dict(zip(message.joint_names, values, strict=True))
            self._take(np.array([by_name[name] for name in names]))

    def _take(self, command: np.ndarray) -> None:
        action = np.asarray(command, np.float32)
        fault = self._simulation.spec.fault_of_action(action)
        if fault:
            self._complain(f'command ignored: {fault}')
            return
        action = np.asarray(command / self._scales, np.float32)
        self._action, self._command_age = self._simulation.spec.limit(action), 0

    def _complain(self, what: str) -> None:
        self._node.get_logger().warning(what, throttle_duration_sec=5.0)

    # Steps ---------------------------------------------------------------------------------

    def _on_tick(self) -> None:
        for commands in (self._commands, self._trajectories):
            take_pending(commands)  # the newest command that has arrived is the one to obey
        simulation = self._simulation
        if self._is_over:
            simulation.begin_episode(simulation.episode + 1, self._next_seed)
            self._is_over, self._next_seed = False, None
            self._action, self._command_age = simulation.spec.safe.copy(), sys.maxsize
        else:
            self._command_age += 1
            self._repeated += 1 < self._command_age <= self._largest_age
            if self._command_age > self._largest_age:
                self._action = simulation.spec.safe.copy()
            # Who drives the robot decides how long an episode is: only falls end it here.
            self._is_over = simulation.advance(AppliedAction(self._action)).terminated
            if self._is_over:
                self._end_episode(EndedBy.TERMINATION)
                self._episodes_done += 1
        self._publish()
        if self._episodes_done and self._episodes_done == self._settings.episodes:
            self._finish(0)

    def _end_episode(self, ended_by: EndedBy) -> None:
        simulation = self._simulation
        result = simulation.result(ended_by)
        self._log.add(
            EpisodeEvent(simulation.episode, result, ActionCounts(), '', simulation.time_ns)
        )

    def _on_reset(self, request: Reset.Request, response: Reset.Response) -> Reset.Response:
        """Let the robot be at its start, and be shown there, a control period from now."""
        if request.use_seed and request.seed < 0:
            response.message = f'seed is {request.seed}, must be 0 or more'
            return response
        self.reset(request.seed if request.use_seed else None)
        response.success, response.episode = True, self._simulation.episode + 1
        response.message = f'episode {response.episode} begins at the next control period'
        return response

    def reset(self, seed: int | None = None) -> None:
        """Let the robot be at its start a control period from now."""
        if self._simulation.step and not self._is_over:
            self._end_episode(EndedBy.RESET)
        self._is_over, self._next_seed = True, seed
        if not self.is_paused:
            self._ticks.reset()  # so that the answer of a service is there before the sensors

    def pause(self, paused: bool) -> None:
        """Let time stand still between two steps, or go on."""
        self.is_paused = paused
        if paused:
            self._ticks.cancel()
        else:
            self._ticks.reset()

    def _on_pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self.pause(request.data)
        response.success = True
        response.message = 'paused' if request.data else 'running'
        return response

    def _publish(self) -> None:
        time_ns = self._simulation.time_ns
        self._after_step(time_ns)
        if self._base is None:
            return
        base = self._base.read(self._env)
        imu, odometry = Imu(), Odometry()
        for message in (imu, odometry):
            set_stamp(message.header.stamp, time_ns)
        imu.header.frame_id = odometry.child_frame_id = self._base.name
        odometry.header.frame_id = _WORLD
        for turn in (imu.orientation, odometry.pose.pose.orientation):
            turn.w, turn.x, turn.y, turn.z = base.orientation
        for target, values in (
            (imu.angular_velocity, base.angular_velocity),
            (imu.linear_acceleration, base.acceleration),
            (odometry.pose.pose.position, base.position),
            (odometry.twist.twist.linear, base.linear_velocity),
            (odometry.twist.twist.angular, base.angular_velocity),
        ):
            target.x, target.y, target.z = values
        self._imu.publish(imu)
        if self._transforms is not None:
            self._transforms(odometry)
        # Last: who has it has all of this period.
        self._odometry.publish(odometry)

    def _report(self) -> None:
        self._log.update()
        is_driven = self._command_age <= self._largest_age
        self._diagnostics.publish(
            OK if is_driven else WARN,
            'driven' if is_driven else f'no command on {self._commands.topic_name}; zero instead',
            {
                'steps': self._simulation.steps,
                'episode': self._simulation.episode,
                'repeated_commands': self._repeated,
            },
        )


def _transform_publisher(node: Node) -> Any:
    """Return a function that publishes an odometry as a transform; None without tf2_msgs."""
    try:
        from tf2_msgs.msg import TFMessage
    except ImportError:
        node.get_logger().info('tf2_msgs is not installed: no transforms are published')
        return None
    transforms = node.create_publisher(TFMessage, '/tf', 100)

    def publish(odometry: Odometry) -> None:
        transform = TransformStamped(
            header=odometry.header, child_frame_id=odometry.child_frame_id
        )
        place, pose = transform.transform, odometry.pose.pose
        place.translation.x, place.translation.y = pose.position.x, pose.position.y
        place.translation.z, place.rotation = pose.position.z, pose.orientation
        transforms.publish(TFMessage(transforms=[transform]))

    return publish
