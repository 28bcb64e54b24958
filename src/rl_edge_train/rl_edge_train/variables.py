"""Variables of an agent to named arrays and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from rl_edge_train.normalizer import ObservationNormalizer


def named_arrays(
    groups: Mapping[str, Sequence[tf.Variable]], normalizer: ObservationNormalizer
) -> dict[str, np.ndarray]:
    """Return `group/index` -> array for each variable, and the moments of the normaliser."""
    arrays = {
        f'{group}/{index}': np.asarray(variable.numpy())
        for group, variables in groups.items()
        for index, variable in enumerate(variables)
    }
    moments = {f'normalizer/{name}': value for name, value in normalizer.arrays().items()}
    return arrays | moments


def restore_variables(
    groups: Mapping[str, Sequence[tf.Variable]],
    normalizer: ObservationNormalizer,
    arrays: Mapping[str, np.ndarray],
) -> None:
    """Assign what `named_arrays` returned; a missing name or another shape is an error."""
    for group, variables in groups.items():
        for index, variable in enumerate(variables):
            variable.assign(_checked(arrays, f'{group}/{index}', tuple(variable.shape)))
    moments = {name: arrays[f'normalizer/{name}'] for name in normalizer.arrays()}
    normalizer.load_arrays(moments)


def _checked(arrays: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...]) -> np.ndarray:
    if name not in arrays:
        raise ValueError(f'the checkpoint has no array {name}: it is of another agent')
    if arrays[name].shape != shape:
        raise ValueError(
            f'array {name} of the checkpoint has shape {arrays[name].shape}, the agent '
            f'{shape}: resume with the configuration that the run was started with'
        )
    return arrays[name]
