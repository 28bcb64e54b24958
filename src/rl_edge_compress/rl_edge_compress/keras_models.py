"""Read Keras actor-critics: their named outputs, their actor, and what their network is."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras

from rl_edge_core.artifact import Network, check_keras_archive
from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.errors import ArtifactError

CRITIC_INPUT = 'observation_and_action'
"""Name of the layer in which critics of actions meet what they judge."""
SCALED_ACTION = 'action'
"""Name of the layer that maps a network's action to the limits of the environment."""

Critic = Callable[[Any, Any], Any]
"""Raw observations (batch, n) and actions (batch, m) -> values (batch, 1)."""


def load_keras(path: Path) -> keras.Model:
    """Load a Keras model in safe mode; raise ArtifactError when that is not possible."""
    check_keras_archive(path)
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError) as error:
        raise ArtifactError(f'{path} cannot be loaded as a Keras model: {error}') from error


def named_outputs(model: keras.Model) -> Mapping[str, keras.KerasTensor]:
    """Return the outputs of an actor-critic by name: action, value and perhaps log_std.

    Raise ArtifactError when there is no action among them.
    """
    outputs = model.output
    if not isinstance(outputs, Mapping):
        names = getattr(model, 'output_names', [])
        outputs = dict(zip(names, model.outputs, strict=True))
    if 'action' not in outputs:
        raise ArtifactError(
            f'the Keras model has outputs {", ".join(outputs) or "without names"}; '
            f'it needs one named action (and may have value, and log_std for a Gaussian policy)'
        )
    return outputs


def actor_of(model: keras.Model) -> keras.Model:
    """Return the part that acts, observation (batch, n) -> action (batch, m); shares weights."""
    return keras.Model(model.inputs[0], named_outputs(model)['action'], name='actor')


def critic_of(model: keras.Model) -> Critic | None:
    """Return the part that values actions, in the environment's units; shares weights.

    None when the value is one of states alone, as on-policy algorithms learn it.
    """
    names = [layer.name for layer in model.layers]
    if CRITIC_INPUT not in names:
        return None
    _, action = model.get_layer(CRITIC_INPUT).input
    value = keras.Function([model.inputs[0], action], named_outputs(model)['value'])
    scaling = model.get_layer(SCALED_ACTION)

    def critic(observation: Any, scaled: Any) -> Any:
        return value([observation, (scaled - scaling.offset) / scaling.scale])

    return critic


def check_sizes(model: keras.Model, spec: EnvironmentSpec) -> None:
    """Raise ArtifactError unless the model maps the spec's observations to its actions."""
    for what, tensor, size in (
        ('input', model.inputs[0], spec.observation_size),
        ('action output', named_outputs(model)['action'], spec.action_size),
    ):
        if tensor.shape[-1] != size:
            raise ArtifactError(
                f'the {what} of the Keras model has {tensor.shape[-1]} values, '
                f'{spec.environment_id} has {size}'
            )


def flat_layers(model: keras.Model) -> list[keras.Layer]:
    """Return the layers of a model and of the models nested in it, in order."""
    layers: list[keras.Layer] = []
    for layer in model.layers:
        layers += flat_layers(layer) if isinstance(layer, keras.Model) else [layer]
    return layers


def describe_network(model: keras.Model) -> Network:
    """Read off what the actor of an actor-critic is made of."""
    actor = actor_of(model)
    layers = flat_layers(actor)
    dense = [layer for layer in layers if isinstance(layer, keras.layers.Dense)]
    active = (keras.layers.Dense, keras.layers.Activation)
    activations = (str(x.activation.__name__) for x in layers if isinstance(x, active))
    is_gaussian = 'log_std' in named_outputs(model)
    return Network(
        hidden_sizes=tuple(int(layer.units) for layer in dense[:-1]),
        activation=next((name for name in activations if name != 'linear'), 'linear'),
        layer_norm=any(isinstance(layer, keras.layers.LayerNormalization) for layer in layers),
        parameters=int(sum(weight.shape.num_elements() for weight in actor.trainable_variables)),
        action_distribution='squashed_gaussian' if is_gaussian else 'deterministic',
    )
