"""The figures that compare the full with the compressed policy, and their table."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """One row of the comparison."""

    key: str
    label: str
    unit: str
    digits: int


FIGURES = (
    Figure('return_mean', 'return', '', 1),
    Figure('forward_distance_m', 'forward distance', 'm', 2),
    Figure('episode_length_mean', 'episode length', 'steps', 0),
    Figure('policy_memory_mb', 'policy process, peak memory', 'MB', 1),
    Figure('policy_cpu_ms_per_action', 'policy process, CPU an action', 'ms', 3),
    Figure('first_action_s', 'start to first action', 's', 2),
    Figure('inference_us_p50', 'inference p50', 'us', 1),
    Figure('inference_us_p99', 'inference p99', 'us', 1),
    Figure('response_us_p50', 'observation to action p50', 'us', 0),
    Figure('response_us_p99', 'observation to action p99', 'us', 0),
    Figure('steps_per_s', 'steps a second', '1/s', 0),
)


def ratios(full: Mapping[str, float], compressed: Mapping[str, float]) -> dict[str, float]:
    """Return full over compressed of every figure; NaN where the compressed one is 0."""
    return {
        figure.key: full[figure.key] / compressed[figure.key]
        if compressed[figure.key]
        else math.nan
        for figure in FIGURES
    }


def comparison_table(
    full: Mapping[str, float], compressed: Mapping[str, float], *, title: str, note: str = ''
) -> Table:
    """Return the table: full, compressed, and full over compressed."""
    table = Table(title=title, caption=note or None)
    table.add_column('')
    for heading in ('full', 'compressed', 'full / compressed'):
        table.add_column(heading, justify='right')
    quotients = ratios(full, compressed)
    for figure in FIGURES:
        name = f'{figure.label} ({figure.unit})' if figure.unit else figure.label
        cells = [f'{value[figure.key]:.{figure.digits}f}' for value in (full, compressed)]
        table.add_row(name, *cells, f'{quotients[figure.key]:.2f}')
    return table
