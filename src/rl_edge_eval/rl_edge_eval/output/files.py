"""The metrics of bags as JSON and CSV."""

import csv
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rl_edge_core.files import write_atomically
from rl_edge_core.results import json_types
from rl_edge_eval.metrics.comparison import Comparison
from rl_edge_eval.metrics.run_metrics import EpisodeMetrics, RunMetrics

STANDARD_OUTPUT = '-'


def to_json(bags: Sequence[RunMetrics], comparisons: Sequence[Comparison]) -> str:
    """Return all metrics as JSON; what is missing is null."""
    compared = [
        {'baseline': one.baseline, 'other': one.other, 'figures': one.metrics}
        for one in comparisons
    ]
    return json.dumps(json_types({'bags': bags, 'comparisons': compared}), indent=1) + '\n'


def to_csv(bags: Sequence[RunMetrics]) -> str:
    """Return one row per episode, of all bags and robots; what is missing is empty."""
    rows = [
        {'bag': bag.path, 'robot': robot.namespace, **_flat(episode)}
        for bag in bags
        for robot in bag.robots
        for episode in robot.episodes
    ]
    names = dict.fromkeys(name for row in rows for name in row) or {'bag': None, 'robot': None}
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=list(names), restval='', lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def write_text(target: str, text: str) -> None:
    """Write ``text`` to a file, or to standard output for ``-``; raise StorageError."""
    if target == STANDARD_OUTPUT:
        sys.stdout.write(text)
    else:
        write_atomically(Path(target), text)


def _flat(episode: EpisodeMetrics) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for name, value in json_types(episode).items():
        if isinstance(value, dict):
            row |= {f'{name}.{key}': item for key, item in value.items()}
        else:
            row[name] = value
    return {name: '' if item is None else item for name, item in row.items()}
