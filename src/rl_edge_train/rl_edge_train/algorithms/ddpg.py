"""Deep deterministic policy gradient (Lillicrap 2015)."""

from __future__ import annotations

from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_train.algorithms.deterministic import DdpgConfig, DeterministicAgent, TargetRules

__all__ = ['DdpgAgent', 'DdpgConfig']


class DdpgAgent(DeterministicAgent):
    """One critic, one target for each network, every update moves both networks."""

    def __init__(self, spec: EnvironmentSpec, config: DdpgConfig, *, seed: int) -> None:
        """Build networks and optimizers; the same seed gives the same weights and samples."""
        rules = TargetRules(critics=1, policy_delay=1, smoothing_std=0.0, smoothing_limit=0.0)
        super().__init__(spec, config, rules, seed=seed)
