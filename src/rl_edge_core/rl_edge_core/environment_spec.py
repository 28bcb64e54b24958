"""The contract between a simulator and a policy: names, units and limits."""

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import le
from typing import Any

import numpy as np

from rl_edge_core.errors import ConfigurationError

_MAY_BE_ABSENT = {'environment_arguments', 'simulator_versions'}
_SETTINGS_OF_THEIR_OWN = {'id', 'environment_id', 'reward_shaping', 'render_mode'}


@dataclass(frozen=True)
class EnvironmentSpec:
    """Describe what a policy sees and does. Built once, and compared by hash.

    Limits and the safe action are rounded to float32, the type that messages carry, so that a
    spec has one hash on every side of a topic.
    """

    environment_id: str
    """Gymnasium id, for example ``Ant-v5``."""
    observation_names: tuple[str, ...]
    """One name a value, ``part.component``, for example ``torso.z``."""
    observation_units: tuple[str, ...]
    """One SI unit a value; ``1`` where there is none."""
    action_names: tuple[str, ...]
    """In the order the actuators take them, which need not be that of the joints observed."""
    action_units: tuple[str, ...]
    action_low: tuple[float, ...]
    action_high: tuple[float, ...]
    safe_action: tuple[float, ...]
    """What stands in when there is no valid action."""
    control_period_sec: float
    """Simulated time between two actions, in s."""
    max_episode_steps: int
    """Time limit of an episode; 0 for none."""
    environment_arguments: str = ''
    """What the environment was made with beside its id, as JSON with sorted keys; empty for
    nothing. A path in it, such as ``xml_file``, is as it was given."""
    simulator_versions: tuple[str, ...] = dataclasses.field(default=(), compare=False)
    """Of the libraries that simulate it, e.g. ``mujoco 3.3.2``; neither compared nor hashed."""

    def __post_init__(self) -> None:
        """Freeze sequences to tuples and check that sizes agree and limits are in order."""
        for name in ('observation_names', 'observation_units', 'action_names', 'action_units'):
            object.__setattr__(self, name, tuple(str(value) for value in getattr(self, name)))
        if not isinstance(self.environment_arguments, str):
            text = arguments_as_json(self.environment_id, self.environment_arguments)
            object.__setattr__(self, 'environment_arguments', text)
        object.__setattr__(self, 'simulator_versions', tuple(self.simulator_versions))
        for name in ('action_low', 'action_high', 'safe_action'):
            rounded = np.asarray(getattr(self, name), np.float32)
            object.__setattr__(self, name, tuple(float(value) for value in rounded))
        self._check()

    def _check(self) -> None:
        _check_size('observation_units', self.observation_units, self.observation_size)
        for name in ('action_units', 'action_low', 'action_high', 'safe_action'):
            _check_size(name, getattr(self, name), self.action_size)
        if not self.observation_size or not self.action_size:
            raise ConfigurationError(
                f'{self.environment_id}: needs at least one observation and one action value'
            )
        if len(set(self.action_names)) != self.action_size:
            raise ConfigurationError(f'action_names repeat: {self.action_names}')
        if len(set(self.observation_names)) != self.observation_size:
            raise ConfigurationError(f'observation_names repeat: {self.observation_names}')
        if not np.all(self.low < self.high):
            raise ConfigurationError(
                f'action_low {self.action_low} must be below action_high {self.action_high}'
            )
        if not (np.all(self.low <= self.safe) and np.all(self.safe <= self.high)):
            raise ConfigurationError(f'safe_action {self.safe_action} is outside the limits')
        if not self.control_period_sec > 0:
            raise ConfigurationError(
                f'control_period_sec is {self.control_period_sec}, must be above 0'
            )
        if self.max_episode_steps < 0:
            raise ConfigurationError(
                f'max_episode_steps is {self.max_episode_steps}, must be 0 (none) or more'
            )

    @property
    def arguments(self) -> dict[str, Any]:
        """Return the environment's arguments by name."""
        return dict(json.loads(self.environment_arguments or '{}'))

    def without_arguments(self, names: Collection[str]) -> 'EnvironmentSpec':
        """Return a copy whose environment arguments lack those of ``names``."""
        kept = {name: value for name, value in self.arguments.items() if name not in names}
        text = arguments_as_json(self.environment_id, kept)
        return dataclasses.replace(self, environment_arguments=text)

    @property
    def observation_size(self) -> int:
        """Return how many values an observation has."""
        return len(self.observation_names)

    @property
    def action_size(self) -> int:
        """Return how many values an action has."""
        return len(self.action_names)

    @cached_property
    def low(self) -> np.ndarray:
        """Return the lower action limits, float32, shape (action_size,)."""
        return _frozen_array(self.action_low)

    @cached_property
    def high(self) -> np.ndarray:
        """Return the upper action limits, float32, shape (action_size,)."""
        return _frozen_array(self.action_high)

    @cached_property
    def safe(self) -> np.ndarray:
        """Return the safe action, float32, shape (action_size,)."""
        return _frozen_array(self.safe_action)

    @cached_property
    def hash(self) -> str:
        """Return the SHA-256 (hex) of the canonical JSON form."""
        mapping = self.to_dict()
        mapping.pop('simulator_versions', None)
        canonical = json.dumps(mapping, sort_keys=True, separators=(',', ':'))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Return a mapping of JSON types, the inverse of `parameters.from_mapping`.

        Arguments and versions are left out where there are none, so that such a spec has the hash
        it had before specs knew of them.
        """
        mapping = {
            field.name: list(value)
            if isinstance(value := getattr(self, field.name), tuple)
            else value
            for field in dataclasses.fields(self)
        }
        for name in _MAY_BE_ABSENT:
            if not mapping[name]:
                del mapping[name]
        return mapping

    @classmethod
    def from_message(cls, message: Any) -> 'EnvironmentSpec':
        """Build a spec from an Environment message, received or decoded from a bag.

        Raise ConfigurationError when the message is not consistent in itself.
        """
        # Bags of earlier versions lack the newest fields.
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**{name: getattr(message, name) for name in names if hasattr(message, name)})

    def differences(self, other: 'EnvironmentSpec') -> list[str]:
        """Return one line for each field in which `other` differs; empty when they are equal."""
        return [
            _difference(field.name, getattr(self, field.name), getattr(other, field.name))
            for field in dataclasses.fields(self)
            if field.compare and getattr(self, field.name) != getattr(other, field.name)
        ]

    def version_warnings(self, other: 'EnvironmentSpec') -> list[str]:
        """Return one line for each library whose major version differs from that of `other`.

        Another major version may simulate otherwise, though names and limits are the same.
        """
        theirs = dict(text.rsplit(' ', 1) for text in other.simulator_versions if ' ' in text)
        lines = []
        for text in self.simulator_versions:
            library, _, version = text.rpartition(' ')
            their_version = theirs.get(library, version)
            if version.partition('.')[0] != their_version.partition('.')[0]:
                lines.append(f'{library} {version} against {their_version}')
        return lines

    def contains(self, action: Sequence[float]) -> bool:
        """Return whether ``action``, plain numbers, is of the right size and within the limits.

        Where the processor has slept, this costs less than half of `fault_of_action` and `limit`.
        """
        return (
            len(action) == self.action_size
            and all(map(le, self.action_low, action))
            and all(map(le, action, self.action_high))
        )

    def limit(self, action: np.ndarray) -> np.ndarray:
        """Return `action`, shape (action_size,), clipped into the limits."""
        return np.clip(action, self.low, self.high)

    def fault_of_observation(self, values: np.ndarray) -> str:
        """Return why `values` is no valid observation; empty when it is one."""
        return _fault('observation', values, self.observation_size)

    def fault_of_action(self, values: np.ndarray) -> str:
        """Return why `values` is no valid action; empty when it is one (limits aside)."""
        return _fault('action', values, self.action_size)


def environment_arguments(text: str) -> dict[str, Any]:
    """Return the mapping in ``text``, YAML; raise ConfigurationError when it holds none."""
    import yaml  # here alone: a policy node reads none

    try:
        arguments = yaml.safe_load(text) if text.strip() else {}
    except yaml.YAMLError as error:
        reason = ' '.join(str(error).split())
        raise ConfigurationError(f'environment_arguments {text!r} is no YAML: {reason}') from error
    if not isinstance(arguments, dict) or not all(isinstance(key, str) for key in arguments):
        raise ConfigurationError(
            f'environment_arguments is {text!r}, must be a mapping such as '
            f'{{max_episode_steps: 200}}'
        )
    taken = sorted(_SETTINGS_OF_THEIR_OWN & set(arguments))
    if taken:
        raise ConfigurationError(
            f'environment_arguments has {", ".join(taken)}: use the parameters environment_id, '
            f'reward_shaping and render instead'
        )
    return arguments


def arguments_as_json(environment_id: str, arguments: Mapping[str, Any]) -> str:
    """Return an environment's arguments as JSON with sorted keys; empty where there are none.

    Raise ConfigurationError for no mapping, and for a value that can't be written as text.
    """
    if not isinstance(arguments, Mapping):
        raise ConfigurationError(
            f'environment_arguments of {environment_id} is {arguments!r}, must be a mapping'
        )
    if not arguments:
        return ''
    try:
        return json.dumps(dict(arguments), sort_keys=True, allow_nan=False, default=_json_default)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f'environment_arguments of {environment_id} cannot be written as YAML: {error}; give '
            f'numbers, texts, lists and mappings, or register the environment with them'
        ) from error


def _json_default(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f'{value!r} is of type {type(value).__name__}')


def _frozen_array(values: tuple[float, ...]) -> np.ndarray:
    array = np.asarray(values, np.float32)
    array.setflags(write=False)
    return array


def _check_size(name: str, values: tuple, size: int) -> None:
    if len(values) != size:
        raise ConfigurationError(f'{name} has {len(values)} values, must have {size}')


def _fault(what: str, values: np.ndarray, size: int) -> str:
    if values.shape != (size,):
        return f'{what} has shape {values.shape}, must be ({size},)'
    # A NaN or an infinity makes the sum of squares one too, and a dot product costs half of
    # np.isfinite(values).all(); the second look tells large values from infinite ones.
    if not math.isfinite(values.dot(values)) and not np.isfinite(values).all():
        index = int(np.flatnonzero(~np.isfinite(values))[0])
        return f'{what}[{index}] is {values[index]}, must be finite'
    return ''


def _difference(name: str, mine: Any, theirs: Any) -> str:
    if not isinstance(mine, tuple):
        return f'{name}: {mine!r} against {theirs!r}'
    if len(mine) != len(theirs):
        return f'{name}: {len(mine)} values against {len(theirs)}'
    index = next(i for i, pair in enumerate(zip(mine, theirs, strict=True)) if pair[0] != pair[1])
    return f'{name}[{index}]: {mine[index]!r} against {theirs[index]!r}'
