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
    """Step the environments of this machine's processes, all together."""

    def __init__(
        self,
        agent: Agent,
        environments: VectorEnvironment,
        *,
        steps: int,
        observes: bool,
        action_limits: tuple[np.ndarray, np.ndarray],
        seed: int,
    ) -> None:
        """Take the parts ready made; the environments must have been reset.

        A fragment has `steps` of every environment. `observes`: the agent's normaliser sees each
        observation before it is acted on. Random actions are uniform within `action_limits`.
        """
        self.agent, self.environments = agent, environments
        self.stride = environments.count
        self._steps, self._observes = steps, observes
        self._action_limits = action_limits
        self._generator = np.random.default_rng([seed, 1])

    def start(self, *, random: bool = False) -> None:
        """Act on the present observations; the simulation runs while the caller goes on."""
        self._observation = self.environments.observation
        if self._observes:
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
        """Return the step that was started, and as many more as a fragment has."""
        transitions: list[dict[str, np.ndarray]] = []
        episodes: list[FinishedEpisode] = []
        for _ in range(self._steps - 1):
            transitions.append(self._finish_step(episodes))
            self.start()
        transitions.append(self._finish_step(episodes))
        # Packed together: step by step it would take longer than acting.
        together = {n: np.concatenate([one[n] for one in transitions]) for n in transitions[0]}
        rows = self.agent.layout.rows(together)
        return Fragment(rows.reshape(self._steps, self.stride, -1), episodes)

    def _finish_step(self, episodes: list[FinishedEpisode]) -> dict[str, np.ndarray]:
        step = self.environments.finish_step()
        episodes += step.episodes
        return {
            'observation': self._observation,
            'action': self._decision.action,
            'reward': step.reward,
            'next_observation': step.next_observation,
            'terminated': step.terminated,
            'truncated': step.truncated,
            **self._decision.extras,
        }

    def state(self) -> dict[str, Any]:
        """Return the state of the generator of random actions."""
        return {'generator': self._generator.bit_generator.state}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        if 'generator' in state:  # a run that several machines collected for has none
            self._generator.bit_generator.state = state['generator']

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
