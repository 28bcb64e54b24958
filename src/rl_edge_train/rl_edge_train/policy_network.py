"""What the manifest says about the network of a policy."""

from __future__ import annotations

import dataclasses

import keras

from rl_edge_compress.keras_models import describe_network
from rl_edge_core.artifact import Network
from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_train.algorithms.registry import action_distribution, agent_config
from rl_edge_train.run_config import RunConfig


def network_of(model: keras.Model, config: RunConfig, spec: EnvironmentSpec) -> Network:
    """Describe an actor-critic that `config` trained, with how it explores and what it sees."""
    inputs = agent_config(config.algorithm, config.agent).inputs_of(spec)
    distribution, exploration_std = action_distribution(config.algorithm, config.agent)
    return dataclasses.replace(
        describe_network(model),
        action_distribution=distribution,
        exploration_std=exploration_std,
        selected_observations=0 if inputs == spec.observation_size else inputs,
    )
