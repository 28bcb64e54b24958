"""The two loops, collecting and learning: from replay, or from what the newest policy did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rl_edge_train.collector import Collector
from rl_edge_train.replay_journal import ReplayStore
from rl_edge_train.vector_environment import FinishedEpisode

if TYPE_CHECKING:
    from rl_edge_train.algorithms.base import Agent

ON_POLICY = ('ppo',)
"""Algorithms that learn from whole rollouts of the policy that they update."""


@dataclass(frozen=True)
class LoopReport:
    """What one iteration brought."""

    episodes: list[FinishedEpisode]
    metrics: Mapping[str, float] = field(default_factory=dict)


class Loop:
    """Collects with an agent and lets it learn, one iteration at a time."""

    def __init__(self, agent: Agent, collector: Collector, *, total_steps: int) -> None:
        self.agent, self.collector = agent, collector
        self.total_steps = total_steps
        self.steps = 0

    def iterate(self) -> LoopReport:
        """Take the next steps and the updates that belong to them."""
        raise NotImplementedError

    def state(self) -> dict[str, Any]:
        """Return counts and generator states as JSON values, with everything on disk."""
        return {'steps': self.steps}

    def load_state(self, state: Mapping[str, Any]) -> str:
        """Go on from `state`; return what a person should know."""
        self.steps = state['steps']
        return 'no open rollout: checkpoints lie between rollouts'

    def after_checkpoint(self) -> None:
        """Tidy up what only older checkpoints needed."""

    def close(self) -> None:
        """Close files."""


@dataclass(frozen=True)
class OffPolicyConfig:
    """Schedule of collecting and learning."""

    environments: int = 16
    """Environments stepped together."""
    updates_per_iteration: int = 4
    """Updates while all environments take one step; updates per step are this by environments."""
    batch_size: int = 256
    """Transitions per update, in sequences where the algorithm wants them."""
    warmup_steps: int = 10_000
    """Steps with uniformly random actions before learning starts."""
    replay_capacity: int = 1_000_000
    """Newest transitions that are kept."""


class OffPolicyLoop(Loop):
    """Let the agent learn from the replay buffer while the next transitions are collected."""

    def __init__(
        self,
        agent: Agent,
        collector: Collector,
        config: OffPolicyConfig,
        *,
        total_steps: int,
        seed: int,
        folder: Path,
    ) -> None:
        """Set up buffer and journal in `folder`."""
        super().__init__(agent, collector, total_steps=total_steps)
        self.config = config
        self.replay = ReplayStore(
            agent.layout, capacity=config.replay_capacity, seed=seed, folder=folder
        )
        self._rounds_due = 1.0
        """Rounds of `updates_per_iteration` that the last fragment called for."""

    def iterate(self) -> LoopReport:
        """Collect a fragment; learn meanwhile from what was there before.

        A fragment calls for as many updates per transition as the preset says, whatever its size.
        """
        self.agent.set_progress(self.steps / self.total_steps)
        self.collector.start(random=self.steps < self.config.warmup_steps)
        metrics = self._learn()
        fragment = self.collector.finish()
        self.replay.add_rows(fragment.flat_rows)
        self.steps += len(fragment.flat_rows)
        self._rounds_due += len(fragment.flat_rows) / self.config.environments
        return LoopReport(fragment.episodes, metrics)

    def _learn(self) -> dict[str, float]:
        rounds, self._rounds_due = int(self._rounds_due), self._rounds_due % 1.0
        config, length = self.config, self.agent.sequence_length
        wanted = max(config.batch_size, self.collector.stride * length)
        if len(self.replay) < wanted or self.steps < config.warmup_steps or not rounds:
            return {}
        measured = [self.agent.update(self._sampled(length)) for _ in range(rounds)]
        return {name: sum(one[name] for one in measured) / rounds for name in measured[0]}

    def _sampled(self, length: int) -> np.ndarray:
        config = self.config
        if length == 1:
            return self.replay.sample(config.updates_per_iteration, config.batch_size)
        return self.replay.sample_sequences(
            config.updates_per_iteration,
            max(1, config.batch_size // length),
            length=length,
            stride=self.collector.stride,
        )

    def state(self) -> dict[str, Any]:
        """Return counts and generator states as JSON values, with the replay on disk."""
        return {**super().state(), **self.collector.state(), **self.replay.state()}

    def after_checkpoint(self) -> None:
        """Drop replay segments that no kept checkpoint needs."""
        self.replay.after_checkpoint()

    def load_state(self, state: Mapping[str, Any]) -> str:
        """Go on from `state`; return what a person should know about the replay."""
        self.steps = state['steps']
        self.collector.load_state(state)
        return self.replay.load_state(state)

    def close(self) -> None:
        """Close the files."""
        self.replay.close()


@dataclass(frozen=True)
class OnPolicyConfig:
    """Schedule of collecting and learning."""

    environments: int = 16
    """Environments stepped together."""
    rollout_length: int = 256
    """Steps of each environment between updates."""


class OnPolicyLoop(Loop):
    """Collect rollouts, each one fragment of the collector, and let the agent learn from it once.

    Checkpoints lie between rollouts, so that none is open in them.
    """

    def iterate(self) -> LoopReport:
        """Collect one rollout and learn from it."""
        self.collector.start()
        rollout = self.collector.finish()
        self.steps += len(rollout.flat_rows)
        self.agent.set_progress(self.steps / self.total_steps)
        return LoopReport(rollout.episodes, self.agent.update(rollout.rows))
