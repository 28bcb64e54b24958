"""How an agent acts, as arrays: what a machine needs that collects for it, and no TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rl_edge_train.acting import Decision, NumpyNetwork, gaussian_log_prob
from rl_edge_train.action_scale import ActionScale


@dataclass(frozen=True)
class ActingCopy:
    """An agent's exploring policy at one moment; each algorithm's `act` says the same."""

    algorithm: str
    actor: NumpyNetwork
    inputs: int
    """Leading observation values that the actor sees."""
    offset: np.ndarray
    """(inputs,), subtracted from what the actor sees."""
    factor: np.ndarray
    """(inputs,), multiplied with that; with the offset it is the agent's normaliser."""
    clip: float
    """Largest size of a normalised value; infinite without a normaliser."""
    scale: ActionScale
    low: np.ndarray
    high: np.ndarray
    """Limits of the environment's actions."""
    deviation: np.ndarray
    """Logarithm of the standard deviation of Gaussian policies, of the noise itself for
    deterministic ones, its two limits for soft actor-critic."""
    mean_scale: float = 1.0
    squashed_mean: bool = False

    def act(self, observation: np.ndarray, noise: np.ndarray) -> Decision:
        """Return actions for observations (batch, observation_size), explored by normal noise."""
        seen = np.ascontiguousarray(observation[:, : self.inputs], np.float32)
        if np.isfinite(self.clip):
            seen = np.clip((seen - self.offset) * self.factor, -self.clip, self.clip)
        output = self.actor(seen)
        if self.algorithm == 'sac':
            mean, log_std = np.split(output, 2, axis=-1)
            sample = mean + np.exp(np.clip(log_std, *self.deviation)) * noise
            return Decision(self.scale.to_environment(np.tanh(sample)))
        if self.algorithm in ('ddpg', 'td3'):
            sample = np.tanh(output) + self.deviation * noise
            return Decision(self.scale.to_environment(np.clip(sample, -1.0, 1.0)))
        mean = self.mean_scale * (np.tanh(output) if self.squashed_mean else output)
        sample = mean + np.exp(self.deviation) * noise
        extras = {'sample': sample, 'log_prob': gaussian_log_prob(noise, self.deviation)}
        if self.algorithm == 'actor_critic':
            return Decision(self.scale.to_environment(np.clip(sample, -1.0, 1.0)), extras)
        action = self.scale.to_environment(sample)
        return Decision(np.clip(action, self.low, self.high), extras)


def acting_copy(agent: Any, algorithm: str) -> ActingCopy:
    """Copy how an agent explores now; later updates do not reach the copy."""
    from rl_edge_train.normalizer import CLIP  # not on the machines that collect: TensorFlow

    config, normalizer = agent.config, agent.normalizer
    factor = 1.0 / np.sqrt(normalizer.variance())
    if algorithm == 'sac':
        deviation = np.array([config.log_std_minimum, config.log_std_maximum])
    elif algorithm in ('ddpg', 'td3'):
        deviation = np.array(config.exploration_std, np.float32)
    else:
        deviation = agent.log_std.numpy()
    is_normalized = normalizer.enabled
    ones = np.ones(agent.inputs, np.float32)
    return ActingCopy(
        algorithm=algorithm,
        actor=NumpyNetwork(agent.actor),
        inputs=agent.inputs,
        offset=normalizer.mean.astype(np.float32) if is_normalized else 0 * ones,
        factor=factor.astype(np.float32) if is_normalized else ones,
        clip=CLIP if is_normalized else np.inf,
        scale=agent.scale,
        low=agent.spec.low,
        high=agent.spec.high,
        deviation=deviation,
        mean_scale=getattr(config, 'action_scale', 1.0),
        squashed_mean=algorithm == 'actor_critic' or getattr(config, 'squashed_mean', False),
    )
