"""The loop of algorithms that learn from replay: simulation and updates run side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rl_edge_train.agent import Agent, Decision
from rl_edge_train.loop import LoopReport, transitions_of
from rl_edge_train.replay_store import ReplayStore
from rl_edge_train.vector_environment import VectorEnvironment


@dataclass(frozen=True)
class OffPolicyConfig:
    """Schedule of collecting and learning."""

    environments: int = 16
    """Environments stepped together."""
    updates_per_iteration: int = 4
    """Updates while all environments take one step; updates a step are this by environments."""
    batch_size: int = 256
    """Transitions an update, in sequences where the algorithm wants them."""
    warmup_steps: int = 10_000
    """Steps with uniformly random actions before learning starts."""
    replay_capacity: int = 1_000_000
    """Newest transitions that are kept."""


class OffPolicyLoop:
    """Collect transitions with an agent and let it learn from the replay buffer."""

    def __init__(
        self,
        agent: Agent,
        environments: VectorEnvironment,
        config: OffPolicyConfig,
        *,
        action_limits: tuple[np.ndarray, np.ndarray],
        total_steps: int,
        seed: int,
        folder: Path,
    ) -> None:
        """Set up buffer and journal in `folder`; the environments must have been reset."""
        self.agent, self.environments, self.config = agent, environments, config
        self.total_steps = total_steps
        self.steps = 0
        self.replay = ReplayStore(
            agent.layout, capacity=config.replay_capacity, seed=seed, folder=folder
        )
        self._action_limits = action_limits
        self._generator = np.random.default_rng([seed, 1])

    def iterate(self) -> LoopReport:
        """Step every environment once; learn meanwhile from what was there before."""
        observation = self.environments.observation
        self.agent.observe(observation)
        self.agent.set_progress(self.steps / self.total_steps)
        decision = self._decide(observation)
        self.environments.start_step(decision.action)
        metrics = self._learn()
        step = self.environments.finish_step()
        self.steps += self.replay.add(transitions_of(observation, decision, step))
        return LoopReport(step.episodes, metrics)

    def _decide(self, observation: np.ndarray) -> Decision:
        if self.steps >= self.config.warmup_steps:
            return self.agent.act(observation, explore=True)
        low, high = self._action_limits
        shape = (len(observation), len(low))
        return Decision(self._generator.uniform(low, high, shape).astype(np.float32))

    def _learn(self) -> dict[str, float]:
        config, length = self.config, self.agent.sequence_length
        if len(self.replay) < max(config.batch_size, config.environments * length):
            return {}
        if self.steps < config.warmup_steps:
            return {}
        if length == 1:
            rows = self.replay.sample(config.updates_per_iteration, config.batch_size)
        else:
            sequences = max(1, config.batch_size // length)
            rows = self.replay.sample_sequences(
                config.updates_per_iteration, sequences, length=length, stride=config.environments
            )
        return self.agent.update(rows)

    def state(self) -> dict[str, Any]:
        """Return counts and generator states as JSON values, with the replay on disk."""
        return {
            'steps': self.steps,
            'generator': self._generator.bit_generator.state,
            **self.replay.state(),
        }

    def after_checkpoint(self) -> None:
        """Drop replay segments that no kept checkpoint needs."""
        self.replay.after_checkpoint()

    def load_state(self, state: Mapping[str, Any]) -> str:
        """Go on from `state`; return what a person should know about the replay."""
        self.steps = state['steps']
        self._generator.bit_generator.state = state['generator']
        return self.replay.load_state(state)

    def close(self) -> None:
        """Close the files."""
        self.replay.close()
