"""The loop of algorithms that learn from what the newest policy collected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rl_edge_train.agent import Agent
from rl_edge_train.loop import LoopReport, transitions_of
from rl_edge_train.vector_environment import FinishedEpisode, VectorEnvironment


@dataclass(frozen=True)
class OnPolicyConfig:
    """Schedule of collecting and learning."""

    environments: int = 16
    """Environments stepped together."""
    rollout_length: int = 256
    """Steps of each environment between updates."""


class OnPolicyLoop:
    """Collect rollouts and let the agent learn from each one once."""

    def __init__(
        self,
        agent: Agent,
        environments: VectorEnvironment,
        config: OnPolicyConfig,
        *,
        total_steps: int,
    ) -> None:
        """Take the parts ready made; the environments must have been reset."""
        self.agent, self.environments, self.config = agent, environments, config
        self.total_steps = total_steps
        self.steps = 0

    def iterate(self) -> LoopReport:
        """Collect one rollout and learn from it."""
        rows, episodes = self._collect()
        self.steps += rows.shape[0] * rows.shape[1]
        self.agent.set_progress(self.steps / self.total_steps)
        return LoopReport(episodes, self.agent.update(rows))

    def _collect(self) -> tuple[np.ndarray, list[FinishedEpisode]]:
        """Return rows (time, environments, width) and the episodes that ended."""
        steps, episodes = [], []
        observation = self.environments.observation
        for _ in range(self.config.rollout_length):
            decision = self.agent.act(observation, explore=True)
            self.environments.start_step(decision.action)
            step = self.environments.finish_step()
            steps.append(transitions_of(observation, decision, step))
            episodes += step.episodes
            observation = self.environments.observation
        # Packed together: row by row it would take longer than acting.
        rollout = {name: np.concatenate([one[name] for one in steps]) for name in steps[0]}
        rows = self.agent.layout.rows(rollout)
        return rows.reshape(len(steps), self.environments.count, -1), episodes

    def state(self) -> dict[str, Any]:
        """Return the counts as JSON values."""
        return {'steps': self.steps}

    def load_state(self, state: Mapping[str, Any]) -> str:
        """Go on from `state`."""
        self.steps = state['steps']
        return 'no open rollout: checkpoints lie between rollouts'

    def after_checkpoint(self) -> None:
        """Have nothing to tidy up."""

    def close(self) -> None:
        """Have nothing to close."""
