"""Errors that rl_edge raises: each names the offending value and the remedy."""


class RlEdgeError(ValueError):
    """Base of the errors that a user can put right."""


class ConfigurationError(RlEdgeError):
    """A setting, an argument or a name is not one of those that are valid."""


class SpecMismatchError(RlEdgeError):
    """A policy or a recording was made for another environment."""


class ArtifactError(RlEdgeError):
    """A policy artifact is missing, damaged, or not what its manifest says."""


class StorageError(RlEdgeError):
    """A file or folder can't be written: full disk, missing rights, read-only."""
