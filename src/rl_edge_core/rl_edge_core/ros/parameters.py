"""Node parameters as frozen dataclasses: declared, described and checked in one place."""

import dataclasses
import typing
from collections.abc import Callable
from typing import Any, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from rl_edge_core.errors import ConfigurationError

Parameters = TypeVar('Parameters')

_LARGEST_INTEGER = 2**62
_LARGEST_FLOAT = 1.0e300


def parameter(
    default: Any,
    description: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
    may_change: bool = False,
) -> Any:
    """Return a dataclass field that `declare_parameters` turns into a parameter.

    It is read-only, unless it ``may_change`` while its node reads it again.
    """
    metadata = {
        'description': description,
        'minimum': minimum,
        'maximum': maximum,
        'choices': choices,
        'may_change': may_change,
    }
    if isinstance(default, list):
        raise TypeError('give a tuple: defaults of frozen dataclasses must not change')
    return dataclasses.field(default=default, metadata=metadata)


def declare_parameters(
    node: Node,
    parameters_type: type[Parameters],
    *,
    may_change: Callable[[], bool] = lambda: False,
) -> Parameters:
    """Declare the fields of a dataclass on ``node`` and return their values.

    They are read-only: a node reads its configuration once. Those that are declared to may be set
    while ``may_change()``, and are read by `current_parameters`. Raise ConfigurationError for
    values out of range, of another type, or not among the choices, naming them.
    """
    values = {}
    for field in dataclasses.fields(parameters_type):  # type: ignore[arg-type]
        values[field.name] = _declare(node, field)
    changing = {
        field.name: field
        for field in dataclasses.fields(parameters_type)  # type: ignore[arg-type]
        if field.metadata['may_change']
    }

    def check(parameters: list[Parameter]) -> SetParametersResult:
        for given in parameters:
            if given.name not in changing:
                continue
            choices = changing[given.name].metadata['choices']
            reason = ''
            if not may_change():
                reason = f'{given.name} can be set while the node is unconfigured: clean it up'
            elif choices and given.value not in choices:
                reason = f'{given.name} is {given.value!r}, must be one of {", ".join(choices)}'
            if reason:
                return SetParametersResult(successful=False, reason=reason)
        return SetParametersResult(successful=True)

    if changing:
        node.add_on_set_parameters_callback(check)
    return parameters_type(**values)


def current_parameters(node: Node, parameters_type: type[Parameters]) -> Parameters:
    """Return the values that the parameters of `declare_parameters` have now."""
    values = {}
    for field in dataclasses.fields(parameters_type):  # type: ignore[arg-type]
        value = node.get_parameter(field.name).value
        values[field.name] = tuple(value) if isinstance(field.default, tuple) else value
    return parameters_type(**values)


def _declare(node: Node, field: Any) -> Any:
    is_tuple = isinstance(field.default, tuple)
    default = list(field.default) if is_tuple else field.default
    try:
        value = node.declare_parameter(field.name, default, _descriptor(field)).value
    except Exception as error:  # rclpy raises several unrelated types here
        raise ConfigurationError(f'parameter {field.name}: {error}') from error
    choices = field.metadata['choices']
    if choices and value not in choices:
        raise ConfigurationError(
            f'parameter {field.name} is {value!r}, must be one of {", ".join(choices)}'
        )
    return tuple(value) if is_tuple else value


def _descriptor(field: Any) -> ParameterDescriptor:
    metadata = field.metadata
    descriptor = ParameterDescriptor(
        description=metadata['description'], read_only=not metadata['may_change']
    )
    if metadata['choices']:
        descriptor.additional_constraints = 'one of ' + ', '.join(metadata['choices'])
    low, high = metadata['minimum'], metadata['maximum']
    if low is None and high is None:
        return descriptor
    if isinstance(field.default, int):
        descriptor.integer_range = [
            IntegerRange(
                from_value=-_LARGEST_INTEGER if low is None else typing.cast(int, low),
                to_value=_LARGEST_INTEGER if high is None else typing.cast(int, high),
            )
        ]
    else:
        descriptor.floating_point_range = [
            FloatingPointRange(
                from_value=-_LARGEST_FLOAT if low is None else float(low),
                to_value=_LARGEST_FLOAT if high is None else float(high),
            )
        ]
    return descriptor
