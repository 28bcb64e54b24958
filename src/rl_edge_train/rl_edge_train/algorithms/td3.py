"""Twin delayed deep deterministic policy gradient (Fujimoto 2018)."""

from __future__ import annotations

from dataclasses import dataclass

from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_train.algorithms.deterministic import DdpgConfig, DeterministicAgent, TargetRules


@dataclass(frozen=True)
class Td3Config(DdpgConfig):
    """Hyper-parameters of twin delayed DDPG: those of DDPG and three more."""

    policy_delay: int = 2
    """Critic updates for one update of the actor and the targets."""
    smoothing_std: float = 0.2
    """Noise on the target action, as a share of half the action range."""
    smoothing_limit: float = 0.5
    """Largest size of that noise."""


class Td3Agent(DeterministicAgent):
    """Two critics, delayed actor, smoothed target actions."""

    def __init__(self, spec: EnvironmentSpec, config: Td3Config, *, seed: int) -> None:
        """Build networks and optimizers; the same seed gives the same weights and samples."""
        rules = TargetRules(
            critics=2,
            policy_delay=config.policy_delay,
            smoothing_std=config.smoothing_std,
            smoothing_limit=config.smoothing_limit,
        )
        super().__init__(spec, config, rules, seed=seed)
