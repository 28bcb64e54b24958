"""What each fault came to, as results/faults.json, faults.md and lines on the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl_edge_core.results import describe_machine, write_json

JSON_FILE, MARKDOWN_FILE = 'faults.json', 'faults.md'


@dataclass
class Row:
    """One fault in one mode; filled in while its test runs."""

    name: str
    mode: str
    expected: str
    happened: str = ''
    lost: int = 0
    passed: bool = True
    steps: int = 0
    duration_sec: float = 0.0

    def to_mapping(self) -> dict[str, Any]:
        """Return what stands in faults.json."""
        name = f'{self.name}, {self.mode}'
        return {**vars(self), 'name': name, 'duration_sec': round(self.duration_sec, 1)}

    def __str__(self) -> str:
        """Write the row as one line."""
        sign = 'passed' if self.passed else 'FAILED'
        return f'{sign}  {self.name}, {self.mode} ({self.duration_sec:.0f} s): {self.happened}'


def write_results(folder: Path, rows: Iterable[Row]) -> str:
    """Write faults.json and faults.md into ``folder``; return a line that sums them up."""
    rows = list(rows)
    passed = sum(row.passed for row in rows)
    content = {
        'faults': [row.to_mapping() for row in rows],
        'passed': passed,
        'machine': describe_machine(),
    }
    write_json(folder / JSON_FILE, content)
    (folder / MARKDOWN_FILE).write_text(to_markdown(rows))
    return f'{passed} of {len(rows)} passed; written: {folder / JSON_FILE}'


def to_markdown(rows: Iterable[Row]) -> str:
    """Return the matrix as a Markdown table."""
    lines = ['| fault | mode | expected | happened | lost | passed |', '|---|---|---|---|---|---|']
    for row in rows:
        happened = row.happened.replace('|', '/').replace('\n', ' ')
        passed = 'yes' if row.passed else 'NO'
        cells = (row.name, row.mode, row.expected, happened, row.lost, passed)
        lines.append(f'| {" | ".join(map(str, cells))} |')
    return '\n'.join(lines) + '\n'
