"""Where a loop's transitions come from: local processes here, other machines in `cluster`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rl_edge_train.acting import Decision
from rl_edge_train.vector_environment import FinishedEpisode, VectorEnvironment

if TYPE_CHECKING:
    from rl_edge_train.algorithms.base import Agent


@dataclass(frozen=True)
class Fragment:
    """Successive transitions of environments that were stepped together."""

    rows: np.ndarray
    """(time, environments, width), packed by the agent's `TransitionLayout`."""
    episodes: list[FinishedEpisode]
    """Those that ended in it."""

    @property
    def flat_rows(self) -> np.ndarray:
        """Return the rows (time x environments, width), in the order of time."""
        return self.rows.reshape(-1, self.rows.shape[-1])


class Collector(ABC):
    """Acts with an agent's present policy and hands over what came of it."""

    stride: int
    """Rows between two successive transitions of one environment in `Fragment.flat_rows`."""

    @abstractmethod
    def start(self, *, random: bool = False) -> None:
        """Let the next fragment begin with the agent's present policy, or random actions."""

    @abstractmethod
    def finish(self) -> Fragment:
        """Wait for the next fragment; while it is collected, the agent may learn."""

    def metrics(self) -> dict[str, float]:
        """Return what a person should see of the collecting since the last call."""
        return {}

    def state(self) -> dict[str, Any]:
        """Return generator states as JSON values; none where the order of events decides."""
        return {}

    def load_state(self, state: Mapping[str, Any]) -> None:  # noqa: B027 (most have none)
        """Go on from what `state` returned."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the state of open episodes, by name; empty where it cannot be saved."""
        return {}

    @abstractmethod
    def load_arrays(self, arrays: Mapping[str, np.ndarray], *, first_seed: int) -> str:
        """Go on with what `arrays` returned; return what a person should know.

        Episodes that cannot go on start anew, with seeds from `first_seed` on.
        """

    @abstractmethod
    def close(self) -> None:
        """End the simulation."""


class LocalCollector(Collector):
    """Steps the environments of this machine's processes, all together."""

    def __init__(self, agent: Agent, environments: VectorEnvironment) -> None:
        """Take the parts ready made; the environments must have been reset."""
        self.agent, self.environments = agent, environments
        self.stride = environments.count

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the state of every environment in mid-episode."""
        return self.environments.arrays()

    def load_arrays(self, arrays: Mapping[str, np.ndarray], *, first_seed: int) -> str:
        """Put every environment where `arrays` found it, or start a fresh episode."""
        seeds: Sequence[int] = range(first_seed, first_seed + self.environments.count)
        if not arrays:
            self.environments.reset(seeds)
            return 'every episode starts anew'
        count = self.environments.count
        going_on = self.environments.load_arrays(arrays, fresh_seeds=seeds)
        if going_on == count:
            return ''
        return f'{count - going_on} of {count} open episodes could not be saved: they restart'

    def close(self) -> None:
        """End the simulation processes."""
        self.environments.close()


class StepCollector(LocalCollector):
    """Fragments of one step, for learning from replay: the agent learns while it is simulated."""

    def __init__(
        self,
        agent: Agent,
        environments: VectorEnvironment,
        *,
        action_limits: tuple[np.ndarray, np.ndarray],
        seed: int,
    ) -> None:
        """Take the parts ready made; random actions are uniform within `action_limits`."""
        super().__init__(agent, environments)
        self._action_limits = action_limits
        self._generator = np.random.default_rng([seed, 1])

    def start(self, *, random: bool = False) -> None:
        """Act on the present observations, which the agent's normaliser sees first."""
        self._observation = self.environments.observation
        self.agent.observe(self._observation)
        if random:
            low, high = self._action_limits
            shape = (len(self._observation), len(low))
            action = self._generator.uniform(low, high, shape).astype(np.float32)
            self._decision = Decision(action)
        else:
            self._decision = self.agent.act(self._observation, explore=True)
        self.environments.start_step(self._decision.action)

    def finish(self) -> Fragment:
        """Return the step that was started."""
        step = self.environments.finish_step()
        transitions = {
            'observation': self._observation,
            'action': self._decision.action,
            'reward': step.reward,
            'next_observation': step.next_observation,
            'terminated': step.terminated,
            'truncated': step.truncated,
            **self._decision.extras,
        }
        return Fragment(self.agent.layout.rows(transitions)[None], step.episodes)

    def state(self) -> dict[str, Any]:
        """Return the state of the generator of random actions."""
        return {'generator': self._generator.bit_generator.state}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        if 'generator' in state:  # a run that several machines collected for has none
            self._generator.bit_generator.state = state['generator']


class RolloutCollector(LocalCollector):
    """Fragments of many steps by one policy: each process acts for itself, and waits for none."""

    def __init__(self, agent: Agent, environments: VectorEnvironment, *, steps: int) -> None:
        """Take the parts ready made; a fragment has `steps` of every environment."""
        super().__init__(agent, environments)
        self._steps = steps

    def start(self, *, random: bool = False) -> None:
        """Send the agent's policy and its noise to the processes; actions are never `random`."""
        shape = (self.stride, self.agent.spec.action_size)
        noise = np.stack([self.agent.acting_noise(shape) for _ in range(self._steps)])
        self.environments.start_rollout(self.agent.acting_copy(), noise)

    def finish(self) -> Fragment:
        """Wait for the processes; return what they collected."""
        transitions, episodes = self.environments.finish_rollout()
        return Fragment(self.agent.layout.rows(transitions), episodes)
