"""Experiments: each puts systems together, measures them, and writes under results/."""

from rl_edge_experiments.experiment import Experiment


def experiments() -> tuple[Experiment, ...]:
    """Return the experiments there are."""
    # Imported late: they need what the edge device, which runs systems too, does not have.
    from rl_edge_experiments.bench.bench import BENCH
    from rl_edge_experiments.clip import CLIP
    from rl_edge_experiments.demo import DEMO
    from rl_edge_experiments.envelope import ENVELOPE
    from rl_edge_experiments.faults import FAULTS
    from rl_edge_experiments.report.report import REPORT
    from rl_edge_experiments.soak import SOAK
    from rl_edge_experiments.two_hosts import TWO_HOSTS_RUN

    return (DEMO, REPORT, BENCH, FAULTS, TWO_HOSTS_RUN, SOAK, ENVELOPE, CLIP)
