"""Fill frozen dataclasses from YAML: unknown keys and wrong types are errors."""

import dataclasses
import typing
from pathlib import Path
from typing import Any, TypeVar

import yaml

from rl_edge_core.errors import ConfigurationError
from rl_edge_core.parameters import from_mapping

__all__ = ['from_mapping', 'load', 'read_yaml', 'to_mapping', 'to_yaml']

Config = TypeVar('Config')


def load(config_type: type[Config], path: Path) -> Config:
    """Build a dataclass from a YAML file."""
    return from_mapping(config_type, read_yaml(path))


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
