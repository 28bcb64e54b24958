"""The report as one HTML page that needs nothing beside it."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from rl_edge_experiments.report.claims import DIFFERS, FAILS, HOLDS, OPEN, Claim
from rl_edge_experiments.report.figures import ActingFigures, Pair, Side

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 75em; padding: 0 1em;
       color: #1d2733; }
table { border-collapse: collapse; margin: 1em 0; }
th, td { border-bottom: 1px solid #d5dbe1; padding: .3em .7em; text-align: right;
         vertical-align: top; }
th:first-child, td:first-child, .text td { text-align: left; }
.holds { color: #17703a; font-weight: 600; } .fails { color: #a32626; font-weight: 600; }
.open { color: #8a6100; font-weight: 600; }
.small { color: #5b6773; font-size: 13px; } img { max-width: 100%; }
"""
_CLASSES = {HOLDS: 'holds', FAILS: 'fails', OPEN: 'open', DIFFERS: 'open'}


@dataclass(frozen=True)
class Row:
    """One figure of a pair's table."""

    label: str
    full: float
    compressed: float
    digits: int

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """Return label, both values, and full over compressed."""
        ratio = self.full / self.compressed if self.compressed else float('nan')
        return (
            self.label,
            _number(self.full, self.digits),
            _number(self.compressed, self.digits),
            _number(ratio, 2),
        )


def rows_of(pair: Pair) -> list[Row]:
    """Return the figures of a pair in the order of the table."""
    rows = [
        Row('return, mean', *_both(pair, lambda side: side.returns.mean()), 1),
        Row('forward distance, mean (m)', *_both(pair, lambda side: side.distances_m.mean()), 2),
        Row(
            'falls (% of episodes)',
            *_both(pair, lambda side: 100 * side.summary.fall_share.estimate),
            1,
        ),
        Row('model file (kB)', *_both(pair, lambda side: side.file_bytes / 1e3), 1),
    ]
    for condition in pair.conditions:
        rows += _acting_rows(
            condition, pair.full.acting[condition], pair.compressed.acting[condition]
        )
    return rows


_ACTING = (
    ('policy process, CPU (% of a core)', lambda one: one.policy_cpu_percent.estimate, 1),
    ('policy process, CPU an action (ms)', lambda one: one.policy_cpu_ms_per_action, 2),
    ('policy and simulator, CPU (% of a core)', lambda one: one.loop_cpu_percent, 1),
    ('policy process, resident memory (MB)', lambda one: one.policy_resident_mb, 0),
    ('policy process, peak memory (MB)', lambda one: one.policy_peak_mb, 0),
    ('policy and simulator, resident memory (MB)', lambda one: one.loop_resident_mb, 0),
    ('start to first action (s)', lambda one: one.first_action_sec, 2),
    ('inference p50 (us)', lambda one: one.inference_us_p50, 0),
    ('inference p99 (us)', lambda one: one.inference_us_p99, 0),
    ('observation to action p50 (us)', lambda one: one.response_us_p50, 0),
    ('observation to action p99 (us)', lambda one: one.response_us_p99, 0),
    ('actions missed (%)', lambda one: 100 * one.missed_share, 2),
    ('mean speed (m/s)', lambda one: one.mean_speed_m_per_s, 2),
)
_RENDERED = (
    ('pictures later than 1.5 periods (%)', lambda one: 100 * one.late_share.estimate, 2),
    ('pictures a second', lambda one: one.rate_hz, 1),
    ('picture to picture p99 (ms)', lambda one: one.interval_ms.p99, 0),
    ('picture to picture, longest (ms)', lambda one: one.interval_ms.max, 0),
)


def _acting_rows(condition: str, full: ActingFigures, compressed: ActingFigures) -> list[Row]:
    rows = [
        Row(f'{condition}: {label}', float(figure(full)), float(figure(compressed)), digits)
        for label, figure, digits in _ACTING
    ]
    if full.pictures is not None and compressed.pictures is not None:
        rows += [
            Row(
                f'{condition}: {label}',
                float(figure(full.pictures)),
                float(figure(compressed.pictures)),
                digits,
            )
            for label, figure, digits in _RENDERED
        ]
    return rows


def _both(pair: Pair, figure: Any) -> tuple[float, float]:
    side: Sequence[Side] = (pair.full, pair.compressed)
    return float(figure(side[0])), float(figure(side[1]))


def render_page(
    pairs: Sequence[Pair],
    claims: Sequence[Claim],
    *,
    missing: Sequence[str],
    introduction: Sequence[str],
    machine: Mapping[str, Any],
    images: Mapping[str, Sequence[Path]],
) -> str:
    """Return the page; ``images`` has, by pair, the files that are shown below its table."""
    parts = [
        '<h1>Full and compressed policies</h1>',
        *(f'<p>{escape(line)}</p>' for line in introduction),
        *(f'<p class="open">{escape(line)}</p>' for line in missing),
        '<h2>The study&rsquo;s claims</h2>',
        _claims_table(claims),
    ]
    for pair in pairs:
        parts += _pair_parts(pair, images.get(pair.name, ()))
    parts += ['<h2>Machine</h2>', _mapping_table(machine)]
    body = '\n'.join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>Full and compressed policies</title><style>{_STYLE}</style></head>\n'
        f'<body>\n{body}\n</body></html>\n'
    )


def _claims_table(claims: Sequence[Claim]) -> str:
    rows = []
    for claim in claims:
        findings = '<br>'.join(
            f'{escape(model)}: {_verdict(finding.verdict)}, {escape(finding.figure)}'
            for model, finding in claim.findings.items()
        )
        rows.append(
            f'<tr><td>{escape(claim.text)}</td><td>{_verdict(claim.verdict)}</td>'
            f'<td>{findings}</td><td class="small">{escape(claim.criterion)}</td></tr>'
        )
    return (
        '<table class="text"><tr><td>the study says</td><td></td><td>measured</td>'
        f'<td>it holds when</td></tr>{"".join(rows)}</table>'
    )


def _verdict(verdict: str) -> str:
    return f'<span class="{_CLASSES.get(verdict, "small")}">{escape(verdict)}</span>'


def _pair_parts(pair: Pair, images: Iterable[Path]) -> list[str]:
    headings = ('', 'full', 'compressed', 'full / compressed')
    table = _table(headings, [row.cells for row in rows_of(pair)])
    identity = f'{pair.full.model.model_id} and {pair.compressed.model.model_id}'
    notes = sorted(
        {
            f'{run.bag.parent.name}: {note}'
            for side in (pair.full, pair.compressed)
            for run in (side.quality_run, *side.acting_runs.values())
            for note in run.figures.notes
        }
    )
    return [
        f'<h2>{escape(pair.name)}</h2>',
        f'<p>{escape(identity)}</p>',
        table,
        *(_embedded(image, pair.name) for image in images),
        *(f'<p class="small">{escape(note)}</p>' for note in notes),
    ]


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = ''.join(f'<th>{escape(heading)}</th>' for heading in headings)
    body = ''.join(
        '<tr>' + ''.join(f'<td>{escape(cell)}</td>' for cell in row) + '</tr>' for row in rows
    )
    return f'<table><tr>{head}</tr>{body}</table>'


def _mapping_table(mapping: Mapping[str, Any]) -> str:
    rows = []
    for key, value in mapping.items():
        text = (
            ', '.join(f'{k} {v}' for k, v in value.items()) if isinstance(value, dict) else value
        )
        rows.append(f'<tr><td>{escape(key)}</td><td>{escape(str(text))}</td></tr>')
    return f'<table class="text small">{"".join(rows)}</table>'


def _embedded(image: Path, name: str) -> str:
    kind = image.suffix.lstrip('.')
    data = base64.b64encode(image.read_bytes()).decode()
    return f'<p><img alt="{escape(name)}" src="data:image/{kind};base64,{data}"></p>'


def _number(value: float, digits: int) -> str:
    return f'{value:,.{digits}f}' if np.isfinite(value) else '-'
