"""Fill frozen dataclasses from YAML: unknown keys and wrong types are errors."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml

from rl_edge_core.errors import ConfigurationError, did_you_mean

Config = TypeVar('Config')


def load(config_type: type[Config], path: Path) -> Config:
    """Build a dataclass from a YAML file."""
    return from_mapping(config_type, read_yaml(path))


def from_mapping(config_type: type[Config], mapping: Mapping[str, Any]) -> Config:
    """Build a dataclass from ``mapping``; keys that are left out keep their defaults.

    Raise ConfigurationError for an unknown key (listing the valid ones), a missing one without
    a default, and a value of the wrong type. Nested dataclasses take nested mappings.
    """
    fields = {field.name: field for field in dataclasses.fields(config_type)}  # type: ignore[arg-type]
    unknown = sorted(set(mapping) - set(fields))
    if unknown:
        named = ', '.join(f'{name}{did_you_mean(str(name), fields)}' for name in unknown)
        raise ConfigurationError(
            f'{config_type.__name__}: unknown {named}; valid are {", ".join(fields)}'
        )
    missing = [
        name
        for name, field in fields.items()
        if name not in mapping and field.default is field.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigurationError(f'{config_type.__name__}: lacks {", ".join(missing)}')
    hints = typing.get_type_hints(config_type)
    values = {name: _convert(name, value, hints[name]) for name, value in mapping.items()}
    try:
        return config_type(**values)
    except TypeError as error:
        raise ConfigurationError(f'{config_type.__name__}: {error}') from error


def _convert(name: str, value: Any, hint: Any) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return from_mapping(typing.cast(type, hint), value)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        if value not in arguments:
            choices = ', '.join(map(str, arguments))
            hint = did_you_mean(str(value), map(str, arguments))
            raise ConfigurationError(f'{name} is {value!r}, must be one of {choices}{hint}')
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (hint,) = (argument for argument in arguments if argument is not type(None))
        return _convert(name, value, hint)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_convert(f'{name}[{i}]', item, arguments[0]) for i, item in enumerate(value))
    wanted = origin or hint
    if wanted is Any:
        return value
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if wanted is Path and isinstance(value, str):
        return Path(value)
    # A bool is an int to Python, not to a user.
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        raise ConfigurationError(f'{name} is {value!r}, must be of type {wanted.__name__}')
    return value


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping in a YAML file; raise ConfigurationError when it is not one."""
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise ConfigurationError(f'{path} cannot be read: {error.strerror}') from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f'{path} is not valid YAML: {error}') from error
    if not isinstance(content, dict):
        raise ConfigurationError(f'{path} holds {type(content).__name__}, must hold a mapping')
    return content


def to_mapping(config: Any) -> dict[str, Any]:
    """Return a dataclass as a mapping of JSON types, the inverse of `from_mapping`."""
    return typing.cast(dict[str, Any], _plain(dataclasses.asdict(config)))


def to_yaml(config: Any) -> str:
    """Return a dataclass as YAML, in the order of its fields."""
    return yaml.safe_dump(to_mapping(config), sort_keys=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
