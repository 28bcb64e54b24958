"""Figures as JSON and CSV."""

import csv
import dataclasses
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rl_edge_core.files import write_atomically
from rl_edge_eval.figures.bag_figures import BagFigures, EpisodeFigures
from rl_edge_eval.figures.comparison import Comparison

STANDARD_OUTPUT = '-'


def to_json(bags: Sequence[BagFigures], comparisons: Sequence[Comparison]) -> str:
    """Return all figures as JSON; what is not a number is null."""
    content = {
        'bags': [bag.to_dict() for bag in bags],
        'comparisons': [dataclasses.asdict(comparison) for comparison in comparisons],
    }
    return json.dumps(without_nan(content), indent=1) + '\n'


def to_csv(bags: Sequence[BagFigures]) -> str:
    """Return one row an episode, of all bags and robots; what is not a number is empty."""
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


def _flat(episode: EpisodeFigures) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for field in dataclasses.fields(episode):
        value = getattr(episode, field.name)
        if dataclasses.is_dataclass(value):
            value = dataclasses.asdict(value)  # type: ignore[arg-type]
        if isinstance(value, dict):
            row |= {f'{field.name}.{name}': _cell(item) for name, item in value.items()}
        else:
            row[field.name] = _cell(value)
    return row


def _cell(value: Any) -> Any:
    is_nan = isinstance(value, float) and value != value
    return '' if value is None or is_nan else value


def without_nan(value: Any) -> Any:
    """Return nested JSON types with None for what is not a finite number."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    if isinstance(value, float) and value - value != 0:  # NaN and infinities
        return None
    return value
