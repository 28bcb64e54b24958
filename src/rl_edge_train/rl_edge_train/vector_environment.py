"""Many environments in parallel processes, stepped together through shared memory."""

import atexit
import math
import multiprocessing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rl_edge_core.configuration import to_mapping
from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.errors import RlEdgeError
from rl_edge_core.signals import ENDING_SIGNALS, blocked
from rl_edge_train import environment_worker
from rl_edge_train.acting import ActingCopy
from rl_edge_train.environments import EnvironmentConfig


class SimulationError(RlEdgeError):
    """A worker process exited, or an environment in it is broken."""


@dataclass(frozen=True)
class FinishedEpisode:
    """One episode that ended in the vector environment."""

    environment: int
    """Index of the environment it ran in."""
    episode_return: float
    """Sum of rewards."""
    length: int
    """Steps."""
    distance: float
    """Forward distance from start to end, m; NaN where there is none."""
    terminated: bool
    """Whether it ended by termination and not by its time limit."""


class OpenEpisodes:
    """Returns and lengths of the open episodes of environments that are stepped together."""

    def __init__(self, count: int, *, first: int = 0) -> None:
        """Start `count` episodes; the environments' indices count from `first`."""
        self._first = first
        self.returns = np.zeros(count)
        self.lengths = np.zeros(count, np.int64)

    def add(
        self,
        reward: np.ndarray,
        terminated: np.ndarray,
        truncated: np.ndarray,
        distance: np.ndarray,
    ) -> list[FinishedEpisode]:
        """Count a step of every environment, arrays (count,); return the episodes it ended."""
        self.returns += reward
        self.lengths += 1
        episodes = []
        for index in np.flatnonzero((terminated + truncated) > 0):
            episodes.append(
                FinishedEpisode(
                    self._first + int(index),
                    float(self.returns[index]),
                    int(self.lengths[index]),
                    float(distance[index]),
                    bool(terminated[index]),
                )
            )
            self.returns[index], self.lengths[index] = 0.0, 0
        return episodes


@dataclass(frozen=True)
class VectorStep:
    """What one step of all environments led to; arrays are copies, first axis the environment."""

    reward: np.ndarray
    next_observation: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    episodes: list[FinishedEpisode]


class VectorEnvironment:
    """Step `count` environments, dealt out to worker processes; an ended episode starts anew."""

    def __init__(
        self,
        config: EnvironmentConfig,
        spec: EnvironmentSpec,
        *,
        count: int,
        processes: int,
        cpus: Sequence[int] = (),
        training: bool = True,
    ) -> None:
        """Start the processes; `cpus` pins them. Call `reset` before the first step.

        Without `training` they are as they are for an evaluation: see `environments.make`.
        """
        if not 1 <= processes <= count:
            raise ValueError(f'processes must be from 1 to the {count} environments: {processes}')
        self.count = count
        shapes = environment_worker.shapes(
            count, observation_size=spec.observation_size, action_size=spec.action_size
        )
        context = multiprocessing.get_context('forkserver')  # what it loads, it loads once
        context.set_forkserver_preload([environment_worker.__name__])
        buffers = {name: context.RawArray('f', math.prod(shape)) for name, shape in shapes.items()}
        self._arrays = environment_worker.views(buffers, shapes)
        self._workers = []
        self._connections = []
        for indices in np.array_split(np.arange(count), processes):
            ours, theirs = context.Pipe()
            worker = context.Process(
                target=environment_worker.work,
                args=(
                    theirs,
                    to_mapping(config),
                    buffers,
                    shapes,
                    tuple(indices.tolist()),
                    tuple(cpus),
                    training,
                ),
                daemon=True,
            )
            with blocked(*ENDING_SIGNALS):  # the learner ends it
                worker.start()
            theirs.close()
            self._workers.append(worker)
            self._connections.append(ours)
        # Workers see no SIGTERM, by which multiprocessing would end them and then wait for ever.
        atexit.register(self.close)
        self._open = OpenEpisodes(count)

    @property
    def observation(self) -> np.ndarray:
        """Return a copy of the observations (count, observation_size) to act on."""
        return self._arrays.observation.copy()

    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        """Start a fresh episode in every environment, one seed each; return the observations."""
        self._send('reset', list(seeds))
        self._receive()
        self._open = OpenEpisodes(self.count)
        return self.observation

    def start_step(self, action: np.ndarray) -> None:
        """Send actions (count, action_size); the simulation runs while the caller goes on."""
        self._arrays.action[:] = action
        self._send('step')

    def finish_step(self) -> VectorStep:
        """Wait for the step that was started and return what it led to."""
        self._receive()
        arrays = self._arrays
        return VectorStep(
            arrays.reward.copy(),
            arrays.next_observation.copy(),
            arrays.terminated.copy(),
            arrays.truncated.copy(),
            self._open.add(arrays.reward, arrays.terminated, arrays.truncated, arrays.distance),
        )

    def start_rollout(self, policy: ActingCopy, noise: np.ndarray) -> None:
        """Let each process act and step by itself, until `finish_rollout`.

        `noise` is standard normal, (steps, count, action_size).
        """
        self._send('roll_out', (policy, noise))

    def finish_rollout(self) -> tuple[dict[str, np.ndarray], list[FinishedEpisode]]:
        """Wait for the rollout that was started; return transitions and ended episodes.

        Transitions are as `rolled_out` returns them.
        """
        parts = self._receive()
        rollout = {name: np.concatenate([p[name] for p in parts], axis=1) for name in parts[0]}
        steps = zip(
            *(rollout[n] for n in ('reward', 'terminated', 'truncated', 'distance')), strict=True
        )
        return rollout, [episode for step in steps for episode in self._open.add(*step)]

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the state of every environment in mid-episode, by name."""
        self._send('snapshot')
        states = {name: value for reply in self._receive() for name, value in reply.items()}
        return states | {
            'observation': self.observation,
            'returns': self._open.returns.copy(),
            'lengths': self._open.lengths.copy(),
        }

    def load_arrays(self, arrays: Mapping[str, np.ndarray], *, fresh_seeds: Sequence[int]) -> int:
        """Put every environment where `arrays` found it; return how many episodes go on.

        Environments whose state could not be saved start an episode with their fresh seed.
        """
        states = {n: v for n, v in arrays.items() if n not in ('returns', 'lengths')}
        states['fresh_seeds'] = np.asarray(fresh_seeds, np.int64)
        self._send('restore', states)
        goes_on = np.concatenate(self._receive())
        self._open.returns[:] = arrays['returns'] * goes_on
        self._open.lengths[:] = arrays['lengths'] * goes_on
        return int(goes_on.sum())

    def _send(self, command: str, content: Any = None) -> None:
        for connection in self._connections:
            try:
                connection.send((command, content))
            except (BrokenPipeError, OSError) as error:
                raise SimulationError('a simulation process exited') from error

    def _receive(self) -> list[Any]:
        replies = []
        for connection in self._connections:
            try:
                replies.append(connection.recv())
            except (EOFError, OSError) as error:
                raise SimulationError('a simulation process exited') from error
        for _, fault in replies:
            if fault:
                raise SimulationError(fault)
        return [reply for reply, _ in replies]

    def close(self) -> None:
        """End the worker processes; safe to call twice."""
        atexit.unregister(self.close)
        for connection in self._connections:
            connection.close()
        for worker in self._workers:
            worker.join(timeout=5)
            if worker.is_alive():
                worker.kill()
