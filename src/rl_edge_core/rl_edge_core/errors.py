"""Errors that rl_edge raises: each names the offending value and the remedy."""

from collections.abc import Iterable

LONGEST_MESSAGE = 3000
"""Characters. A message may quote a value from a file, and a file may hold anything."""


class RlEdgeError(ValueError):
    """Base of the errors that a user can put right; a long message loses its middle."""

    def __init__(self, message: object = '') -> None:
        """Take a message that names the offending value and the remedy."""
        text = str(message)
        if len(text) > LONGEST_MESSAGE:
            half = LONGEST_MESSAGE // 2
            text = f'{text[:half]} [... {len(text) - 2 * half} characters ...] {text[-half:]}'
        super().__init__(text)


class ConfigurationError(RlEdgeError):
    """A setting, an argument or a name is not one of those that are valid."""


class SpecMismatchError(RlEdgeError):
    """A policy or a recording was made for another environment."""


class ArtifactError(RlEdgeError):
    """A policy artifact is missing, damaged, or not what its manifest says."""


class StorageError(RlEdgeError):
    """A file or folder can't be written: full disk, missing rights, read-only."""


class MissingExtraError(RlEdgeError):
    """Packages of an extra are not installed; see `rl_edge_core.extras`."""

    def __init__(self, message: str, extra: str) -> None:
        """``extra`` is the name that ``tools/env --with`` takes."""
        super().__init__(message)
        self.extra = extra


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type where there is none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def close_words(text: str, valid: Iterable[str], *, most: int = 1) -> list[str]:
    """Return the valid words that are like ``text``, the likest first."""
    import difflib  # for those alone who say what was misspelt

    return difflib.get_close_matches(text, list(valid), n=most)


def did_you_mean(text: str, valid: Iterable[str]) -> str:
    """Return `` (did you mean ...?)`` for the closest valid word; empty when none is close."""
    close = close_words(text, valid)
    return f' (did you mean {close[0]}?)' if close else ''
