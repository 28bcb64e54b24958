"""Learn from transitions that somebody else collects, and export the policy that comes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rl_edge_core.archive import pack_artifact
from rl_edge_core.artifact import FULL_RECIPE
from rl_edge_core.configuration import from_mapping
from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.errors import ConfigurationError
from rl_edge_core.tensorflow_setup import load_tensorflow
from rl_edge_core.wording import counted
from rl_edge_train import checkpoint
from rl_edge_train.loops import ON_POLICY, OffPolicyConfig
from rl_edge_train.replay_journal import ReplayStore
from rl_edge_train.run_config import RunConfig

if TYPE_CHECKING:
    from rl_edge_train.algorithms.base import Agent

MOST_UPDATES_BEHIND = 1000
"""Updates that may be owed when transitions come faster than they are learned from; others are
forgone."""


class OnlineLearner:
    """An off-policy agent, its replay, and the updates that are due. Not safe for threads."""

    def __init__(self, agent: Agent, config: OffPolicyConfig, *, seed: int, folder: Path) -> None:
        """Take the agent ready made; journal and checkpoints are written below `folder`."""
        self.agent, self.config, self.folder = agent, config, folder
        self.transitions = 0
        self.updates = 0
        self._owed = 0.0
        self.store = ReplayStore(
            agent.layout, capacity=config.replay_capacity, seed=seed, folder=folder
        )

    def add(self, transitions: Mapping[str, np.ndarray]) -> None:
        """Store a batch of transitions; each array (batch, ...), observations raw."""
        self.agent.observe(transitions['observation'])
        before = max(self.transitions, self.config.warmup_steps)
        self.transitions += len(self.store.add(transitions))
        owed = self._owed + max(0, self.transitions - before) * self.updates_per_transition
        self._owed = min(owed, MOST_UPDATES_BEHIND)

    @property
    def is_due(self) -> bool:
        """Return whether a round of updates is owed and can be made."""
        return (
            self._owed >= self.config.updates_per_iteration
            and len(self.store) >= self.config.batch_size
        )

    @property
    def updates_owed(self) -> float:
        """Return how many updates the stored transitions still call for."""
        return self._owed

    @property
    def updates_per_transition(self) -> float:
        """Return how many updates a transition calls for."""
        return self.config.updates_per_iteration / self.config.environments

    def warm_up(self) -> None:
        """Compile a round of updates, which takes seconds; nothing that is learned changes."""
        before = self.agent.arrays()
        shape = (
            self.config.updates_per_iteration,
            self.config.batch_size,
            self.agent.layout.width,
        )
        self.agent.update(np.zeros(shape, np.float32))
        self.agent.load_arrays(before)

    def learn(self) -> dict[str, float]:
        """Make one round of updates; return the agent's metrics.

        Raise FloatingPointError, before anything of it is saved, when a metric is not finite.
        """
        count = self.config.updates_per_iteration
        metrics = self.agent.update(self.store.sample(count, self.config.batch_size))
        self._owed -= count
        self.updates += count
        for name, value in metrics.items():
            if not np.isfinite(value):
                raise FloatingPointError(
                    f'{name} became {value} after {counted(self.updates, "update")}: lower the '
                    f'learning rates or scale the rewards, then resume from {self.folder}'
                )
        return metrics

    def save_checkpoint(self) -> Path:
        """Write a checkpoint of everything; raise StorageError when it can't be written."""
        state = {
            'transitions': self.transitions,
            'updates': self.updates,
            'owed': self._owed,
            **self.store.state(),
        }
        content = checkpoint.Checkpoint(self.transitions, state, self.agent.arrays())
        path = checkpoint.write(self.folder / 'checkpoints', content)
        self.store.after_checkpoint()
        return path

    def resume(self) -> str:
        """Go on from the newest whole checkpoint; return what a person should know."""
        content, faults = checkpoint.read_newest(self.folder / 'checkpoints')
        self.agent.load_arrays(content.arrays)
        self.transitions = content.state['transitions']
        self.updates = content.state['updates']
        self._owed = content.state['owed']
        said = self.store.load_state(content.state)
        return '; '.join(
            [*faults, f'resumed after {counted(self.transitions, "transition")} with {said}']
        )

    def close(self) -> None:
        """Close the files."""
        self.store.close()


def check_algorithm(algorithm: str) -> None:
    """Raise ConfigurationError for an algorithm that can't learn from recorded transitions."""
    if algorithm in ON_POLICY:
        raise ConfigurationError(
            f'{algorithm} learns on-policy: it needs whole rollouts of the policy that it '
            'updates, which transitions of several policies are not; use sac, td3 or ddpg here, '
            f'or train {algorithm} with python -m rl_edge_train train'
        )
    if algorithm == 'actor_critic':
        raise ConfigurationError(
            'actor_critic needs the log-probability of each action under the policy that took it, '
            'which a Transition does not carry; use sac, td3 or ddpg here, or train it with '
            'python -m rl_edge_train train'
        )


def make_learner(
    run: RunConfig, spec: EnvironmentSpec, *, seed: int, folder: Path
) -> OnlineLearner:
    """Build the learner of a preset for the environment that the robots announce."""
    # Late: the thread that learns alone waits for TensorFlow.
    load_tensorflow()
    from rl_edge_train.algorithms.registry import make_agent

    check_algorithm(run.algorithm)
    agent = make_agent(run.algorithm, spec, run.agent, seed=seed)
    return OnlineLearner(agent, from_mapping(OffPolicyConfig, run.loop), seed=seed, folder=folder)


def stack_transitions(transitions: list[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Return arrays (batch, ...) of a list of single transitions."""
    return {name: np.stack([one[name] for one in transitions]) for name in transitions[0]}


@dataclass(frozen=True)
class ExportedPolicy:
    """A policy ready to be sent."""

    model_hash: str
    """SHA-256 (hex) of the Keras file."""
    archive: bytes
    """The packed artifact, as load_model takes it."""


def export_online_policy(
    learner: OnlineLearner, spec: EnvironmentSpec, *, run: RunConfig, out: Path
) -> ExportedPolicy:
    """Write the Keras actor-critic as artifact `out`, whole or not at all, and pack it.

    Compressed files are left to the end of training: a policy that explores is never compressed.
    """
    # Imported late: TensorFlow comes with them.
    from rl_edge_compress.export import export_artifact
    from rl_edge_train.algorithms.registry import network_of

    model = learner.agent.policy_model()
    manifest = export_artifact(
        model,
        spec=spec,
        name=f'{spec.environment_id}/online_{run.algorithm}',
        out=out,
        algorithm=run.algorithm,
        training={'transitions': learner.transitions, 'updates': learner.updates},
        network=network_of(model, run, spec),
        recipes=(),
    )
    return ExportedPolicy(manifest.entry(FULL_RECIPE).sha256, pack_artifact(out, [FULL_RECIPE]))
