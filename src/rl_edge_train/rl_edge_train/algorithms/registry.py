"""Algorithms by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rl_edge_core.configuration import from_mapping
from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.errors import ConfigurationError
from rl_edge_train.agent import Agent
from rl_edge_train.algorithms.actor_critic import ActorCriticAgent, ActorCriticConfig
from rl_edge_train.algorithms.base import AgentConfig
from rl_edge_train.algorithms.ddpg import DdpgAgent, DdpgConfig
from rl_edge_train.algorithms.ppo import PpoAgent, PpoConfig
from rl_edge_train.algorithms.sac import SacAgent, SacConfig
from rl_edge_train.algorithms.td3 import Td3Agent, Td3Config

ALGORITHMS: dict[str, tuple[type, type[AgentConfig]]] = {
    'actor_critic': (ActorCriticAgent, ActorCriticConfig),
    'ddpg': (DdpgAgent, DdpgConfig),
    'td3': (Td3Agent, Td3Config),
    'ppo': (PpoAgent, PpoConfig),
    'sac': (SacAgent, SacConfig),
}


def make_agent(
    algorithm: str, spec: EnvironmentSpec, settings: Mapping[str, Any], *, seed: int
) -> Agent:
    """Build the agent of an algorithm; errors for unknown names and settings list the valid."""
    config = agent_config(algorithm, settings)
    agent: Agent = ALGORITHMS[algorithm][0](spec, config, seed=seed)
    return agent


def agent_config(algorithm: str, settings: Mapping[str, Any]) -> AgentConfig:
    """Return the configuration of an algorithm; unknown names and settings are errors."""
    if algorithm not in ALGORITHMS:
        raise ConfigurationError(
            f'unknown algorithm {algorithm!r}; valid are {", ".join(ALGORITHMS)}'
        )
    return from_mapping(ALGORITHMS[algorithm][1], settings)


def action_distribution(algorithm: str, settings: Mapping[str, Any]) -> tuple[str, float]:
    """Return what exploration samples from, and its standard deviation if it is constant."""
    config = agent_config(algorithm, settings)
    if isinstance(config, DdpgConfig):
        return 'deterministic', config.exploration_std
    return ('squashed_gaussian' if isinstance(config, SacConfig) else 'gaussian'), 0.0
