"""The actor that collects on one slot of a cluster; it imports no TensorFlow and no Ray."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rl_edge_core import cluster
from rl_edge_core.configuration import from_mapping, to_mapping
from rl_edge_core.errors import RlEdgeError
from rl_edge_train.acting import ActingCopy, Decision
from rl_edge_train.environments import EnvironmentConfig, EnvironmentStep, TrainingEnvironment
from rl_edge_train.replay import TransitionLayout
from rl_edge_train.rollout import rolled_out
from rl_edge_train.vector_environment import FinishedEpisode, OpenEpisodes, SimulationError

if TYPE_CHECKING:
    from rl_edge_train.algorithms.base import Agent

SEEDS = 1_000_000
"""Seeds of training stay below those of selection."""


@dataclass(frozen=True)
class WorkerTask:
    """What one worker does, the same for all of a run but for `index` and `generation`."""

    environment: dict[str, Any]
    """An `EnvironmentConfig` as a mapping."""
    layout: TransitionLayout
    action_limits: tuple[np.ndarray, np.ndarray]
    environments: int
    """Environments of this worker."""
    steps: int
    """Of each environment in a fragment."""
    seed: int
    """Of the run."""
    first_step: int = 0
    """Of the run when collecting began: a resumed run has other episodes."""
    index: int = 0
    """Of the worker."""
    generation: int = 0
    """How many workers of this index were lost before it."""

    @staticmethod
    def of(
        agent: Agent,
        environment: EnvironmentConfig,
        *,
        environments: int,
        steps: int,
        seed: int,
        first_step: int = 0,
    ) -> WorkerTask:
        """Return the task of worker 0: to collect for an agent."""
        return WorkerTask(
            to_mapping(environment),
            agent.layout,
            (agent.spec.low, agent.spec.high),
            environments,
            steps,
            seed,
            first_step,
        )


@dataclass(frozen=True)
class WorkerFragment:
    """What a worker hands over through the object store."""

    rows: np.ndarray
    """float32 (steps, environments, width)."""
    episodes: list[FinishedEpisode]
    version: int
    """Of the weights that it acted with."""
    busy_sec: float
    """How long collecting took."""
    idle_sec: float
    """How long the worker had waited before."""


class CollectWorker:
    """Step environments with a copy of the actor, a fragment at a time."""

    def __init__(self, task: WorkerTask) -> None:
        """Take the task; `begin` builds the environments."""
        self._task = task
        self._generator = np.random.default_rng(
            [task.seed, task.first_step, task.index, task.generation]
        )
        self._seeds = self._generator.integers(SEEDS, size=task.environments).tolist()
        self._open = OpenEpisodes(task.environments, first=task.index * task.environments)
        self._episodes = [0] * task.environments

    def begin(self, versions: dict[str, str]) -> str:
        """Build and reset the environments; return the name of the node.

        Raise ConfigurationError when this node has other `versions` installed.
        """
        cluster.check_versions(cluster.versions(), versions, node=cluster.node_name())
        config = from_mapping(EnvironmentConfig, self._task.environment)
        self._environments = [TrainingEnvironment(config, training=True) for _ in self._seeds]
        pairs = zip(self._environments, self._seeds, strict=True)
        self._observation = np.stack([environment.reset(seed) for environment, seed in pairs])
        self._ended_at = time.perf_counter()
        return cluster.node_name()

    def collect(self, policy: ActingCopy | None, version: int) -> WorkerFragment:
        """Take the next steps by `policy`, or with uniformly random actions without one."""
        started = time.perf_counter()
        task, ended = self._task, []

        def step(action: np.ndarray) -> list[EnvironmentStep]:
            outcomes = [self._step(k, each) for k, each in enumerate(action)]
            episodes = self._open.add(
                *(
                    np.array([getattr(one, name) for one in outcomes])
                    for name in ('reward', 'terminated', 'truncated', 'distance')
                )
            )
            for episode in episodes:
                self._episodes[episode.environment % task.environments] += 1
            ended.extend(episodes)
            return outcomes

        transitions, self._observation = rolled_out(
            self._observation,
            task.steps,
            decide=lambda observation: self._decide(observation, policy),
            step=step,
        )
        rows = task.layout.rows(transitions)
        idle_sec, self._ended_at = started - self._ended_at, time.perf_counter()
        return WorkerFragment(rows, ended, version, self._ended_at - started, idle_sec)

    def _decide(self, observation: np.ndarray, policy: ActingCopy | None) -> Decision:
        low, high = self._task.action_limits
        shape = (len(observation), len(low))
        if policy is None:
            return Decision(self._generator.uniform(low, high, shape).astype(np.float32))
        return policy.act(observation, self._generator.standard_normal(shape, np.float32))

    def _step(self, index: int, action: np.ndarray) -> EnvironmentStep:
        try:
            return self._environments[index].step(action)
        except Exception as error:
            said = str(error) if isinstance(error, RlEdgeError) else repr(error)
            raise SimulationError(
                f'worker {self._task.index} on {cluster.node_name()}, environment {index} (seed '
                f'{self._seeds[index]}, episode {self._episodes[index]} since, step '
                f'{self._open.lengths[index] + 1}): {said}'
            ) from error
