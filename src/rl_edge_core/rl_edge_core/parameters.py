"""Settings as data: one frozen dataclass declares what nodes, launch files, YAML and help show.

A node's parameters are the fields of a frozen dataclass, each made by `parameter`. From it come
the declaration on the node (`rl_edge_core.ros.parameters`), the arguments of the systems, the file
in the package's config/ and ``--help`` (`help_lines`). Nothing here knows ROS.
"""

import dataclasses
import functools
import inspect
import textwrap
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from rl_edge_core.errors import ConfigurationError, did_you_mean

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

Config = TypeVar('Config')
Parameters = TypeVar('Parameters')
Value = str | int | float | bool
Values = Mapping[str, Value]

PARAMETERS_GROUP = 'rl_edge.parameters'
"""Entry points: the executable of a node, and the dataclass of its parameters."""
_TRUE, _FALSE = 'true', 'false'
_INDENT = ' ' * 6
_WIDTH = 96


@dataclass(frozen=True)
class Setting:
    """Describe one setting. Its type is that of its default."""

    name: str
    default: Any
    """A bool, int, float, str, or a tuple of str."""
    description: str
    """One line of text."""
    choices: tuple[str, ...] = ()
    """Valid values; empty where any value of the type is."""
    minimum: float | None = None
    maximum: float | None = None
    unit: str = ''
    """Of a number, e.g. ``s``."""
    may_change: bool = False
    """True where a node reads the value again, e.g. when it is configured."""
    alias: str = ''
    """Another name that a command line takes for it."""

    @property
    def default_text(self) -> str:
        """Return the default as it is written on a command line."""
        return to_text(self.default)

    @property
    def valid(self) -> str:
        """Return in words which values are valid; empty for any text."""
        if self.choices:
            return 'one of ' + ', '.join(self.choices)
        if isinstance(self.default, bool):
            return f'{_TRUE} or {_FALSE}'
        if isinstance(self.default, str):
            return ''
        if isinstance(self.default, tuple):
            return 'names separated by commas'
        kind = 'a whole number' if isinstance(self.default, int) else 'a number'
        return f'{kind}, {self.limits}' if self.limits else kind

    @property
    def limits(self) -> str:
        """Return in words between which numbers a value must lie; empty without limits."""
        if self.minimum is not None and self.maximum is not None:
            return f'{self.minimum:g} to {self.maximum:g}'
        if self.minimum is not None:
            return f'{self.minimum:g} or more'
        return '' if self.maximum is None else f'{self.maximum:g} or less'

    def parse(self, text: str) -> Any:
        """Return the value in ``text``; raise ConfigurationError that says what is valid."""
        try:
            return self.check(_parse(text, type(self.default)))
        except ValueError:  # as a ConfigurationError is
            raise self._error(text) from None

    def check(self, value: Any) -> Any:
        """Return ``value`` when it is valid; raise ConfigurationError that says what is."""
        is_valid = (
            (not self.choices or value in self.choices)
            # What is allowed, not what is not: NaN is neither below nor above.
            and (self.minimum is None or float(value) >= self.minimum)
            and (self.maximum is None or float(value) <= self.maximum)
        )
        if not is_valid:
            raise self._error(value)
        return value

    def _error(self, value: Any) -> ConfigurationError:
        hint = did_you_mean(str(value), self.choices)
        return ConfigurationError(f'{self.name} is {value!r}, must be {self.valid}{hint}')


def parameter(default: Any, description: str, **facts: Any) -> Any:
    """Return a dataclass field that stands for one setting; ``facts`` are fields of `Setting`."""
    if isinstance(default, list):
        raise TypeError('give a tuple: defaults of frozen dataclasses must not change')
    return dataclasses.field(default=default, metadata={'description': description, **facts})


def check_parameters(executable: str, given: Mapping[str, Any]) -> None:
    """Raise what the node would, given these parameters, for a file or a name that is not there.

    The node's dataclass may have a method ``check`` for that.
    """
    parameters_type = node_parameters(executable)
    if hasattr(parameters_type, 'check'):
        parameters_type(**given).check()


def settings_of(parameters_type: type) -> tuple[Setting, ...]:
    """Return the settings that the fields of a dataclass, made by `parameter`, declare.

    Its own come first, those that it inherits after them.
    """
    own = inspect.get_annotations(parameters_type)
    fields = sorted(dataclasses.fields(parameters_type), key=lambda field: field.name not in own)
    return tuple(Setting(field.name, field.default, **field.metadata) for field in fields)


def node_parameters(executable: str) -> type:
    """Return the dataclass of the node with this executable; the node itself is not imported.

    Its package registers it as an entry point of group `PARAMETERS_GROUP`. Raise
    ConfigurationError when no installed package does.
    """
    registered = registered_nodes()
    if executable not in registered:
        raise ConfigurationError(
            f'the package of {executable} is not installed; the nodes that are: '
            f'{", ".join(registered) or "none"}'
        )
    return registered[executable].load()  # type: ignore[no-any-return]


@functools.cache
def registered_nodes() -> 'dict[str, EntryPoint]':
    """Return the entry points of the dataclasses of all installed nodes, by executable."""
    from importlib.metadata import entry_points  # 2 MB that no node needs

    found = {entry_point.name: entry_point for entry_point in entry_points(group=PARAMETERS_GROUP)}
    return dict(sorted(found.items()))


# Command lines ---------------------------------------------------------------------------------


def to_text(value: Any) -> str:
    """Return a value as it is written on a command line."""
    if isinstance(value, bool):
        return _TRUE if value else _FALSE
    return ', '.join(value) if isinstance(value, tuple) else str(value)


def parse_pairs(words: Sequence[str]) -> dict[str, str]:
    """Split ``name:=value`` words; of repeated names the last one wins, as in ros2 launch."""
    pairs = {}
    for index, word in enumerate(words):
        name, separator, value = word.partition(':=')
        if not separator or not name:
            meant = _as_pair(word, words[index + 1 : index + 2])
            raise ConfigurationError(f'{word!r} is not of the form name:=value{meant}')
        pairs[name] = value
    return pairs


def _as_pair(word: str, following: Sequence[str]) -> str:
    """Return how to write what was written as an option, ``--name value`` or ``name=value``."""
    name, separator, value = word.lstrip('-').partition('=')
    if not separator and following and ':=' not in following[0]:
        value = following[0]
    name = name.rstrip(':').replace('-', '_')
    return f': write {name}:={value}' if name.isidentifier() and value else ''


def parse_arguments(settings: Sequence[Setting], given: Mapping[str, str]) -> dict[str, Any]:
    """Return a value for each setting: the given one, else its default.

    Raise ConfigurationError for unknown names and invalid values, listing the valid ones.
    """
    aliases = {setting.alias: setting.name for setting in settings if setting.alias}
    named = {aliases.get(name, name): text for name, text in given.items()}
    check_names(settings, named)
    return {
        setting.name: setting.parse(named[setting.name])
        if setting.name in named
        else setting.default
        for setting in settings
    }


def check_names(settings: Sequence[Setting], given: Iterable[str]) -> None:
    """Raise ConfigurationError when a given name is not that of a setting."""
    valid = [setting.name for setting in settings]
    for name in given:
        if name not in valid:
            hint = did_you_mean(name, valid)
            raise ConfigurationError(
                f'unknown argument {name!r}{hint}; valid are {", ".join(valid)}'
            )


def _parse(text: str, wanted: type) -> Any:
    if wanted is bool:
        if text.lower() not in (_TRUE, _FALSE):
            raise ValueError(text)
        return text.lower() == _TRUE
    if wanted is float:
        value = float(text)
        if not abs(value) < float('inf'):  # NaN and infinity are no setting of ours
            raise ValueError(text)
        return value
    if wanted is tuple:
        return tuple(text.replace(',', ' ').split())
    return int(text) if wanted is int else text


def help_lines(settings: Iterable[Setting]) -> list[str]:
    """Return what ``--help`` shows of each setting: name, valid values, default, description."""
    lines = []
    for setting in settings:
        valid = f' ({setting.valid})' if setting.valid else ''
        unit = f' {setting.unit}' if setting.unit else ''
        lines.append(f'  {setting.name}{valid}, default {setting.default_text or "empty"}{unit}')
        lines += textwrap.wrap(
            setting.description, _WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT
        )
    return lines


# Dataclasses from mappings ----------------------------------------------------------------------


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
