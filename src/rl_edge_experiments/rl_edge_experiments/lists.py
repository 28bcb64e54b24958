"""Arguments that are lists: values separated by commas."""

from collections.abc import Sequence

from rl_edge_core.errors import ConfigurationError, did_you_mean


def words_of(name: str, text: str, choices: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the words in ``text``, each once; raise ConfigurationError for other than choices."""
    words = tuple(dict.fromkeys(word for part in text.split(',') if (word := part.strip())))
    if not words:
        raise ConfigurationError(f'{name} is empty, must name one or more, separated by commas')
    for word in words:
        if choices and word not in choices:
            raise ConfigurationError(
                f'{name} has {word!r}{did_you_mean(word, choices)}, must be of '
                f'{", ".join(choices)}'
            )
    return words


def numbers_of(name: str, text: str, *, above: float, most: float) -> tuple[float, ...]:
    """Return the numbers in ``text``, above ``above`` and at most ``most``; raise otherwise."""
    numbers = []
    for word in words_of(name, text):
        try:
            number = float(word)
        except ValueError:
            number = float('nan')
        if not above < number <= most:
            raise ConfigurationError(
                f'{name} has {word!r}, must be numbers above {above:g} and at most {most:g}, '
                f'separated by commas'
            )
        numbers.append(number)
    return tuple(numbers)
