"""The work that both sides do."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from rl_edge_core.configuration import from_mapping, to_mapping

SEED = 0


@dataclass(frozen=True)
class Task:
    """One algorithm with everything that both sides must share."""

    algorithm: str
    """`sac`, `td3` or `ppo`."""
    seconds: float = 60.0
    """Wall-clock time of a run that measures speed, from the first environment step on,
    compiling included."""
    total_steps: int = 0
    """Environment steps of a run that measures learning; 0 measures speed."""
    evaluate_every: int = 0
    """Environment steps between its evaluations."""
    compared_at: tuple[int, ...] = ()
    """Steps at which its returns are compared; multiples of `evaluate_every`."""
    seed: int = SEED
    """Of networks, samples and environments."""
    environment_id: str = 'Ant-v5'
    """All observations are used on both sides."""
    environments: int = 8
    """Environments stepped together."""
    widths: tuple[int, ...] = (256, 256)
    """Hidden layers of every network."""
    batch_size: int = 256
    """Transitions a gradient step: replay batch or minibatch."""
    updates_per_iteration: int = 4
    """SAC and TD3: updates while every environment takes one step."""
    warmup_steps: int = 1000
    """SAC and TD3: random steps before learning."""
    rollout_length: int = 256
    """PPO: steps of each environment a rollout."""
    epochs: int = 10
    """PPO: passes over a rollout."""
    normalize: bool = False
    """PPO: scale observations and rewards by running moments."""
    initial_log_std: float = 0.0
    """PPO: logarithm of the first standard deviation."""
    learning_rate: float = 3e-4
    """Of every network."""
    evaluation_episodes: int = 10
    """Deterministic episodes of an evaluation."""

    def to_json(self) -> str:
        """Return the task as text."""
        return json.dumps(to_mapping(self))

    @staticmethod
    def from_json(text: str) -> Task:
        """Read what `to_json` returned."""
        mapping: dict[str, Any] = json.loads(text)
        return from_mapping(Task, mapping)


@dataclass
class LearningCurve:
    """Returns that training reached, measured with the clock stopped."""

    steps: list[int]
    """Environment steps at each evaluation: the multiple of `evaluate_every` that was passed."""
    seconds: list[float]
    """Wall-clock time of training until then, evaluations left out."""
    returns: list[float]
    """Mean return of the deterministic policy."""


def cores() -> int:
    """Return the number of cores that this process may use: `taskset` gives a side fewer."""
    return len(os.sched_getaffinity(0))


TASKS = {'sac': Task('sac'), 'ppo': Task('ppo', batch_size=64)}
"""What is measured for its speed."""

LEARNING_TASKS = {
    # Without scaled rewards the two clip gradients differently: theirs over both networks, whose
    # value loss of some hundred squared then leaves the policy next to nothing; ours each alone.
    'ppo': Task(
        'ppo',
        batch_size=64,
        normalize=True,
        initial_log_std=-0.5,
        total_steps=500_000,
        evaluate_every=25_000,
        compared_at=(200_000, 500_000),
    ),
    'sac': Task('sac', total_steps=150_000, evaluate_every=10_000, compared_at=(50_000, 150_000)),
    'td3': Task('td3', total_steps=150_000, evaluate_every=10_000, compared_at=(50_000, 150_000)),
}
"""What is measured for what it learns."""
