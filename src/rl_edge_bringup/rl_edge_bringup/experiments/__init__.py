"""Experiments: each puts systems together, measures them, and writes under results/."""

from collections.abc import Callable
from dataclasses import dataclass

from rl_edge_bringup.arguments import Argument, Values


@dataclass(frozen=True)
class Experiment:
    """A named experiment of the command line."""

    name: str
    description: str
    arguments: tuple[Argument, ...]
    run: Callable[[Values], int]
    """Takes a checked value of each argument, returns the exit code."""


def experiments() -> tuple[Experiment, ...]:
    """Return the experiments there are."""
    # Imported late: they need what the edge device, which runs systems too, does not have.
    from rl_edge_bringup.experiments.bench.experiment import BENCH
    from rl_edge_bringup.experiments.clip import CLIP
    from rl_edge_bringup.experiments.demo import DEMO
    from rl_edge_bringup.experiments.envelope.experiment import ENVELOPE
    from rl_edge_bringup.experiments.faults.experiment import FAULT_MATRIX
    from rl_edge_bringup.experiments.report.experiment import REPORT
    from rl_edge_bringup.experiments.soak import SOAK
    from rl_edge_bringup.experiments.two_hosts import TWO_HOSTS_EXPERIMENT

    return (DEMO, REPORT, BENCH, FAULT_MATRIX, TWO_HOSTS_EXPERIMENT, SOAK, ENVELOPE, CLIP)
