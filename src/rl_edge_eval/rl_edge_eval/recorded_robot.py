"""One robot of a bag as viewers show it: its steps, its curves, and where it was."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.errors import RlEdgeError
from rl_edge_core.wording import counted
from rl_edge_eval.bag.bag import Bag
from rl_edge_eval.bag.decode import decoded
from rl_edge_eval.bag.messages import BagTopic, choose_robot

if TYPE_CHECKING:
    from gymnasium.envs.mujoco import MujocoEnv

_NAMES = ('environment', 'transition', 'episode')


@dataclass
class RecordedRobot:
    """What a bag has of one robot, as a viewer takes it. Times are of recording, in ns."""

    spec: EnvironmentSpec
    term_names: tuple[str, ...]
    name: str = ''
    """Its namespace."""
    time_ns: list[int] = field(default_factory=list)
    """Of each transition."""
    observation: list[np.ndarray] = field(default_factory=list)
    """After each transition."""
    forward_m: list[float] = field(default_factory=list)
    scalars: dict[str, tuple[list[int], list[float]]] = field(default_factory=dict)
    """Times and values by the path of what is plotted."""
    texts: list[tuple[int, str]] = field(default_factory=list)

    def add_scalar(self, path: str, time_ns: int, value: float) -> None:
        """Add a value to a curve; one that is not finite is a gap."""
        if math.isfinite(value):
            times, values = self.scalars.setdefault(path, ([], []))
            times.append(time_ns)
            values.append(value)

    def add_transition(self, message: Any, time_ns: int) -> None:
        """Add one step."""
        self.time_ns.append(time_ns)
        self.observation.append(np.array(message.next_observation, np.float32))
        self.forward_m.append(message.forward_position)
        for name, value in zip(self.spec.action_names, message.action, strict=True):
            self.add_scalar(f'action/{name}', time_ns, value)
        self.add_scalar('reward/total', time_ns, message.reward)
        for name, value in zip(self.term_names, message.reward_terms, strict=True):
            self.add_scalar(f'reward/{name}', time_ns, value)
        self.add_scalar('latency_ms/response', time_ns, message.response_time_us * 1e-3)
        self.add_scalar('latency_ms/inference', time_ns, message.inference_time_us * 1e-3)


def read_robot(path: Path, robot: str | None = None) -> RecordedRobot:
    """Read the steps of ``robot`` (its namespace; None for the only one there is).

    Raise BagError for what is no bag, ConfigurationError when the robot is not in it or has to be
    named, and RlEdgeError when none of its steps, or no environment, was recorded.
    """
    found: dict[str, RecordedRobot] = {}
    for topic, time_ns, message in decoded(Bag(path), _is_shown):
        namespace, _, name = topic.name.rpartition('/')
        namespace, of_a_node, _ = namespace.partition('/resource_usage')
        if name == 'environment' and not of_a_node:
            spec = EnvironmentSpec.from_message(message)
            found.setdefault(
                namespace, RecordedRobot(spec, tuple(message.reward_term_names), namespace)
            )
        if namespace not in found:
            continue
        one = found[namespace]
        if of_a_node:
            one.add_scalar(f'cpu_percent/{name}', time_ns, message.cpu_percent)
            one.add_scalar(f'memory_mb/{name}', time_ns, message.resident_memory_mb)
        elif name == 'transition':
            one.add_transition(message, time_ns)
        elif name == 'episode':
            reason = f': {message.termination_reason}' if message.termination_reason else ''
            text = f'episode {message.episode} ended{reason}: return {message.episode_return:.1f}'
            one.texts.append((time_ns, f'{text}, {counted(message.length, "step")}'))
    wanted = choose_robot(path, robot, found)
    if not found[wanted].time_ns:
        raise RlEdgeError(f'{path} has no transition of {wanted or "/"}: there is nothing to see')
    return found[wanted]


def _is_shown(topic: BagTopic) -> bool:
    namespace, _, name = topic.name.rpartition('/')
    return name in _NAMES or namespace.endswith('/resource_usage')


def simulation_of(robot: RecordedRobot) -> tuple[MujocoEnv, np.ndarray]:
    """Return the simulation of a robot, to be closed, and its `poses`.

    Raise RlEdgeError where it is not installed, and where its joints are not observed.
    """
    from gymnasium.envs.mujoco import MujocoEnv as Mujoco

    from rl_edge_sim.environment import environment_of

    env = environment_of(robot.spec)
    simulation = cast('MujocoEnv', env.unwrapped)
    found = poses(robot, simulation) if isinstance(simulation, Mujoco) else None
    if found is None:
        env.close()
        raise RlEdgeError(
            f'the observation of {robot.spec.environment_id} does not say where its joints are'
        )
    return simulation, found


def poses(robot: RecordedRobot, env: MujocoEnv) -> np.ndarray | None:
    """Return positions of the model, shape (steps, nq), for what was observed.

    The forward position is the one that was recorded with each step, and a sideways one that is
    not observed is summed from its velocity. None where the observation has too little: a joint
    whose angle is not in it.
    """
    from rl_edge_sim.mujoco_names import position_names

    names = position_names(env.model)
    columns = {name: index for index, name in enumerate(robot.spec.observation_names)}
    seen = np.stack(robot.observation).astype(np.float64)
    found = np.tile(np.array(env.model.qpos0, np.float64), (len(seen), 1))
    period_sec = robot.spec.control_period_sec
    for index, name in enumerate(names):
        base, _, axis = name.rpartition('.')
        speed = columns.get(f'{base}.velocity_{axis}')
        if name in columns:
            found[:, index] = seen[:, columns[name]]
        elif index == 0 and np.isfinite(robot.forward_m).all():
            found[:, index] = robot.forward_m
        elif axis in ('x', 'y') and speed is not None:
            found[:, index] = np.cumsum(seen[:, speed]) * period_sec
        else:
            return None
    return found
