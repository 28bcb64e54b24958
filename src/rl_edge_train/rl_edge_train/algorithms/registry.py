"""Algorithms by name, and what a manifest says of the networks that they train."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras

from rl_edge_compress.keras_models import describe_network
from rl_edge_core.artifact import Network
from rl_edge_core.configuration import from_mapping
from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.errors import ConfigurationError
from rl_edge_train.algorithms.actor_critic import ActorCriticAgent, ActorCriticConfig
from rl_edge_train.algorithms.base import Agent, AgentConfig
from rl_edge_train.algorithms.deterministic import DdpgConfig, DeterministicAgent, Td3Config
from rl_edge_train.algorithms.ppo import PpoAgent, PpoConfig
from rl_edge_train.algorithms.sac import SacAgent, SacConfig
from rl_edge_train.run_config import RunConfig

ALGORITHMS: dict[str, tuple[type, type[AgentConfig]]] = {
    'actor_critic': (ActorCriticAgent, ActorCriticConfig),
    'ddpg': (DeterministicAgent, DdpgConfig),
    'td3': (DeterministicAgent, Td3Config),
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


def network_of(model: keras.Model, run: RunConfig, spec: EnvironmentSpec) -> Network:
    """Describe an actor-critic that `run` trained, with how it explores and what it sees."""
    config = agent_config(run.algorithm, run.agent)
    inputs = config.inputs_of(spec)
    distribution, exploration_std = 'gaussian', 0.0
    if isinstance(config, DdpgConfig):
        distribution, exploration_std = 'deterministic', config.exploration_std
    elif isinstance(config, SacConfig):
        distribution = 'squashed_gaussian'
    return dataclasses.replace(
        describe_network(model),
        action_distribution=distribution,
        exploration_std=exploration_std,
        selected_observations=0 if inputs == spec.observation_size else inputs,
    )
