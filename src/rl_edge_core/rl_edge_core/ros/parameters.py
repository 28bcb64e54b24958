"""Declare the settings of a dataclass as parameters of a node: described, checked, read-only."""

import functools
from collections.abc import Callable
from typing import TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from rl_edge_core.errors import ConfigurationError, did_you_mean
from rl_edge_core.parameters import Setting, node_parameters, registered_nodes, settings_of

Parameters = TypeVar('Parameters')

_OF_ROS = ('use_sim_time', 'start_type_description_service')
_QOS_OVERRIDES = 'qos_overrides.'


def declare_parameters(
    node: Node,
    parameters_type: type[Parameters],
    *,
    may_change: Callable[[], bool] = lambda: False,
) -> Parameters:
    """Declare the fields of a dataclass on ``node`` and return their values.

    They are read-only: a node reads its configuration once. Those that are declared to may be set
    while ``may_change()``, and are read by `current_parameters`. Raise ConfigurationError for
    values out of range, of another type, or not among the choices, and for a parameter that the
    node was given under a name close to one of these: a misspelt one.
    """
    settings = settings_of(parameters_type)
    _check_given_names(node, settings)
    for setting in settings:
        _declare(node, setting)
    changing = {setting.name: setting for setting in settings if setting.may_change}

    def check(parameters: list[Parameter]) -> SetParametersResult:
        try:
            for given in parameters:
                if given.name in changing:
                    if not may_change():
                        raise ConfigurationError(
                            f'{given.name} can be set while the node is unconfigured: clean it up'
                        )
                    changing[given.name].check(given.value)
        except ConfigurationError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    values = current_parameters(node, parameters_type)
    if changing:
        node.add_on_set_parameters_callback(check)
    return values


def current_parameters(node: Node, parameters_type: type[Parameters]) -> Parameters:
    """Return the values that the parameters of `declare_parameters` have now."""
    values = {}
    for setting in settings_of(parameters_type):
        value = node.get_parameter(setting.name).value
        try:
            values[setting.name] = setting.check(
                tuple(value) if isinstance(setting.default, tuple) else value
            )
        except ConfigurationError as error:
            raise ConfigurationError(f'parameter {error}') from None
    return parameters_type(**values)


def _declare(node: Node, setting: Setting) -> None:
    default = list(setting.default) if isinstance(setting.default, tuple) else setting.default
    given = node._parameter_overrides.get(setting.name)
    if given is not None and given.value is False and 'off' in (setting.choices or ()):
        # What ROS 2 makes of an off without quotes.
        node._parameter_overrides[setting.name] = Parameter(setting.name, value='off')
    if isinstance(default, float) and given is not None and type(given.value) is int:
        raise ConfigurationError(
            f'parameter {setting.name} is {given.value}, which is an integer to ROS 2: write '
            f'{float(given.value)}'
        )
    try:
        node.declare_parameter(setting.name, default, _descriptor(setting))
    except Exception as error:  # rclpy raises several unrelated types here
        what = f': {error}'
        if given is not None:
            what = f' is {given.value!r}, must be {setting.valid or "a text: put it in quotes"}'
        raise ConfigurationError(f'parameter {setting.name}{what}') from error


def _check_given_names(node: Node, settings: tuple[Setting, ...]) -> None:
    """Refuse misspelt parameters; those of other nodes come along in files and from launch."""
    valid = [setting.name for setting in settings]
    # Public only through the declaration of a name that is known beforehand.
    for name in node._parameter_overrides:
        if name in valid or name in _OF_ROS or name.startswith(_QOS_OVERRIDES):
            continue
        if name in _names_of_all_nodes() or node.has_parameter(name):
            continue
        hint = did_you_mean(name, valid)
        if hint:
            raise ConfigurationError(
                f'parameter {name} is unknown{hint}; valid are {", ".join(valid)}'
            )
        node.get_logger().warning(f'parameter {name} is not one of this node and has no effect')


@functools.cache
def _names_of_all_nodes() -> frozenset[str]:
    every = [settings_of(node_parameters(executable)) for executable in registered_nodes()]
    return frozenset(setting.name for settings in every for setting in settings)


def _descriptor(setting: Setting) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(
        description=setting.description + (f' In {setting.unit}.' if setting.unit else ''),
        read_only=not setting.may_change,
    )
    low, high = setting.minimum, setting.maximum
    if low is None or high is None:
        # A range has two ends in ROS 2; where we have one, `Setting.check` looks at the value.
        constraint = setting.limits or (setting.valid if setting.choices else '')
        descriptor.additional_constraints = constraint
    elif isinstance(setting.default, int):
        descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high))]
    else:
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=float(low), to_value=float(high))
        ]
    return descriptor
