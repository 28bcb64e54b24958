"""Start a training from the weights of a shipped policy: actor, critics, normalisation, noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np

from rl_edge_compress.keras_models import flat_layers, named_outputs
from rl_edge_core.errors import ConfigurationError
from rl_edge_train.networks import TrunkConfig
from rl_edge_train.normalizer import MINIMUM_VARIANCE, ObservationNormalizer

MOMENTS_COUNT = 1_000_000
"""Observations that the moments of a shipped policy weigh as much as when they move on."""

Weights = list[np.ndarray]


@dataclass(frozen=True)
class StartingWeights:
    """What the file of a policy holds that a training can go on from."""

    inputs: int
    """Leading observation values that the networks see."""
    mean: np.ndarray
    """(inputs,), subtracted from the observation; zeros where it is not normalised."""
    deviation: np.ndarray
    """(inputs,), the observation is divided by it; ones where it is not normalised."""
    normalized: bool
    """Whether the policy normalises observations."""
    trunk: Weights
    """Weights of the actor's hidden layers, in order."""
    layers: list[str]
    """What the actor's hidden layers are, such as dense 256, tanh."""
    action_head: Weights
    """Kernel (hidden, actions) and bias (actions,) of the action, before any squashing."""
    log_std_head: Weights
    """The same of a log standard deviation that depends on the state; empty where none does."""
    log_std: np.ndarray | None
    """(actions,) where it depends on no state."""
    squashed: bool
    """Whether tanh bounds the mean."""
    mean_scale: float
    """Factor on the mean."""
    state_critic: keras.Model | None
    """Normalised observation -> value."""
    action_critics: list[keras.Model]
    """Normalised observation and network action -> value or quantiles."""

    @staticmethod
    def of(model: keras.Model) -> StartingWeights:
        """Read the weights of a policy that `rl_edge_train` exported.

        Raise ConfigurationError for a model of another make.
        """
        parts = {layer.name: layer for layer in model.layers}
        actor = parts.get('actor_trunk') or parts.get('actor')
        if not isinstance(actor, keras.Model) or not {'actor', 'action_mean'} & set(parts):
            raise ConfigurationError(
                f'its layers are {", ".join(parts)}: training starts from policies that '
                f'rl_edge_train exported, with an actor or an actor_trunk and an action_mean'
            )
        hidden = flat_layers(actor)[1:]
        head = parts['action_mean'] if 'action_mean' in parts else hidden.pop()
        inputs = int(actor.input_shape[-1])
        normalization = parts.get('observation_normalization')
        mean, deviation = np.zeros(inputs), np.ones(inputs)
        if normalization is not None:
            mean = np.asarray(normalization.mean, np.float64).reshape(-1)
            deviation = np.sqrt(np.asarray(normalization.variance, np.float64).reshape(-1))
        own_head = parts.get('unclipped_log_std')
        constant = 'log_std' in named_outputs(model) and own_head is None
        return StartingWeights(
            inputs=inputs,
            mean=mean,
            deviation=deviation,
            normalized=normalization is not None,
            trunk=[weight for layer in hidden for weight in layer.get_weights()],
            layers=[_described(layer) for layer in hidden],
            action_head=head.get_weights(),
            log_std_head=own_head.get_weights() if own_head is not None else [],
            log_std=np.asarray(parts['log_std'].offset, np.float32) if constant else None,
            squashed='squashed' in parts or 'squashed_mean' in parts,
            mean_scale=float(parts['mean_scale'].scale) if 'mean_scale' in parts else 1.0,
            state_critic=parts.get('critic'),
            action_critics=[parts[name] for name in ('critic_0', 'critic_1') if name in parts],
        )

    def check_actor(
        self, *, inputs: int, actions: int, trunk: TrunkConfig, squashed: bool, mean_scale: float
    ) -> None:
        """Raise ConfigurationError that names each part that does not fit an agent's actor."""
        ours = [word for layer in trunk.layers() for word in _words(*layer)]
        pairs = {
            'observation inputs': (self.inputs, inputs),
            'actions': (len(self.action_head[1]), actions),
            'hidden layers': (', '.join(self.layers), ', '.join(ours)),
            'tanh on the mean': (self.squashed, squashed),
            'factor on the mean': (self.mean_scale, mean_scale),
        }
        wrong = [
            f'{what}: {theirs} in the file, {mine} in the configuration'
            for what, (theirs, mine) in pairs.items()
            if theirs != mine
        ]
        if wrong:
            raise ConfigurationError(f'its actor does not fit: {"; ".join(wrong)}')

    def set_moments(
        self, normalizer: ObservationNormalizer, observations: np.ndarray | None
    ) -> None:
        """Give an agent's normaliser the policy's moments, or else those of `observations`.

        The observations (count, inputs) are what the policy visits; they are needed where the
        agent normalises and the policy does not.
        """
        if not normalizer.enabled:
            return
        mean, variance = self.mean, np.square(self.deviation)
        if not self.normalized:
            assert observations is not None, 'a policy without moments needs what it visits'
            mean, variance = observations.mean(axis=0), observations.var(axis=0)
        normalizer.load_arrays(
            {
                'count': np.array(float(MOMENTS_COUNT)),
                'mean': mean,
                'sum_of_squares': np.maximum(variance, MINIMUM_VARIANCE) * MOMENTS_COUNT,
            }
        )

    def set_network(
        self, network: keras.Model, weights: Weights, normalizer: ObservationNormalizer
    ) -> None:
        """Give `network` these weights, so that it computes the same behind the `normalizer`.

        With the policy's input (x - m) / s and the agent's (x - m') / s' the first layer becomes
        W' = W s' / s and b' = b + W (m' - m) / s; further inputs, actions, are left alone.
        """
        kernel, bias, *others = (np.asarray(weight, np.float64) for weight in weights)
        ours = np.sqrt(normalizer.variance()) if normalizer.enabled else np.ones(self.inputs)
        offset = normalizer.mean if normalizer.enabled else np.zeros(self.inputs)
        seen = kernel[: self.inputs]
        bias = bias + ((offset - self.mean) / self.deviation) @ seen
        kernel = np.concatenate(
            [seen * (ours / self.deviation)[:, None], kernel[self.inputs :]], axis=0
        )
        network.set_weights([kernel, bias, *others])


def fits(network: keras.Model, source: keras.Model) -> bool:
    """Return whether two networks have the same layers."""

    def layers(model: keras.Model) -> list[tuple[str, list[tuple[int, ...]]]]:
        return [
            (_described(layer), [tuple(weight.shape) for weight in layer.weights])
            for layer in flat_layers(model)[1:]
        ]

    return layers(network) == layers(source)


def _described(layer: keras.Layer) -> str:
    if isinstance(layer, keras.layers.Dense):
        return f'dense {layer.units}'
    if isinstance(layer, keras.layers.LayerNormalization):
        return 'layer norm'
    return str(layer.activation.__name__)


def _words(width: int, activation: str, layer_norm: str) -> Sequence[str]:
    norm = ['layer norm']
    before, after = (norm if layer_norm == place else [] for place in ('before', 'after'))
    return [f'dense {width}', *before, activation, *after]
