"""The work that both sides do."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from rl_edge_core.configuration import from_mapping, to_mapping

SEED = 0


@dataclass(frozen=True)
class Task:
    """One algorithm with everything that both sides must share."""

    algorithm: str
    """`sac` or `ppo`."""
    seconds: float
    """Wall-clock time of the run, from the first environment step on, compiling included."""
    environment_id: str = 'Ant-v5'
    """All observations are used on both sides."""
    environments: int = 8
    """Environments stepped together."""
    widths: tuple[int, ...] = (256, 256)
    """Hidden layers of every network."""
    batch_size: int = 256
    """Transitions a gradient step: replay batch or minibatch."""
    updates_per_iteration: int = 4
    """SAC: updates while every environment takes one step."""
    warmup_steps: int = 1000
    """SAC: random steps before learning."""
    rollout_length: int = 256
    """PPO: steps of each environment a rollout."""
    epochs: int = 10
    """PPO: passes over a rollout."""
    learning_rate: float = 3e-4
    """Of every network."""
    evaluation_episodes: int = 10
    """Deterministic episodes after the time is up."""

    def to_json(self) -> str:
        """Return the task as text."""
        return json.dumps(to_mapping(self))

    @staticmethod
    def from_json(text: str) -> Task:
        """Read what `to_json` returned."""
        mapping: dict[str, Any] = json.loads(text)
        return from_mapping(Task, mapping)


TASKS = {
    'sac': Task('sac', 60.0),
    'ppo': Task('ppo', 60.0, batch_size=64),
}
