"""Settings as data: one frozen dataclass declares what nodes, launch files, YAML and help show.

A node's parameters are the fields of a frozen dataclass, each made by `parameter`. From it come
the declaration on the node (`rl_edge_core.ros.parameters`), the arguments of the systems, the file
in the package's config/ (`to_yaml`) and ``--help`` (`help_lines`). Nothing here knows ROS.
"""

import dataclasses
import functools
import inspect
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from rl_edge_core.errors import ConfigurationError, did_you_mean

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

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
        if self.choices and value not in self.choices:
            raise self._error(value)
        if self.minimum is not None and float(value) < self.minimum:
            raise self._error(value)
        if self.maximum is not None and float(value) > self.maximum:
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


# Texts -----------------------------------------------------------------------------------------


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


def to_yaml(executable: str, settings: Iterable[Setting]) -> str:
    """Return the parameter file of a node: every parameter with its default, its text above it."""
    lines = [
        f"# Parameters of {executable} with their defaults, written from the node's dataclass by",
        '# `python -m rl_edge_bringup parameters`: change them there, or copy this file.',
        '/**:',
        '  ros__parameters:',
    ]
    for setting in settings:
        unit = f', in {setting.unit}' if setting.unit else ''
        facts = f'{setting.description.rstrip(".")} ({setting.valid or "text"}{unit})'
        prefix = '    # '
        lines += textwrap.wrap(facts, _WIDTH, initial_indent=prefix, subsequent_indent=prefix)
        default = list(setting.default) if isinstance(setting.default, tuple) else setting.default
        value = yaml.safe_dump([default], default_flow_style=True, width=_WIDTH).strip()[1:-1]
        lines.append(f'    {setting.name}: {value}')
    return '\n'.join(lines) + '\n'
