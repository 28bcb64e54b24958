"""Errors that rl_edge raises: each names the offending value and the remedy."""

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
