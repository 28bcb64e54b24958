"""Experiments: each puts systems together, measures them, and writes under results/."""

from collections.abc import Callable
from dataclasses import dataclass

from rl_edge_bringup.arguments import Argument


@dataclass(frozen=True)
class Experiment:
    """A named experiment of the command line."""

    name: str
    description: str
    arguments: tuple[Argument, ...]
    run: Callable[[list[str]], int]
    """Takes ``name:=value`` words, returns the exit code."""


EXPERIMENTS: tuple[Experiment, ...] = ()
