"""Exported networks: raw observation in, action in the limits of the environment and value out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import keras
import numpy as np

from rl_edge_compress.keras_models import CRITIC_INPUT, SCALED_ACTION
from rl_edge_train.acting import ActionScale

if TYPE_CHECKING:
    from rl_edge_train.algorithms.base import Agent


def network_observation(agent: Agent) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Return the raw input (batch, size), and what the networks see of it (batch, inputs)."""
    size = agent.spec.observation_size
    source = keras.Input((size,), name='observation')
    selected = source[:, : agent.inputs] if agent.inputs < size else source
    return source, agent.normalizer.exported(selected)


def scaled_action(scale: ActionScale, action: keras.KerasTensor) -> keras.KerasTensor:
    """Map network actions to the limits of the environment."""
    return keras.layers.Rescaling(
        scale.half_range.tolist(), offset=scale.centre.tolist(), name=SCALED_ACTION
    )(action)


def smallest_mean_q(
    critics: Sequence[keras.Model], observation: keras.KerasTensor, action: keras.KerasTensor
) -> keras.KerasTensor:
    """Return the smallest Q (batch, 1) over the critics; quantiles count by their mean."""
    inputs = keras.layers.Concatenate(name=CRITIC_INPUT)([observation, action])
    values = [keras.ops.mean(critic(inputs), axis=-1, keepdims=True) for critic in critics]
    value = values[0]
    for other in values[1:]:
        value = keras.ops.minimum(value, other)
    return keras.layers.Identity(name='value')(value)


def squashed_gaussian_model(
    agent: Agent, critics: Sequence[keras.Model], *, log_std_limits: tuple[float, float]
) -> keras.Model:
    """Build raw observation -> action, value (the smaller Q at that action) and log_std.

    The actor gives mean and log_std side by side; the action is the squashed mean.
    """
    source, observation = network_observation(agent)
    mean, log_std = _separate_heads(agent.actor, observation)
    squashed = keras.layers.Activation('tanh', name='squashed')(mean)
    outputs = {
        'action': scaled_action(agent.scale, squashed),
        'value': smallest_mean_q(critics, observation, squashed),
        'log_std': keras.layers.Identity(name='log_std')(keras.ops.clip(log_std, *log_std_limits)),
    }
    return keras.Model(source, outputs, name='policy')


def _separate_heads(
    actor: keras.Model, observation: keras.KerasTensor
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Return mean and log_std, each from a dense layer of its own with a copy of its weights.

    So the compressed actor does not carry the half of the head that only exploration needs.
    """
    head = actor.layers[-1]
    hidden = keras.Model(actor.inputs, head.input, name='actor_trunk')(observation)
    outputs = []
    for index, name in enumerate(('action_mean', 'unclipped_log_std')):
        columns = slice(index * head.units // 2, (index + 1) * head.units // 2)
        layer = keras.layers.Dense(head.units // 2, name=name)
        outputs.append(layer(hidden))
        layer.kernel.assign(head.kernel[:, columns])
        layer.bias.assign(head.bias[columns])
    return outputs[0], outputs[1]


def gaussian_model(
    agent: Agent,
    critic: keras.Model,
    *,
    log_std: np.ndarray,
    mean_scale: float = 1.0,
    squashed_mean: bool = False,
) -> keras.Model:
    """Build raw observation -> action (the mean, cut to the limits), value and log_std.

    `log_std` (action_size,) is of network actions in [-1, 1], and so it is exported: policy nodes
    explore in half action ranges.
    """
    source, observation = network_observation(agent)
    mean = agent.actor(observation)
    if squashed_mean:
        mean = keras.layers.Activation('tanh', name='squashed_mean')(mean)
    if mean_scale != 1.0:
        mean = keras.layers.Rescaling(mean_scale, name='mean_scale')(mean)
    scaled = keras.layers.Rescaling(
        agent.scale.half_range.tolist(), offset=agent.scale.centre.tolist(), name='scaled_mean'
    )(mean)
    low, high = (np.asarray(limit, np.float32) for limit in (agent.spec.low, agent.spec.high))
    limited = keras.ops.minimum(keras.ops.maximum(scaled, low), high)
    action = keras.layers.Identity(name='action')(limited)
    # A state-independent output: nothing of the mean, plus the constant.
    constant = keras.layers.Rescaling(0.0, offset=log_std.tolist(), name='log_std')(mean)
    value = keras.layers.Identity(name='value')(critic(observation))
    return keras.Model(
        source, {'action': action, 'value': value, 'log_std': constant}, name='policy'
    )


def deterministic_model(agent: Agent, critics: Sequence[keras.Model]) -> keras.Model:
    """Build raw observation -> action and value (the smaller Q at that action).

    The actor ends in a linear head; tanh squashes it.
    """
    source, observation = network_observation(agent)
    squashed = keras.layers.Activation('tanh', name='squashed')(agent.actor(observation))
    outputs = {
        'action': scaled_action(agent.scale, squashed),
        'value': smallest_mean_q(critics, observation, squashed),
    }
    return keras.Model(source, outputs, name='policy')
