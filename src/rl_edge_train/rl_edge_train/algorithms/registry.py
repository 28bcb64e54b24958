"""Algorithms by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rl_edge_core.configuration import from_mapping
from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.errors import ConfigurationError
from rl_edge_train.agent import Agent
from rl_edge_train.algorithms.actor_critic import ActorCriticAgent, ActorCriticConfig
from rl_edge_train.algorithms.ddpg import DdpgAgent, DdpgConfig
from rl_edge_train.algorithms.ppo import PpoAgent, PpoConfig
from rl_edge_train.algorithms.sac import SacAgent, SacConfig
from rl_edge_train.algorithms.td3 import Td3Agent, Td3Config

ALGORITHMS: dict[str, tuple[type, type]] = {
    'actor_critic': (ActorCriticAgent, ActorCriticConfig),
    'ddpg': (DdpgAgent, DdpgConfig),
    'td3': (Td3Agent, Td3Config),
    'ppo': (PpoAgent, PpoConfig),
    'sac': (SacAgent, SacConfig),
}
ON_POLICY = ('ppo',)


def make_agent(
    algorithm: str, spec: EnvironmentSpec, settings: Mapping[str, Any], *, seed: int
) -> Agent:
    """Build the agent of an algorithm; errors for unknown names and settings list the valid."""
    if algorithm not in ALGORITHMS:
        raise ConfigurationError(
            f'unknown algorithm {algorithm!r}; valid are {", ".join(ALGORITHMS)}'
        )
    agent_type, config_type = ALGORITHMS[algorithm]
    agent: Agent = agent_type(spec, from_mapping(config_type, settings), seed=seed)
    return agent


def action_distribution(algorithm: str, settings: Mapping[str, Any]) -> tuple[str, float]:
    """Return what exploration samples from, and its standard deviation if it is constant."""
    if algorithm == 'sac':
        return 'squashed_gaussian', 0.0
    if algorithm in ('ddpg', 'td3'):
        return 'deterministic', from_mapping(ALGORITHMS[algorithm][1], settings).exploration_std
    return 'gaussian', 0.0
