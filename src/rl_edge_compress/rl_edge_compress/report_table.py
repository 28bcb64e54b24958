"""The report as a Markdown table, and its timings, kept between runs.

They can so be taken once, while the machine is quiet.
"""

import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from rl_edge_compress import benchmark
from rl_edge_compress.benchmark import Combination, Timing
from rl_edge_compress.select_recipe import ClosedLoop, RecipeReport, fastest_that_keeps_return
from rl_edge_core.artifact import Manifest, load_manifest
from rl_edge_core.errors import ArtifactError
from rl_edge_core.files import write_atomically

TIMINGS_FILE = 'timings.json'
Timings = dict[Combination, Timing]
COLUMNS = (
    'recipe',
    'bytes',
    'gzip',
    'zeros',
    'parameters',
    'action RMSE',
    'return',
    'return kept',
    'distance (m)',
    'ended early',
    'episodes',
)


def markdown(reports: Sequence[RecipeReport], *, default: str) -> str:
    """Return the tables of a report: what was kept, and what an action takes."""
    rows = [_row(report, default) for report in reports]
    # Without the columns that no row has a value of, as of a distance.
    shown = [index for index in range(len(COLUMNS)) if any(row[index] != '-' for row in rows)]
    parts = [
        table([COLUMNS[i] for i in shown], [[row[i] for i in shown] for row in rows]),
        'Time of one action, p50 / p99 in us, and resident memory of a process in MB.',
        timing_table(
            [report.recipe for report in reports],
            {
                (runtime, r.recipe): timing
                for r in reports
                for runtime, timing in r.timings.items()
            },
        ),
    ]
    runtimes = dict.fromkeys(runtime for report in reports for runtime in report.runtimes)
    parts += [
        f'On {runtime}, the fastest that keeps the return: {recipe}.'
        for runtime, recipe in (
            (name, fastest_that_keeps_return(reports, runtime=name)) for name in runtimes
        )
        if runtime != 'keras' and recipe
    ]
    reasons = [
        f'- {report.recipe} on {runtime}: {reason}'
        for report in reports
        for runtime, reason in report.unsupported.items()
    ]
    if reasons:
        parts.append('Not supported:\n\n' + '\n'.join(reasons))
    return '\n\n'.join(parts) + '\n'


def _row(report: RecipeReport, default: str) -> list[str]:
    loop = report.best_known
    early = loop.summary.early_end_share
    name = f'**{report.recipe}**' if report.recipe == default else report.recipe
    seeds = 'fresh' if report.confirmed else 'choosing'
    return [
        name,
        f'{report.bytes:,}',
        f'{report.gzip_bytes:,}',
        f'{100 * report.sparsity:.1f} %',
        f'{report.parameters:,}',
        f'{report.action_rmse:.4f}',
        str(loop.summary.episode_return),
        _kept(loop),
        str(loop.summary.forward_distance_m),
        f'{100 * early.estimate:.1f} % [{100 * early.low:.1f}, {100 * early.high:.1f}]',
        f'{early.count} {seeds}',
    ]


def _kept(loop: ClosedLoop) -> str:
    if math.isnan(loop.return_kept.estimate):
        return f'difference {loop.return_difference}'
    return str(loop.return_kept)


def timing_table(recipes: Sequence[str], timings: Timings) -> str:
    """Return p50 / p99 in us and resident memory in MB, recipes by runtimes."""
    runtimes = list(dict.fromkeys(runtime for runtime, _ in timings))

    def cell(runtime: str, recipe: str) -> str:
        taken = timings.get((runtime, recipe))
        if taken is None:
            return '–'
        return f'{taken.p50_us:.1f} / {taken.p99_us:.1f}; {taken.resident_memory_mb:.0f}'

    rows = [[recipe, *(cell(runtime, recipe) for runtime in runtimes)] for recipe in recipes]
    return table(['recipe', *runtimes], rows)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ['---'] * len(header), *rows]
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)


def kept_timings(
    folder: Path,
    manifest: Manifest,
    observations: np.ndarray,
    *,
    kept: Path,
    rounds: int,
    on_start: Callable[[int], None] = lambda steps: None,
    on_step: Callable[[], None] = lambda: None,
) -> Timings:
    """Return the timings of every file of ``manifest``; take those that ``kept`` does not have.

    Those taken in one call take turns, and compare best: delete the file to have all taken again.
    Raise ArtifactError for a damaged one.
    """
    path, whole = kept / TIMINGS_FILE, load_manifest(folder)
    wanted = benchmark.combinations(manifest)
    timings = _read(path, whole)
    missing = [key for key in wanted if key not in timings]
    if missing:
        on_start(rounds + len(missing))
        timings |= benchmark.measure(folder, missing, observations, rounds=rounds, on_step=on_step)
        _write(path, whole, timings)
    return {key: timings[key] for key in wanted}


def _write(path: Path, manifest: Manifest, timings: Timings) -> None:
    rows = [
        {
            'runtime': runtime,
            'recipe': recipe,
            'sha256': manifest.entry(recipe).sha256,
            **dataclasses.asdict(timing),
        }
        for (runtime, recipe), timing in timings.items()
    ]
    write_atomically(path, json.dumps(rows, indent=1) + '\n')


def _read(path: Path, manifest: Manifest) -> Timings:
    """Return the kept timings of files that are still the same."""
    if not path.is_file():
        return {}
    hashes = {entry.recipe: entry.sha256 for entry in manifest.files}
    timings: Timings = {}
    try:
        for row in json.loads(path.read_text()):
            runtime, recipe, sha256 = (row.pop(key) for key in ('runtime', 'recipe', 'sha256'))
            if hashes.get(recipe) == sha256:
                timings[runtime, recipe] = Timing(**row)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(f'{path} is damaged ({error}): delete it, and run again') from error
    return timings
