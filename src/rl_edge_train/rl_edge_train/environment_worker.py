"""One process that steps several environments; it imports no TensorFlow."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from rl_edge_core.configuration import from_mapping
from rl_edge_core.errors import RlEdgeError
from rl_edge_train.acting import ActingCopy
from rl_edge_train.array_archive import below
from rl_edge_train.environments import EnvironmentConfig, TrainingEnvironment
from rl_edge_train.rollout import rolled_out


@dataclass
class SharedArrays:
    """Arrays that a worker and the learner both see; every first axis is the environment."""

    action: np.ndarray
    reward: np.ndarray
    next_observation: np.ndarray
    """The observation that the step led to, before any reset."""
    observation: np.ndarray
    """The observation to act on next: after a reset where the episode ended."""
    terminated: np.ndarray
    truncated: np.ndarray
    distance: np.ndarray
    """Forward distance of the episode so far, m; NaN where there is none."""


def shapes(count: int, *, observation_size: int, action_size: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of each shared array of `count` environments."""
    return {
        'action': (count, action_size),
        'reward': (count,),
        'next_observation': (count, observation_size),
        'observation': (count, observation_size),
        'terminated': (count,),
        'truncated': (count,),
        'distance': (count,),
    }


def views(buffers: dict[str, Any], of_shapes: dict[str, tuple[int, ...]]) -> SharedArrays:
    """View the raw shared buffers as arrays."""
    return SharedArrays(
        **{n: np.frombuffer(buffers[n], np.float32).reshape(s) for n, s in of_shapes.items()}
    )


def work(
    connection: Connection,
    config: dict[str, Any],
    buffers: dict[str, Any],
    of_shapes: dict[str, tuple[int, ...]],
    indices: tuple[int, ...],
    cpus: tuple[int, ...],
    training: bool,
) -> None:
    """Serve commands until the connection closes; `indices` are this worker's environments."""
    if cpus:
        os.sched_setaffinity(0, cpus)
    arrays = views(buffers, of_shapes)
    environment_config = from_mapping(EnvironmentConfig, config)
    environments = {
        index: TrainingEnvironment(environment_config, training=training) for index in indices
    }
    commands: dict[str, Callable[..., Any]] = {
        'step': _step,
        'roll_out': _roll_out,
        'reset': _reset,
        'snapshot': _snapshot,
        'restore': _restore,
    }
    try:
        while True:
            name, content = connection.recv()
            try:
                connection.send((commands[name](environments, arrays, content), ''))
            except Exception as error:
                said = str(error) if isinstance(error, RlEdgeError) else repr(error)
                connection.send((None, said))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass


Environments = dict[int, TrainingEnvironment]


def _step(environments: Environments, arrays: SharedArrays, _: None) -> None:
    for index, environment in environments.items():
        step = environment.step(arrays.action[index])
        arrays.next_observation[index] = step.next_observation
        arrays.observation[index] = step.observation
        arrays.reward[index] = step.reward
        arrays.terminated[index] = step.terminated
        arrays.truncated[index] = step.truncated
        arrays.distance[index] = step.distance


def _roll_out(
    environments: Environments, arrays: SharedArrays, content: tuple[ActingCopy, np.ndarray]
) -> dict[str, np.ndarray]:
    """Step by a policy, explored by noise (steps, all environments, action_size)."""
    policy, noise = content
    own = list(environments)
    each_noise = iter(noise[:, own])
    transitions, arrays.observation[own] = rolled_out(
        arrays.observation[own],
        len(noise),
        decide=lambda observation: policy.act(observation, next(each_noise)),
        step=lambda action: [
            one.step(each) for one, each in zip(environments.values(), action, strict=True)
        ],
    )
    return transitions


def _reset(environments: Environments, arrays: SharedArrays, seeds: Sequence[int]) -> None:
    for index, environment in environments.items():
        arrays.observation[index] = environment.reset(seeds[index])


def _snapshot(environments: Environments, _arrays: SharedArrays, _: None) -> dict[str, np.ndarray]:
    return {
        f'{index}/{name}': value
        for index, environment in environments.items()
        for name, value in environment.snapshot().items()
    }


def _restore(
    environments: Environments, arrays: SharedArrays, states: Mapping[str, np.ndarray]
) -> list[bool]:
    """Restore each environment; return whether the episodes go on."""
    goes_on: list[bool] = []
    for index, environment in environments.items():
        goes_on.append(environment.restore(below(states, f'{index}/')))
        if goes_on[-1]:
            arrays.observation[index] = states['observation'][index]
        else:
            seed = int(states['fresh_seeds'][index])
            arrays.observation[index] = environment.reset(seed)
    return goes_on
