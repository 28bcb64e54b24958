"""QoS of the topics, by name: ``qos:=lossy`` gives each node the overrides for its namespace."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)

from rl_edge_bringup.models import share_folder
from rl_edge_bringup.systems import NodeDescription
from rl_edge_core.configuration import read_yaml
from rl_edge_core.errors import ConfigurationError, did_you_mean
from rl_edge_core.files import user_path
from rl_edge_core.ros import qos

DEFAULT = 'default'
"""``qos:=default`` overrides nothing: the profiles of rl_edge_core.ros.qos."""
RESOURCE_USAGE = 'resource_usage'
TOPICS: Mapping[str, Callable[[], QoSProfile]] = {
    'observation': qos.observation,
    'action': qos.action,
    'transition': qos.transition,
    'episode': qos.episode,
    'environment': qos.environment,
    'policy_status': qos.policy_status,
    RESOURCE_USAGE: qos.resource_usage,
    'training_metrics': qos.training_metrics,
    'image': qos.image,
    'joint_states': qos.joint_states,
}
"""Relative topic names and what they have without overrides; ``resource_usage`` stands for that of
each node."""
SIDES = ('publisher', 'subscription')
_CHOICES: Mapping[str, Mapping[str, Any]] = {
    'reliability': {
        'reliable': ReliabilityPolicy.RELIABLE,
        'best_effort': ReliabilityPolicy.BEST_EFFORT,
    },
    'durability': {
        'volatile': DurabilityPolicy.VOLATILE,
        'transient_local': DurabilityPolicy.TRANSIENT_LOCAL,
    },
    'history': {'keep_last': HistoryPolicy.KEEP_LAST, 'keep_all': HistoryPolicy.KEEP_ALL},
}
_DEPTH = 'depth'
_POLICIES = (*_CHOICES, _DEPTH)
_LARGEST_DEPTH = 100_000

Policies = Mapping[str, str | int]
"""Policy name to value, e.g. ``{'reliability': 'best_effort', 'depth': 1}``."""


@dataclass(frozen=True)
class QosOverrides:
    """Overrides of some topics, checked: both sides of each topic understand each other."""

    description: str = ''
    topics: Mapping[str, Mapping[str, Policies]] = field(default_factory=dict)
    """Relative topic name to side (publisher, subscription) to policies."""


def load_qos(name: str) -> QosOverrides:
    """Return the overrides called ``name``: `DEFAULT`, config/qos_NAME.yaml, or a YAML file.

    Raise ConfigurationError for an unknown name, topic, policy or value, and where a publisher
    does not offer what the subscription of its topic asks for.
    """
    if name == DEFAULT:
        return QosOverrides()
    path = user_path(name)
    if path.suffix != '.yaml':
        path = share_folder() / 'config' / f'qos_{name}.yaml'
    if not path.is_file():
        names = qos_names()
        raise ConfigurationError(
            f'qos is {name!r}{did_you_mean(name, names)}: there are {", ".join(names)}, and any '
            f'file that ends in .yaml'
        )
    try:
        return qos_from_mapping(read_yaml(path))
    except ConfigurationError as error:
        raise ConfigurationError(f'{path}: {error}') from error


def qos_names() -> list[str]:
    """Return the names that ``qos:=`` takes, `DEFAULT` first."""
    found = sorted((share_folder() / 'config').glob('qos_*.yaml'))
    return [DEFAULT, *(path.stem.removeprefix('qos_') for path in found)]


def qos_from_mapping(content: Mapping[str, Any]) -> QosOverrides:
    """Check a mapping with ``description`` and ``topics``, as the files in config/ have it.

    Below a topic stand policies for both sides, or ``publisher:`` and ``subscription:`` with
    policies of their own, which win.
    """
    _check_names('key', content, [item.name for item in dataclasses.fields(QosOverrides)])
    topics = _mapping('topics', content.get('topics', {}))
    _check_names('topic', topics, TOPICS)
    checked = {topic: _sides(topic, _mapping(topic, given)) for topic, given in topics.items()}
    for topic, sides in checked.items():
        publisher, subscription = (_profile(topic, sides[side]) for side in SIDES)
        compatibility, reason = qos_check_compatible(publisher, subscription)
        if compatibility == QoSCompatibility.ERROR:
            raise ConfigurationError(
                f'{topic}: publisher and subscription would exchange nothing: {reason.strip("; ")}'
            )
    return QosOverrides(str(content.get('description', '')), checked)


def qos_parameters(
    overrides: QosOverrides, *, node: NodeDescription, remappings: Sequence[tuple[str, str]] = ()
) -> dict[str, str | int]:
    """Return the parameters that give ``node`` the overrides of its topics.

    They have rclpy's form, with the resolved and remapped topic name, e.g.
    ``qos_overrides./ant0/observation.publisher.depth``. A node ignores those of topics it has not.
    """
    return {
        f'qos_overrides.{_resolved(topic, node, remappings)}.{side}.{policy}': value
        for topic, sides in overrides.topics.items()
        for side, policies in sides.items()
        for policy, value in policies.items()
    }


def publisher_profile(overrides: QosOverrides, topic: str) -> QoSProfile:
    """Return what the publishers of ``topic``, a name in `TOPICS`, offer."""
    publisher, _ = SIDES
    return _profile(topic, overrides.topics.get(topic, {}).get(publisher, {}))


def _resolved(topic: str, node: NodeDescription, remappings: Sequence[tuple[str, str]]) -> str:
    def absolute(name: str) -> str:
        return name if name.startswith('/') else f'/{node.namespace}/{name}'

    name = absolute(f'{topic}/{node.name}' if topic == RESOURCE_USAGE else topic)
    return next((absolute(new) for old, new in remappings if absolute(old) == name), name)


def _sides(topic: str, given: Mapping[str, Any]) -> dict[str, Policies]:
    _check_names(f'{topic}: policy', given, (*_POLICIES, *SIDES))
    both = {name: value for name, value in given.items() if name not in SIDES}
    sides: dict[str, Policies] = {}
    for side in SIDES:
        own = _mapping(f'{topic}.{side}', given.get(side, {}))
        _check_names(f'{topic}.{side}: policy', own, _POLICIES)
        policies = {**both, **own}
        for name, value in policies.items():
            _check_value(f'{topic}.{side}.{name}', name, value)
        sides[side] = policies
    return sides


def _check_value(where: str, policy: str, value: Any) -> None:
    if policy == _DEPTH:
        if type(value) is not int or not 1 <= value <= _LARGEST_DEPTH:
            raise ConfigurationError(
                f'{where} is {value!r}, must be a whole number from 1 to {_LARGEST_DEPTH}'
            )
        return
    choices = _CHOICES[policy]
    if not isinstance(value, str) or value not in choices:
        hint = did_you_mean(str(value), choices)
        raise ConfigurationError(
            f'{where} is {value!r}{hint}, must be one of {", ".join(choices)}'
        )


def _profile(topic: str, policies: Policies) -> QoSProfile:
    profile = TOPICS[topic]()
    for policy, value in policies.items():
        setattr(profile, policy, value if policy == _DEPTH else _CHOICES[policy][str(value)])
    return profile


def _mapping(where: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(f'{where} is {value!r}, must be a mapping')
    return value


def _check_names(what: str, given: Mapping[Any, Any], valid: Any) -> None:
    for name in given:
        if name not in valid:
            hint = did_you_mean(str(name), valid)
            raise ConfigurationError(
                f'{what} {name!r} is unknown{hint}; valid are {", ".join(valid)}'
            )
