"""Exploration for training: the full model's action distribution, sampled by address."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from rl_edge_core.errors import ConfigurationError
from rl_edge_policy.policy import Policy, limited_action

LARGEST_SQUASHED = 1.0 - 1.0e-6
"""Where a saturated mean is taken to be: tanh(7.25). float32 holds nothing more beyond it."""

Sampler = Callable[[np.ndarray, np.ndarray | None, np.ndarray], np.ndarray]
"""Normalised mean action, log_std or none, and standard normal noise -> normalised action."""


class Explorer:
    """Sample actions of a Keras policy; the same seed, episode and step give the same action.

    Noise comes from a counter-based generator (Philox; Salmon et al. 2011, "Parallel random
    numbers: as easy as 1, 2, 3") keyed by the seed and counted by episode and step, so that a lost
    or repeated observation, or a swapped policy, changes the noise of no other step. Robots that
    share a run need seeds of their own.
    """

    def __init__(self, policy: Policy, *, seed: int) -> None:
        """Take a policy of the Keras runtime; raise ConfigurationError for another."""
        if policy.runtime != 'keras':
            raise ConfigurationError(
                f'exploration is stochastic, but {policy.model_id} runs on {policy.runtime}, '
                f'which gives the mean action alone: use recipe keras, or exploration none'
            )
        self._outputs = policy.outputs  # type: ignore[attr-defined]
        spec = policy.spec
        self._seed = seed
        self._size = spec.action_size
        self._centre = (spec.high + spec.low) / 2
        self._half_range = (spec.high - spec.low) / 2
        self._limited = partial(limited_action, spec)
        self._sample = _sampler(policy)

    def act(self, observation: np.ndarray, *, episode: int, step: int) -> np.ndarray:
        """Return a sampled action, shape (action_size,) float32, within the limits."""
        outputs = self._outputs(observation)
        # A non-finite mean is refused here: clipping would hide an infinity.
        mean = (self._limited(outputs['action']) - self._centre) / self._half_range
        bits = np.random.Philox(key=self._seed, counter=[0, step, episode, 0])
        noise = np.random.Generator(bits).standard_normal(self._size)
        normalised = self._sample(mean, outputs.get('log_std'), noise)
        action = self._centre + self._half_range * normalised
        return self._limited(action.astype(np.float32))


def _sampler(policy: Policy) -> Sampler:
    network = policy.network  # type: ignore[attr-defined]
    if network.action_distribution == 'deterministic':
        return additive(network.exploration_std)
    samplers: dict[str, Sampler] = {'squashed_gaussian': squashed_gaussian, 'gaussian': gaussian}
    if network.action_distribution not in samplers:
        raise ConfigurationError(
            f'{policy.model_id}: action_distribution is {network.action_distribution!r}, must be '
            f'one of deterministic, {", ".join(samplers)}'
        )
    return samplers[network.action_distribution]


def squashed_gaussian(
    mean: np.ndarray, log_std: np.ndarray | None, noise: np.ndarray
) -> np.ndarray:
    """Return tanh(artanh(mean) + exp(log_std) noise): SAC, Haarnoja et al. 2018, appendix C."""
    inner = np.arctanh(np.clip(mean.astype(np.float64), -LARGEST_SQUASHED, LARGEST_SQUASHED))
    return np.tanh(inner + np.exp(_needed(log_std)) * noise)


def gaussian(mean: np.ndarray, log_std: np.ndarray | None, noise: np.ndarray) -> np.ndarray:
    """Return mean + exp(log_std) noise, with 1 as half the action range."""
    return mean + np.exp(_needed(log_std)) * noise


def additive(std: float) -> Sampler:
    """Return the sampler of a deterministic policy: mean + std noise, std in half ranges."""
    if not (math.isfinite(std) and std > 0):
        raise ConfigurationError(
            f'exploration_std of the manifest is {std}, must be above 0 to explore with a '
            f'deterministic policy: export it with one, or use exploration none'
        )
    return lambda mean, _, noise: mean + std * noise


def _needed(log_std: np.ndarray | None) -> np.ndarray:
    if log_std is None:
        raise ConfigurationError(
            'the model has no output log_std, which its action distribution needs: export it again'
        )
    return log_std
