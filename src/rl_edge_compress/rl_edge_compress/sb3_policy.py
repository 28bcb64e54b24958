"""Policies of Stable-Baselines3: the weights in their zip files, without unpickling any code.

A model's zip holds ``data`` (JSON with pickles inside, which are not looked at) and
``policy.pth`` (tensors). Which algorithm wrote it shows in the names of the tensors.
"""

import json
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
    stored_layer,
)
from rl_edge_compress.pickled_arrays import (
    LARGEST_TENSORS_BYTES,
    Foreign,
    open_zip,
    read_member,
    read_pickle,
    read_torch,
    tensors_of,
)
from rl_edge_core.errors import ArtifactError

LARGEST_DATA_BYTES = 100_000_000
"""Of the settings, among which are the last observations of all environments."""
CLIPPED_MEAN = 2.0
"""SAC and TQC with state-dependent exploration limit the mean so; their ``clip_mean``."""
Tensors = Mapping[str, np.ndarray]


def read_sb3(path: Path, *, normalization: Path | None = None) -> tuple[DenseActor, str]:
    """Return the actor in a zip file and the name of its algorithm.

    ``normalization`` is the file of VecNormalize. Raise ArtifactError for what is no such zip
    file, and for policies that are not plain networks over a vector with continuous actions.
    """
    with open_zip(path) as archive:
        content = read_member(archive, 'data', largest=LARGEST_DATA_BYTES)
        weights = read_member(archive, 'policy.pth', largest=LARGEST_TENSORS_BYTES)
    try:
        data = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f'its data is not JSON: {error}') from error
    if not isinstance(data, dict):
        raise ArtifactError('its data is not a JSON object: Stable-Baselines3 did not write it')
    _check_spaces(data)
    tensors = tensors_of(read_torch(weights), what='policy.pth')
    _check_kind(tensors)
    algorithm, layers, squashed = _layers(tensors, data)
    statistics = read_vec_normalize(normalization) if normalization is not None else None
    return DenseActor(layers, normalization=statistics, squashed=squashed), algorithm


def _check_spaces(data: Mapping[str, Any]) -> None:
    for what in ('observation_space', 'action_space'):
        kind = str(_of(data, what).get(':type:', ''))
        name = kind.rpartition('.')[2].strip("'>")
        if name and name != 'Box':
            remedy = 'only continuous actions can be imported'
            if what == 'observation_space':
                remedy = 'flatten it, e.g. by gymnasium.wrappers.FlattenObservation, and train'
            raise ArtifactError(f'{what} is {name}, must be a Box of one dimension: {remedy}')


def _of(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = data.get(name)
    return value if isinstance(value, Mapping) else {}


def _check_kind(tensors: Tensors) -> None:
    names = ' '.join(tensors)
    if 'lstm' in names:
        raise ArtifactError('it is a recurrent policy (LSTM), which has a state: not supported')
    if 'features_extractor.extractors' in names:
        raise ArtifactError('it is a MultiInputPolicy: only MlpPolicy, over one vector, is read')
    if any(tensor.ndim > 2 for tensor in tensors.values()):
        raise ArtifactError('it is a CnnPolicy: only MlpPolicy, over one vector, is read')
    own = [name for name in tensors if name.startswith('features_extractor.')]
    if own:
        raise ArtifactError(
            f'it has a features extractor of its own ({own[0]}): export the actor as ONNX'
        )


def _layers(tensors: Tensors, data: Mapping[str, Any]) -> tuple[str, list[DenseLayer], bool]:
    """Return the algorithm, the layers, and whether the action is squashed."""
    given = _of(data, 'policy_kwargs').get('activation_fn')
    if 'action_net.weight' in tensors:
        activation = activation_name(str(given or 'tanh'))
        layers = stored_chain(tensors, 'mlp_extractor.policy_net', activation)
        squashed = _of(data, 'policy_kwargs').get('squash_output') is True
        last = stored_layer(tensors, 'action_net', 'tanh' if squashed else 'identity')
        is_ppo = 'clip_range' in data
        return ('ppo' if is_ppo else 'a2c'), [*layers, last], squashed
    activation = activation_name(str(given or 'relu'))
    if any(name.startswith('actor.latent_pi.') for name in tensors) or (
        'actor.log_std.weight' in tensors or 'actor.log_std' in tensors
    ):
        layers = stored_chain(tensors, 'actor.latent_pi', activation)
        # With state-dependent exploration the mean is a layer and a bound.
        is_bounded = 'actor.mu.0.weight' in tensors
        last = stored_layer(tensors, 'actor.mu.0' if is_bounded else 'actor.mu', 'tanh')
        if is_bounded:
            bound = float(_of(data, 'policy_kwargs').get('clip_mean', CLIPPED_MEAN))
            last = DenseLayer(last.kernel, last.bias, 'tanh', clip=bound or None)
        algorithm = 'tqc' if 'top_quantiles_to_drop_per_net' in data else 'sac'
        return algorithm, [*layers, last], True
    if any(name.startswith('actor.mu.') for name in tensors):
        *layers, last = stored_chain(tensors, 'actor.mu', activation)
        algorithm = 'td3' if any('qf1' in name for name in tensors) else 'ddpg'
        return algorithm, [*layers, DenseLayer(last.kernel, last.bias, 'tanh')], True
    raise ArtifactError(
        f'its tensors are {", ".join(list(tensors)[:6])} ...: no actor of PPO, A2C, SAC, TD3, '
        f'DDPG or TQC is among them'
    )


def read_vec_normalize(path: Path) -> Normalization | None:
    """Return the observations' statistics in a file of VecNormalize; None when it has none."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f'{path} cannot be read: {error.strerror}') from error
    try:
        read = read_pickle(content)
    except ArtifactError as error:
        raise ArtifactError(f'{path}: {error}') from error
    if not isinstance(read, Foreign) or not read.name.name.endswith('VecNormalize'):
        raise ArtifactError(f'{path} holds no VecNormalize of Stable-Baselines3')
    if not read.state.get('norm_obs', True):
        return None
    moments = read.state.get('obs_rms')
    if not isinstance(moments, Foreign):
        raise ArtifactError(
            f'{path} normalises dictionaries of observations: only vectors are read'
        )
    mean, variance = moments.state.get('mean'), moments.state.get('var')
    if not isinstance(mean, np.ndarray) or not isinstance(variance, np.ndarray):
        raise ArtifactError(f'{path} holds no mean and variance of the observations')
    return Normalization(
        mean=mean.astype(np.float64),
        deviation=np.sqrt(variance.astype(np.float64) + float(read.state.get('epsilon', 1e-8))),
        clip=float(read.state.get('clip_obs', 10.0)),
    )
