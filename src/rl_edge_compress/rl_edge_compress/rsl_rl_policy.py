"""Policies of rsl_rl, as Isaac Lab and legged_gym train them: checkpoints and TorchScript files.

Both are read as data. A checkpoint (``model_1500.pt``) holds the actor's tensors and not its
activation; TorchScript (``exported/policy.pt``) names its modules, whose code is not looked at.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rl_edge_compress.dense_actor import (
    DenseActor,
    DenseLayer,
    Normalization,
    activation_name,
    stored_chain,
)
from rl_edge_compress.pickled_arrays import Foreign, read_torch, tensors_of
from rl_edge_core.errors import ArtifactError

DEFAULT_ACTIVATION = 'elu'
"""rsl_rl's own default."""
EXPORT_ONNX = (
    'export it as ONNX where it was trained (Isaac Lab: scripts/reinforcement_learning/rsl_rl/'
    'play.py writes exported/policy.onnx; rsl_rl: isaaclab_rl.rsl_rl.export_policy_as_onnx) and '
    'import that file'
)
RECURRENT = 'it is a recurrent policy, whose hidden state a step would have to keep'
NORMALIZATION_EPSILON = 1e-2
"""rsl_rl's EmpiricalNormalization divides by the deviation plus this."""


def read_rsl_rl(path: Path, *, activation: str = '') -> DenseActor:
    """Return the actor in a ``.pt`` file.

    ``activation`` is what stands between the layers of a checkpoint. Raise ArtifactError, with how
    to export ONNX instead, for what is no chain of dense layers.
    """
    content = read_torch(path)
    try:
        if isinstance(content, Foreign):
            return _of_modules(content)
        return _of_checkpoint(content, activation_name(activation or DEFAULT_ACTIVATION))
    except ArtifactError as error:
        raise ArtifactError(f'{error}; {EXPORT_ONNX}') from error


def _of_checkpoint(content: Any, activation: str) -> DenseActor:
    states = content if isinstance(content, dict) else {}
    for key in ('model_state_dict', 'actor_state_dict', 'policy_state_dict', 'state_dict'):
        if key in states:
            break
    else:
        key = ''
    tensors = tensors_of(states.get(key, content), what=key or 'the file')
    if any('rnn' in name or 'lstm' in name or 'gru' in name.lower() for name in tensors):
        raise ArtifactError(RECURRENT)
    chains = (stored_chain(tensors, p, activation) for p in ('actor', 'mlp', 'policy', ''))
    layers = next(filter(None, chains), None)
    if layers is None:
        raise ArtifactError(
            f'its tensors are {", ".join(list(tensors)[:6])} ...: no actor is there'
        )
    layers[-1] = DenseLayer(layers[-1].kernel, layers[-1].bias)
    return DenseActor(layers, normalization=_statistics(states, tensors))


def _statistics(
    states: Mapping[str, Any], tensors: Mapping[str, np.ndarray]
) -> Normalization | None:
    """Return the normalisation that the checkpoint has beside the actor or in it."""
    found: Mapping[str, Any] = {}
    for key in ('obs_norm_state_dict', 'actor_obs_normalizer', 'obs_normalizer'):
        if isinstance(states.get(key), dict):
            found = states[key]
    for start in ('actor_obs_normalizer.', 'obs_normalizer.'):
        if f'{start}_mean' in tensors:
            found = {name: tensors[f'{start}{name}'] for name in ('_mean', '_var', '_std')}
    return _normalization(found) if found else None


def _normalization(state: Mapping[str, Any]) -> Normalization:
    mean, deviation = state.get('_mean'), state.get('_std')
    if not isinstance(mean, np.ndarray) or not isinstance(deviation, np.ndarray):
        raise ArtifactError('its normalisation has no _mean and _std')
    epsilon = float(state.get('eps', NORMALIZATION_EPSILON))
    return Normalization(
        mean=mean.reshape(-1).astype(np.float64),
        deviation=deviation.reshape(-1).astype(np.float64) + epsilon,
    )


def _of_modules(module: Foreign) -> DenseActor:
    """Return the actor of a TorchScript policy: its module `actor`, perhaps a normaliser."""
    state = module.state
    if any('rnn' in name or 'lstm' in name for name in state):
        raise ArtifactError(RECURRENT)
    actor = state.get('actor') or state.get('mlp') or module
    if not isinstance(actor, Foreign):
        raise ArtifactError('it is a TorchScript file without a module named actor')
    normalizer = state.get('normalizer')
    normalization = None
    if isinstance(normalizer, Foreign) and '_mean' in normalizer.state:
        normalization = _normalization(normalizer.state)
    elif isinstance(normalizer, Foreign) and 'Identity' not in normalizer.name.name:
        raise ArtifactError(f'its normaliser is a {normalizer.name.name}')
    layers: list[DenseLayer] = []
    for name, part in _children(actor):
        kind = part.name.name
        if 'weight' in part.state:
            kernel, bias = part.state['weight'], part.state.get('bias')
            if not isinstance(kernel, np.ndarray) or kernel.ndim != 2:
                raise ArtifactError(f'its module {name}, a {kind}, is not a dense layer')
            bias = bias if isinstance(bias, np.ndarray) else np.zeros(len(kernel))
            layers.append(DenseLayer(kernel.T.astype(np.float32), bias.astype(np.float32)))
        elif layers:
            layers[-1] = DenseLayer(layers[-1].kernel, layers[-1].bias, activation_name(kind))
        elif 'Identity' not in kind:
            raise ArtifactError(f'its first module is a {kind}, not a dense layer')
    return DenseActor(layers, normalization=normalization)


def _children(module: Foreign) -> list[tuple[str, Foreign]]:
    """Return the modules of a sequence in order, nested ones unfolded."""
    parts = [(name, part) for name, part in module.state.items() if isinstance(part, Foreign)]
    numbered = [name for name, _ in parts if name.isdigit()]
    if len(numbered) == len(parts):
        parts.sort(key=lambda part: int(part[0]))
    flat: list[tuple[str, Foreign]] = []
    for name, part in parts:
        nested = [(f'{name}.{inner}', child) for inner, child in _children(part)]
        flat += nested or [(name, part)]
    return flat
