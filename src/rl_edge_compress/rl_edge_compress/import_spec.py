"""What a policy from elsewhere does not say of itself: names, units, limits and order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from rl_edge_core.configuration import from_mapping, read_yaml
from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.errors import ConfigurationError

_LISTS = ('joint_names', 'default_joint_pos', 'action_scale', 'joint_stiffness', 'joint_damping')
"""Of Isaac Lab's and mjlab's ONNX metadata: values by joint, separated by commas."""


@dataclass(frozen=True)
class ObservationValue:
    """One value of the observation, in the order in which the policy takes them."""

    name: str
    unit: str = '1'
    low: float = -3.0
    """Where it usually lies; parity and 8-bit ranges are taken there when nothing can be run."""
    high: float = 3.0


@dataclass(frozen=True)
class ActionValue:
    """One value of the action, in the order in which the policy gives them."""

    name: str
    unit: str = '1'
    low: float = -1.0
    high: float = 1.0
    default: float | None = None
    """Joint position at action 0; kept for the robot's description."""
    scale: float | None = None
    """What an action of 1 adds to it."""
    stiffness: float | None = None
    """Gain of the joint's position controller, kp."""
    damping: float | None = None
    """kd."""


@dataclass(frozen=True)
class ImportSpec:
    """The file of ``--spec``."""

    observation: tuple[ObservationValue, ...] = ()
    """Empty for those of the environment, in its order."""
    action: tuple[ActionValue, ...] = ()
    """The same."""
    environment_id: str = 'robot'
    """What the policy is for, where no environment is named on the command line."""
    control_period_sec: float = 0.02
    """Between two actions, in s."""
    max_episode_steps: int = 0
    """0 for none."""
    history_length: int = 1
    """Observations in one, the oldest first; kept for the robot's description."""
    activation: str = ''
    """Between the layers of an rsl_rl checkpoint, which does not say; empty for elu."""
    output: str = ''
    """Which output of an ONNX graph is the action, where it has several."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """Anything worth keeping in the manifest."""


def read_import_spec(path: Path | None) -> ImportSpec:
    """Read the file of ``--spec``; raise ConfigurationError for doubled names and wrong values."""
    if path is None:
        return ImportSpec()
    spec = from_mapping(ImportSpec, read_yaml(path))
    for what, values in (('observation', spec.observation), ('action', spec.action)):
        names = [value.name for value in values]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ConfigurationError(f'{path}: {what} names {", ".join(doubled)} more than once')
    return spec


def environment_spec(given: ImportSpec) -> EnvironmentSpec:
    """Return the specification of a robot that no environment here simulates."""
    if not given.observation or not given.action:
        raise ConfigurationError(
            'neither --environment nor a --spec with observation and action: say what the policy '
            'observes and drives; --template prints a file to fill in'
        )
    low = np.asarray([value.low for value in given.action], np.float32)
    high = np.asarray([value.high for value in given.action], np.float32)
    return EnvironmentSpec(
        environment_id=given.environment_id,
        observation_names=tuple(value.name for value in given.observation),
        observation_units=tuple(value.unit for value in given.observation),
        action_names=tuple(value.name for value in given.action),
        action_units=tuple(value.unit for value in given.action),
        action_low=tuple(low),
        action_high=tuple(high),
        safe_action=tuple(np.clip(np.zeros_like(low), low, high)),
        control_period_sec=given.control_period_sec,
        max_episode_steps=given.max_episode_steps,
    )


def order(what: str, theirs: Sequence[Any], ours: Sequence[str]) -> list[int] | None:
    """Return where each of the policy's values, ``theirs``, is among the environment's names.

    None when the order is the same, or nothing is said. Raise ConfigurationError that names what
    is missing on either side.
    """
    names = [value.name for value in theirs]
    if not names or names == list(ours):
        return None
    missing = [name for name in ours if name not in names]
    unknown = [name for name in names if name not in ours]
    if missing or unknown:
        raise ConfigurationError(
            f'the {what} of --spec and of the environment differ: it lacks '
            f'{", ".join(missing) or "nothing"}, and has {", ".join(unknown) or "nothing"} too '
            f'many; the environment has {", ".join(ours)}'
        )
    return [list(ours).index(name) for name in names]


def robot_facts(given: ImportSpec, metadata: Mapping[str, str]) -> dict[str, Any]:
    """Return what a robot's description needs beside the specification, by joint."""
    facts: dict[str, Any] = {name: _numbers(metadata[name]) for name in _LISTS if name in metadata}
    for name in ('default', 'scale', 'stiffness', 'damping'):
        values = [getattr(value, name) for value in given.action]
        if any(value is not None for value in values):
            facts[name] = values
    if given.history_length != 1:
        facts['history_length'] = given.history_length
    return {**facts, **given.notes}


def _numbers(text: str) -> list[float | str]:
    parts = [part.strip() for part in text.split(',')]
    try:
        return [float(part) for part in parts]
    except ValueError:
        return list(parts)


EXAMPLE = ImportSpec(
    environment_id='my-robot',
    observation=(
        ObservationValue('base.angular_velocity_x', 'rad/s'),
        ObservationValue('left_hip.angle', 'rad'),
    ),
    action=(ActionValue('left_hip', 'rad'), ActionValue('right_hip', 'rad')),
)


def unnamed(observation_size: int, action_size: int, metadata: Mapping[str, str]) -> ImportSpec:
    """Return as many values as a policy has, with the names of the joints where it says them."""
    joints = [name.strip() for name in metadata.get('joint_names', '').split(',')]
    actions = [ActionValue(name, 'rad') for name in joints]
    if len(joints) != action_size or not joints[0]:
        actions = [ActionValue(f'action_{number}') for number in range(action_size)]
    observation = (ObservationValue(f'observation_{number}') for number in range(observation_size))
    return replace(EXAMPLE, observation=tuple(observation), action=tuple(actions))


def template(
    spec: EnvironmentSpec, metadata: Mapping[str, str], *, is_example: bool = False
) -> str:
    """Return a file for ``--spec`` to fill in, with the gains that a policy's file says."""
    lists = {name: _numbers(metadata[name]) for name in _LISTS if metadata.get(name)}
    example = ' An example: replace all values.' if is_example else ''
    lines = [
        '# What a policy observes and drives, in the order in which it takes and gives it.'
        + example,
        f'environment_id: {spec.environment_id}',
        f'control_period_sec: {spec.control_period_sec}  # s',
        f'max_episode_steps: {spec.max_episode_steps}  # 0 for none',
        'history_length: 1  # observations in one, the oldest first',
        "activation: ''  # of an rsl_rl checkpoint, e.g. elu",
        "output: ''  # of an ONNX graph with several outputs",
        'observation:  # low and high: where a value usually lies',
    ]
    lines += [
        f'  - {{name: {name}, unit: {unit!r}, low: -3.0, high: 3.0}}'
        for name, unit in zip(spec.observation_names, spec.observation_units, strict=True)
    ]
    lines.append(
        'action:  # default, scale, stiffness and damping describe the robot; may be left out'
    )
    ranges = zip(
        spec.action_names, spec.action_units, spec.action_low, spec.action_high, strict=True
    )
    for number, (name, unit, low, high) in enumerate(ranges):
        more = ''.join(
            f', {key}: {lists[source][number if len(lists[source]) > 1 else 0]}'
            for key, source in (
                ('default', 'default_joint_pos'),
                ('scale', 'action_scale'),
                ('stiffness', 'joint_stiffness'),
                ('damping', 'joint_damping'),
            )
            if lists.get(source) and len(lists[source]) in (1, spec.action_size)
        )
        lines.append(
            f'  - {{name: {name}, unit: {unit!r}, low: {low}, high: {high}'
            f'{more or ", default: 0.0, scale: 1.0"}}}'
        )
    return '\n'.join(lines) + '\n'
