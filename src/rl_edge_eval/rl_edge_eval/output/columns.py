"""Tables, rows of JSON and bars over the metrics of several runs.

A column is a name, a unit and how to take its value from a run:

    COLUMNS = (
        Column('peak memory', 'MB', lambda run: run.robot.node('policy').peak_memory_mb, LOWER),
        Column('steps per second', '1/s', lambda run: run.robot.steps_per_sec, HIGHER, digits=0),
    )
    console.print(comparison_table({'uncompressed': full, 'compressed': compressed}, COLUMNS))
    console.print(rows_table(list(runs.values()), COLUMNS, names=list(runs)))
    write_json(path, values_of(runs, COLUMNS))
"""

import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from rich.console import Console
from rich.table import Table

from rl_edge_core.files import write_atomically
from rl_edge_core.results import json_types

HIGHER, LOWER = 'higher', 'lower'
MISSING = '-'
STANDARD_OUTPUT = '-'
_WIDTH = 180

Row = TypeVar('Row')
Name = TypeVar('Name')


@dataclass(frozen=True)
class Column(Generic[Row]):
    """One value of each run; ``Row`` is a `RunMetrics`, or anything that a table has rows of."""

    name: str
    unit: str
    value_of: Callable[[Row], float | str]
    """A text is shown as it is, in tables alone."""
    better: str = ''
    """`HIGHER`, `LOWER`, or neither."""
    digits: int | None = None
    """Behind the point; None for as many as suit the value."""
    key: str = ''
    """In JSON; empty for the name with underscores."""
    is_difference: bool = False
    """Compare two runs by their difference: for values that may be negative or zero."""

    @property
    def heading(self) -> str:
        """Return the name with its unit."""
        return f'{self.name} ({self.unit})' if self.unit else self.name

    @property
    def json_key(self) -> str:
        """Return the key of its values in JSON."""
        return self.key or self.name.replace(' ', '_')

    def cell(self, row: Row) -> str:
        """Write the value of a row; ``-`` where it is missing."""
        value = self.value_of(row)
        return value if isinstance(value, str) else number(value, digits=self.digits)

    def compare(self, first: float, second: float) -> str:
        """Write how the second value differs from the first: ``-12.0``, ``6.5x less``, same."""
        if not (math.isfinite(first) and math.isfinite(second)):
            return MISSING
        if first == second:
            return 'same'
        if self.is_difference:
            return f'{second - first:+.{self.digits if self.digits is not None else 3}f}'
        if not min(first, second) > 0:
            return MISSING
        quotient = number(max(first, second) / min(first, second), digits=2)
        if quotient == '1.00':
            return 'same'
        return f'{quotient}x {"less" if second < first else "more"}'


def number(value: float | None, *, digits: int | None = None) -> str:
    """Write a value with a precision that suits its size; ``-`` where it is missing."""
    if value is None or not math.isfinite(value):
        return MISSING
    if digits is None and 0 < abs(value) < 1:
        return f'{value:#.3g}'
    if digits is None:
        digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 10 else 3
    return f'{value:.{digits}f}'


def values_of(
    runs: Mapping[Name, Row], columns: Sequence[Column[Row]]
) -> dict[Name, dict[str, float]]:
    """Return the values of each run, by its name and the columns' keys; NaN where missing."""
    return {
        name: {column.json_key: float(column.value_of(run)) for column in columns}
        for name, run in runs.items()
    }


def ratios_of(first: Row, second: Row, columns: Iterable[Column[Row]]) -> dict[str, float]:
    """Return the first run's values over the second's; NaN unless both are positive."""
    pairs = {c.json_key: (float(c.value_of(first)), float(c.value_of(second))) for c in columns}
    return {
        key: above / below if min(above, below) > 0 else math.nan
        for key, (above, below) in pairs.items()
    }


def comparison_table(
    runs: Mapping[str, Row], columns: Iterable[Column[Row]], *, title: str = '', note: str = ''
) -> Table:
    """Return a table with a line per column and a run beside the other.

    Two runs have in a last column how the second differs from the first.
    """
    names = list(runs)
    headings = ['', *names, f'{names[1]} is'] if len(names) == 2 else ['', *names]
    return text_table(headings, comparison_rows(runs, columns), title=title, note=note)


def text_table(
    headings: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = '', note: str = ''
) -> Table:
    """Return a table of texts; its first column is on the left, the others on the right."""
    table = Table(title=title or None, caption=note or None, title_justify='left')
    for index, heading in enumerate(headings):
        table.add_column(heading, justify='right' if index else 'left')
    for row in rows:
        table.add_row(*row)
    return table


def comparison_rows(
    runs: Mapping[str, Row], columns: Iterable[Column[Row]]
) -> list[tuple[str, ...]]:
    """Return the texts of `comparison_table`, a row per column.

    An arrow behind a heading says which direction is better.
    """
    rows = []
    for column in columns:
        heading = column.heading + {HIGHER: ' ↑', LOWER: ' ↓'}.get(column.better, '')
        cells = [column.cell(run) for run in runs.values()]
        if len(runs) == 2:
            cells.append(column.compare(*(float(column.value_of(run)) for run in runs.values())))
        rows.append((heading, *cells))
    return rows


def rows_table(
    rows: Sequence[Row],
    columns: Sequence[Column[Row]],
    *,
    title: str = '',
    note: str = '',
    names: Sequence[str] = (),
) -> Table:
    """Return a table with a line per row; ``names`` stand before them where they are given."""
    headings = [*([''] if names else []), *(column.heading for column in columns)]
    texts = [
        [*names[index : index + 1], *(column.cell(row) for column in columns)]
        for index, row in enumerate(rows)
    ]
    return text_table(headings, texts, title=title, note=note)


def make_console(*, data_on_stdout: bool) -> Console:
    """Return where tables go: not to standard output when data goes there.

    Tables in a pipe or a log are as wide as they need to be.
    """
    console = Console(stderr=data_on_stdout)
    return console if console.is_terminal else Console(stderr=data_on_stdout, width=_WIDTH)


def write_text(target: str, text: str) -> None:
    """Write ``text`` to a file, or to standard output for ``-``; raise StorageError."""
    if target == STANDARD_OUTPUT:
        sys.stdout.write(text)
    else:
        write_atomically(Path(target), text)


def write_json(target: str, value: Any) -> None:
    """Write a value as JSON, to standard output for ``-``; what is missing is null."""
    write_text(target, json.dumps(json_types(value), indent=1) + '\n')
