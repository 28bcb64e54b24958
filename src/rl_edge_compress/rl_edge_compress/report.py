"""Measure what compression cost and saved: files, time, memory, actions, walking."""

import argparse
import dataclasses
import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from rl_edge_compress import closed_loop, judgement
from rl_edge_compress.file_facts import file_facts
from rl_edge_compress.judgement import RecipeReport
from rl_edge_compress.kept_timings import Timings, kept_timings
from rl_edge_compress.recipes import RECIPES
from rl_edge_compress.report_pictures import write_pictures
from rl_edge_compress.report_table import markdown, timing_table
from rl_edge_core.artifact import (
    FULL_RECIPE,
    Manifest,
    checked_file,
    load_manifest,
    write_manifest,
)
from rl_edge_core.errors import ArtifactError
from rl_edge_core.files import ensure_folder, write_atomically
from rl_edge_policy.load import load_policy

FIRST_HELD_OUT_SEED = 40_000
HELD_OUT_EPISODES = 5
FIRST_CHOOSING_SEED = 50_000
FIRST_FRESH_SEED = 60_000
PREFERRED_RUNTIME = 'litert'
REPORT = 'report'
"""Sub-folder of what a report writes."""


@dataclasses.dataclass(frozen=True)
class ReportConfig:
    """How much a report runs."""

    episodes: int = 50
    """Of each recipe, to choose by."""
    confirm: int = 400
    """Fresh ones of the chosen recipes and the full policy; 0 chooses without."""
    processes: int = 2
    """That run episodes at once."""
    timing_rounds: int = 30
    """Rounds in which all files are timed in turn."""


def run(options: argparse.Namespace) -> int:
    """Make the report of a command line and print its table."""
    config = ReportConfig(options.episodes, options.confirm, options.processes)
    names = [name for name in options.recipes.split(',') if name]
    if options.timing_only:
        timings = measure_timings(options.folder, config, recipes=names)
        print(timing_table(list(dict.fromkeys(recipe for _, recipe in timings)), timings))
        return 0
    reports, default = make_report(options.folder, config, recipes=names)
    print(markdown(reports, default=default))
    print(f'compressed uses {default}; written to {options.folder / "report"}')
    return 0


def measure_timings(folder: Path, config: ReportConfig, *, recipes: Sequence[str] = ()) -> Timings:
    """Measure time and memory alone, e.g. on a quiet machine; a report takes them from there."""
    manifest = _limited(load_manifest(folder), recipes)
    bar = _Bar()
    observations, _ = _held_out(folder, bar)
    timings = _timings(folder, manifest, observations, config, bar)
    bar.close()
    return timings


def make_report(
    folder: Path, config: ReportConfig, *, recipes: Sequence[str] = ()
) -> tuple[list[RecipeReport], str]:
    """Measure the files of an artifact folder that `compress` wrote; return reports and default.

    Writes ``folder/report``: report.json, report.md and pictures; episodes are kept there, so that
    an interrupted report goes on. The default recipe goes into the manifest. ``recipes`` limits
    it to some. Raise ArtifactError when there is nothing to compare.
    """
    manifest = _limited(load_manifest(folder), recipes)
    out = ensure_folder(folder / REPORT)
    bar = _Bar()
    observations, actions = _held_out(folder, bar)
    timings = _timings(folder, manifest, observations, config, bar)
    loops = _loops(
        folder, out, manifest.recipes, FIRST_CHOOSING_SEED, config.episodes, config, bar
    )
    reports = [
        _report_of(folder, manifest, recipe, timings, observations, actions, loops[recipe])
        for recipe in manifest.recipes
    ]
    if config.confirm:
        reports = _confirmed(folder, out, reports, config, bar)
    bar.close()
    default = judgement.choose_default(reports, runtime=PREFERRED_RUNTIME)
    _write(folder, out, reports, default, config)
    return reports, default


def _limited(manifest: Manifest, recipes: Sequence[str]) -> Manifest:
    if recipes:
        wanted = dict.fromkeys([FULL_RECIPE, 'float32', *recipes])
        entries = tuple(manifest.entry(recipe) for recipe in wanted)
        manifest = dataclasses.replace(manifest, files=entries)
    if len(manifest.files) < 2:
        raise ArtifactError(f'{manifest.name} has no compressed file: compress it first')
    return manifest


class _Bar:
    """One progress bar for the phases of a report."""

    def __init__(self) -> None:
        self._bar: tqdm | None = None

    def start(self, what: str, total: int) -> None:
        self.close()
        self._bar = tqdm(total=total, desc=what, dynamic_ncols=True)

    def step(self, count: int = 1) -> None:
        if self._bar is not None:
            self._bar.update(count)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
        self._bar = None


def _held_out(folder: Path, bar: _Bar) -> tuple[np.ndarray, np.ndarray]:
    """Return states that the full policy visits in episodes nothing was learned from."""
    bar.start('held-out states', 1)
    seeds = range(FIRST_HELD_OUT_SEED, FIRST_HELD_OUT_SEED + HELD_OUT_EPISODES)
    states = closed_loop.visited_states(folder, FULL_RECIPE, seeds)
    bar.step()
    return states


def _timings(
    folder: Path, manifest: Manifest, observations: np.ndarray, config: ReportConfig, bar: _Bar
) -> Timings:
    return kept_timings(
        folder,
        manifest,
        observations,
        kept=ensure_folder(folder / REPORT),
        rounds=config.timing_rounds,
        on_start=lambda steps: bar.start('timing', steps),
        on_step=bar.step,
    )


def _loops(
    folder: Path,
    out: Path,
    recipes: Sequence[str],
    first_seed: int,
    count: int,
    config: ReportConfig,
    bar: _Bar,
) -> dict[str, judgement.ClosedLoop]:
    """Run ``count`` episodes of each recipe and of the full policy."""
    seeds = range(first_seed, first_seed + count)
    full = _reference(folder)
    wanted = dict.fromkeys([full, *recipes], seeds)
    kept = out / 'episodes'
    bar.start(
        f'episodes from seed {first_seed}', closed_loop.count_missing(folder, wanted, kept=kept)
    )
    results = closed_loop.run_episodes(
        folder, wanted, kept=kept, processes=config.processes, on_episodes=bar.step
    )
    reference = results[full]
    return {name: judgement.closed_loop(found, reference) for name, found in results.items()}


def _reference(folder: Path) -> str:
    """Return the recipe that stands for the full policy: the same network costs less in LiteRT."""
    return 'float32' if 'float32' in load_manifest(folder).recipes else FULL_RECIPE


def _report_of(
    folder: Path,
    manifest: Manifest,
    recipe: str,
    timings: Timings,
    observations: np.ndarray,
    actions: np.ndarray,
    loop: judgement.ClosedLoop,
) -> RecipeReport:
    entry = manifest.entry(recipe)
    content = checked_file(folder, entry).read_bytes()
    facts = file_facts(content) if entry.file.endswith('.tflite') else None
    policy = load_policy(folder, recipe=recipe)
    error = judgement.action_error(
        np.asarray([policy.act(observation) for observation in observations]), actions
    )
    return RecipeReport(
        recipe=recipe,
        description=_description(recipe),
        numeric_format=entry.numeric_format,
        parameters=entry.parameters,
        bytes=entry.bytes,
        gzip_bytes=facts.gzip_bytes if facts else entry.bytes,
        sparsity=facts.sparsity if facts else 0.0,
        runtimes=entry.runtimes,
        unsupported=entry.unsupported,
        timings={runtime: timing for (runtime, name), timing in timings.items() if name == recipe},
        action_rmse=error.rmse,
        action_rmse_of_joint=dict(
            zip(manifest.environment.action_names, error.of_joint, strict=True)
        ),
        action_error_max=error.largest,
        chosen_by=loop,
    )


def _description(recipe: str) -> str:
    if recipe == FULL_RECIPE:
        return 'the full actor-critic in Keras'
    return RECIPES[recipe].description if recipe in RECIPES else recipe


def _confirmed(
    folder: Path, out: Path, reports: list[RecipeReport], config: ReportConfig, bar: _Bar
) -> list[RecipeReport]:
    """Return the reports with the figures of fresh seeds for the chosen recipes."""
    compressed = [report for report in reports if report.recipe != FULL_RECIPE]
    reasons = judgement.to_confirm(compressed, runtime=PREFERRED_RUNTIME)
    fresh = _loops(folder, out, list(reasons), FIRST_FRESH_SEED, config.confirm, config, bar)
    return [
        dataclasses.replace(
            report, confirmed=fresh[report.recipe], role=reasons.get(report.recipe, 'full policy')
        )
        if report.recipe in fresh
        else report
        for report in reports
    ]


def _write(
    folder: Path, out: Path, reports: list[RecipeReport], default: str, config: ReportConfig
) -> None:
    content = {
        'machine': _machine(),
        'config': dataclasses.asdict(config),
        'default_recipe': default,
        'recipes': [report.to_dict() for report in reports],
    }
    text = json.dumps(content, indent=1, default=_plain)
    write_atomically(out / 'report.json', text + '\n')
    write_atomically(out / 'report.md', markdown(reports, default=default))
    write_pictures(reports, out, runtime=PREFERRED_RUNTIME)
    manifest = load_manifest(folder)
    if default in manifest.recipes:
        write_manifest(dataclasses.replace(manifest, default_recipe=default), folder)


def _plain(value: Any) -> Any:
    return dict(value)


def _machine() -> dict[str, Any]:
    return {
        'processor': _processor(),
        'cores': os.cpu_count(),
        'system': platform.platform(),
        'python': platform.python_version(),
    }


def _processor() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.machine()
