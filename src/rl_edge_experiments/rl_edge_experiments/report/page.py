"""The report as one HTML page that needs nothing beside it."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from rl_edge_experiments.experiment import COMPRESSED, FULL
from rl_edge_experiments.report.claims import DIFFERS, FAILS, HOLDS, OPEN, Claim
from rl_edge_experiments.report.sides import Pair

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
HEADINGS = ('', FULL, COMPRESSED, 'compressed is')
_CLASSES = {HOLDS: 'holds', FAILS: 'fails', OPEN: 'open', DIFFERS: 'open'}


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
        '<h1>Uncompressed and compressed policies</h1>',
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
        f'<title>Uncompressed and compressed policies</title><style>{_STYLE}</style></head>\n'
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


def _pair_parts(pair: Pair, images: Sequence[Path]) -> list[str]:
    head = ''.join(f'<th>{heading}</th>' for heading in HEADINGS)
    rows = [
        f'<tr><th scope="row">{escape(name)}</th>'
        + ''.join(f'<td>{escape(text)}</td>' for text in texts)
        + '</tr>'
        for name, *texts in pair.rows()
    ]
    parts = [
        f'<h2>{escape(pair.name)}</h2>',
        f'<p>{escape(f"{pair.full.model.model_id} and {pair.compressed.model.model_id}")}</p>',
        f'<table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>',
    ]
    for image in images:
        data = base64.b64encode(image.read_bytes()).decode()
        source = f'data:image/{image.suffix.lstrip(".")};base64,{data}'
        parts.append(f'<p><img alt="{escape(pair.name)}" src="{source}"></p>')
    for side in pair.sides.values():
        for run, notes in side.notes().items():
            parts += [f'<p class="small">{escape(f"{run}: {note}")}</p>' for note in notes]
    return parts


def _mapping_table(mapping: Mapping[str, Any]) -> str:
    rows = []
    for key, value in mapping.items():
        text = (
            ', '.join(f'{k} {v}' for k, v in value.items()) if isinstance(value, dict) else value
        )
        rows.append(f'<tr><td>{escape(key)}</td><td>{escape(str(text))}</td></tr>')
    return f'<table class="text small">{"".join(rows)}</table>'
