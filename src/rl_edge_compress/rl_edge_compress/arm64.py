"""Run shipped `.tflite` files on an emulated arm64 machine and compare them with this one."""

import argparse
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rl_edge_compress.arm64_machine import arm64_machine
from rl_edge_compress.closed_loop import visited_states
from rl_edge_compress.report_table import table
from rl_edge_compress.runtimes import MODULES, Trial, try_runtimes
from rl_edge_core.artifact import Manifest, ModelFile, checked_file, load_manifest
from rl_edge_core.errors import ArtifactError
from rl_edge_core.files import ensure_folder
from rl_edge_core.results import write_json

SEED = 45_000
OBSERVATIONS = 200
"""Of an episode that the policy drives, evenly spaced; the golden one comes on top."""
MACHINE = 'machine'
"""Sub-folder of the emulated machine; may be deleted."""

TryThere = Callable[[Sequence[Path], np.ndarray], Mapping[str, Mapping[str, Trial]]]

SAME = 'within tolerance'
REFUSED = 'refused, as on this machine'
FAILED = 'FAILED'


@dataclass(frozen=True)
class Comparison:
    """What one file in one runtime answers on arm64, beside what it answers here."""

    model: str
    recipe: str
    runtime: str
    verdict: str
    """`SAME`, `REFUSED`, or `FAILED` and why."""
    golden_error: float | None = None
    """Largest difference of the golden action from the manifest's; None for no answer."""
    tolerance: float | None = None
    """Of the golden action, as the manifest has it."""
    largest: float | None = None
    """Largest difference from the same runtime here, over visited states."""
    rmse: float | None = None
    equal_share: float | None = None
    """Share of the states for which all actions are equal bit for bit."""

    @property
    def is_good(self) -> bool:
        """Return whether arm64 does what this machine does."""
        return not self.verdict.startswith(FAILED)


def run(options: argparse.Namespace) -> int:
    """Compare the models of a command line; print a table; return 1 when one fails."""
    out = ensure_folder(options.out)
    python = arm64_machine(out / MACHINE, say=print)
    rows: list[Comparison] = []
    for model in options.models:
        rows += compare_model(model, lambda files, seen: try_runtimes(files, seen, python=python))
    write_json(out / 'arm64.json', rows)
    print(markdown(rows))
    print(f'wrote {out / "arm64.json"}')
    return 0 if all(row.is_good for row in rows) else 1


def compare_model(model: Path, try_there: TryThere) -> list[Comparison]:
    """Compare every `.tflite` file of an artifact folder, in every runtime.

    ``try_there(files, observations)`` is `try_runtimes` of the other machine. Raise ArtifactError
    for a folder without such files.
    """
    manifest = load_manifest(model)
    entries = [entry for entry in manifest.files if entry.file.endswith('.tflite')]
    if not entries:
        raise ArtifactError(f'{model} has no .tflite file: compress it first')
    files = [checked_file(model, entry) for entry in entries]
    observations = _observations(model, manifest)
    here, there = try_runtimes(files, observations), try_there(files, observations)
    return [
        compare(manifest.name, entry, runtime, here[runtime][entry.file], trial)
        for entry in entries
        for runtime, trial in ((name, there[name][entry.file]) for name in MODULES)
    ]


def _observations(model: Path, manifest: Manifest) -> np.ndarray:
    """Return the golden observation and, after it, visited ones."""
    seen, _ = visited_states(model, manifest.compressed_recipe(), [SEED])
    chosen = np.linspace(0, len(seen) - 1, min(OBSERVATIONS, len(seen))).astype(int)
    return np.vstack([np.asarray(manifest.golden_observation, np.float32)[None], seen[chosen]])


def compare(model: str, entry: ModelFile, runtime: str, here: Trial, there: Trial) -> Comparison:
    """Judge one file in one runtime by its golden pair; the first action is the golden one."""
    row = Comparison(model, entry.recipe, runtime, verdict='')
    if there.actions is None:
        is_expected = runtime not in entry.runtimes
        verdict = REFUSED if is_expected else f'{FAILED}: {there.reason}'
        return dataclasses.replace(row, verdict=verdict)
    golden = float(np.abs(there.actions[0] - np.asarray(entry.golden_action)).max())
    tolerance = entry.golden_tolerance.get(runtime)
    row = dataclasses.replace(
        row, verdict=_verdict(golden, tolerance), golden_error=golden, tolerance=tolerance
    )
    if here.actions is None:
        return row
    difference = np.abs(there.actions[1:] - here.actions[1:])
    return dataclasses.replace(
        row,
        largest=float(difference.max()),
        rmse=float(np.sqrt(np.mean(np.square(difference)))),
        equal_share=float(np.mean((difference == 0).all(axis=1))),
    )


def _verdict(golden_error: float, tolerance: float | None) -> str:
    if tolerance is None:
        return f'{FAILED}: answers, where the manifest says that this runtime cannot'
    if not golden_error <= tolerance:
        return f'{FAILED}: the golden action is {golden_error:.2g} off, tolerated {tolerance:g}'
    return SAME


def markdown(rows: Sequence[Comparison]) -> str:
    """Return the comparison as a Markdown table."""
    header = (
        'model',
        'recipe',
        'runtime',
        'golden error',
        'tolerance',
        'largest difference',
        'RMS difference',
        'equal bit for bit',
        'verdict',
    )
    return table(
        header,
        [
            [
                row.model,
                row.recipe,
                row.runtime,
                _figure(row.golden_error),
                _figure(row.tolerance),
                _figure(row.largest),
                _figure(row.rmse),
                '–' if row.equal_share is None else f'{100 * row.equal_share:.0f} %',
                row.verdict,
            ]
            for row in rows
        ],
    )


def _figure(value: float | None) -> str:
    return '–' if value is None else f'{value:.2g}'
