"""Arguments as data: one list serves `ros2 launch`, the command line and the help."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rl_edge_core.errors import ConfigurationError

Value = str | int | float | bool
Values = Mapping[str, Value]

_TRUE, _FALSE = 'true', 'false'


@dataclass(frozen=True)
class Argument:
    """Describe one argument of a system. Its type is that of its default."""

    name: str
    default: Value
    description: str
    choices: tuple[str, ...] = ()
    """Valid values; empty where any value of the type is."""
    minimum: float | None = None

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
        kind = 'a whole number' if isinstance(self.default, int) else 'a number'
        return kind if self.minimum is None else f'{kind}, {self.minimum:g} or more'

    def parse(self, text: str) -> Value:
        """Return the value in ``text``; raise ConfigurationError that says what is valid."""
        try:
            value = _parse(text, type(self.default))
        except ValueError:
            raise self._error(text) from None
        if self.choices and value not in self.choices:
            raise self._error(text)
        if self.minimum is not None and not float(value) >= self.minimum:
            raise self._error(text)
        return value

    def _error(self, text: str) -> ConfigurationError:
        hint = did_you_mean(text, self.choices)
        return ConfigurationError(f'{self.name} is {text!r}, must be {self.valid}{hint}')


def to_text(value: Value) -> str:
    """Return a value as it is written on a command line."""
    if isinstance(value, bool):
        return _TRUE if value else _FALSE
    return str(value)


def did_you_mean(text: str, valid: Iterable[str]) -> str:
    """Return `` (did you mean ...?)`` for the closest valid word; empty when none is close."""
    close = difflib.get_close_matches(text, list(valid), n=1)
    return f' (did you mean {close[0]}?)' if close else ''


def parse_pairs(words: Sequence[str]) -> dict[str, str]:
    """Split ``name:=value`` words; of repeated names the last one wins, as in ros2 launch."""
    pairs = {}
    for word in words:
        name, separator, value = word.partition(':=')
        if not separator or not name:
            raise ConfigurationError(f'{word!r} is not of the form name:=value')
        pairs[name] = value
    return pairs


def parse_arguments(arguments: Sequence[Argument], given: Mapping[str, str]) -> dict[str, Value]:
    """Return a value for each argument: the given one, else its default.

    Raise ConfigurationError for unknown names and invalid values, listing the valid ones.
    """
    check_names(arguments, given)
    return {
        argument.name: argument.parse(given[argument.name])
        if argument.name in given
        else argument.default
        for argument in arguments
    }


def check_names(arguments: Sequence[Argument], given: Iterable[str]) -> None:
    """Raise ConfigurationError when a given name is not that of an argument."""
    valid = [argument.name for argument in arguments]
    for name in given:
        if name not in valid:
            hint = did_you_mean(name, valid)
            raise ConfigurationError(
                f'unknown argument {name!r}{hint}; valid are {", ".join(valid)}'
            )


def _parse(text: str, wanted: type) -> Value:
    if wanted is bool:
        if text.lower() not in (_TRUE, _FALSE):
            raise ValueError(text)
        return text.lower() == _TRUE
    if wanted is float:
        value = float(text)
        if not abs(value) < float('inf'):  # NaN and infinity are no setting of ours
            raise ValueError(text)
        return value
    return int(text) if wanted is int else text
