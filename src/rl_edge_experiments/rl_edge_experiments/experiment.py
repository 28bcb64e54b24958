"""What an experiment is to the command line."""

from collections.abc import Callable
from dataclasses import dataclass

from rl_edge_core.parameters import Setting, Values


@dataclass(frozen=True)
class Experiment:
    """A named experiment of the command line."""

    name: str
    description: str
    arguments: tuple[Setting, ...]
    run: Callable[[Values], int]
    """Takes a checked value of each argument, returns the exit code."""
