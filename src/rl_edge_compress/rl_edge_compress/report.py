"""Measure what compression cost and saved: files, time, memory, actions, walking."""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rl_edge_compress import closed_loop
from rl_edge_compress.progress import Progress
from rl_edge_compress.recipes import RECIPES
from rl_edge_compress.report_pictures import write_pictures
from rl_edge_compress.report_table import Timings, kept_timings, markdown, timing_table
from rl_edge_compress.select_recipe import (
    ClosedLoop,
    RecipeReport,
    action_errors,
    compare_episodes,
    recipes_to_confirm,
    select_recipe,
)
from rl_edge_compress.tflite_file import file_facts
from rl_edge_core.artifact import FULL_RECIPE, checked_file, load_manifest, write_manifest
from rl_edge_core.errors import ArtifactError
from rl_edge_core.files import ensure_folder, hold_folder, write_atomically
from rl_edge_core.results import describe_machine, write_json
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
    cluster: str = ''
    """That runs them instead; see docs/cluster.md."""
    timing_rounds: int = 30
    """Rounds in which all files are timed in turn."""


def run(options: argparse.Namespace) -> None:
    """Make the report of a command line and print its table."""
    config = ReportConfig(options.episodes, options.confirm, options.processes, options.cluster)
    names = [name for name in options.recipes.split(',') if name]
    if options.timing_only:
        timings = measure_timings(options.folder, config, recipes=names)
        print(timing_table(list(dict.fromkeys(recipe for _, recipe in timings)), timings))
        return
    reports, default = make_report(options.folder, config, recipes=names)
    print(markdown(reports, default=default))
    print(f'compressed uses {default}; wrote {options.folder / "report"}')


def measure_timings(folder: Path, config: ReportConfig, *, recipes: Sequence[str] = ()) -> Timings:
    """Measure time and memory alone, e.g. on a quiet machine; a report takes them from there."""
    report = _Report(folder, config, recipes)
    observations, _ = report.held_out_states()
    timings = report.timings(observations)
    report.bar.close()
    return timings


def make_report(
    folder: Path, config: ReportConfig, *, recipes: Sequence[str] = ()
) -> tuple[list[RecipeReport], str]:
    """Measure the files of an artifact folder that `compress` wrote; return reports and default.

    Writes ``folder/report``: report.json, report.md and pictures; episodes are kept there, so that
    an interrupted report goes on. The default recipe goes into the manifest. ``recipes`` limits
    it to some. Raise ArtifactError when there is nothing to compare.
    """
    report = _Report(folder, config, recipes)
    observations, actions = report.held_out_states()
    timings = report.timings(observations)
    compared = report.compare(report.manifest.recipes, FIRST_CHOOSING_SEED, config.episodes)
    reports = [
        RecipeReport(
            **report.file_facts(recipe),
            **report.action_errors(recipe, observations, actions),
            timings={runtime: t for (runtime, name), t in timings.items() if name == recipe},
            chosen_by=compared[recipe],
        )
        for recipe in report.manifest.recipes
    ]
    if config.confirm:
        reports = report.confirmed(reports)
    report.bar.close()
    default = select_recipe(reports, runtime=PREFERRED_RUNTIME)
    report.write(reports, default)
    return reports, default


class _Report:
    """One report under way: its folder, its settings and its progress bar."""

    def __init__(self, folder: Path, config: ReportConfig, recipes: Sequence[str]) -> None:
        """Take the files of ``recipes``, of all for none; ArtifactError when there are none."""
        self.folder, self.config = folder, config
        self.manifest = load_manifest(folder)
        if recipes:
            wanted = dict.fromkeys([FULL_RECIPE, 'float32', *recipes])
            entries = tuple(self.manifest.entry(recipe) for recipe in wanted)
            self.manifest = dataclasses.replace(self.manifest, files=entries)
        if len(self.manifest.files) < 2:
            raise ArtifactError(f'{self.manifest.name} has no compressed file: compress it first')
        self.out = ensure_folder(hold_folder(folder) / REPORT)
        self.bar = Progress(1, 'step', what='held-out states')

    def _begin(self, what: str, total: int) -> None:
        self.bar.close()
        self.bar = Progress(total, 'step', what=what)

    def held_out_states(self) -> tuple[np.ndarray, np.ndarray]:
        """Return states that the full policy visits in episodes nothing was learned from."""
        seeds = range(FIRST_HELD_OUT_SEED, FIRST_HELD_OUT_SEED + HELD_OUT_EPISODES)
        states = closed_loop.visited_states(self.folder, FULL_RECIPE, seeds)
        self.bar.update()
        return states

    def timings(self, observations: np.ndarray) -> Timings:
        """Return what an action of every file takes, kept from before or measured now."""
        return kept_timings(
            self.folder,
            self.manifest,
            observations,
            kept=self.out,
            rounds=self.config.timing_rounds,
            on_start=lambda steps: self._begin('timing', steps),
            on_step=lambda: self.bar.update(),
        )

    def compare(
        self, recipes: Sequence[str], first_seed: int, count: int
    ) -> dict[str, ClosedLoop]:
        """Run ``count`` episodes of each recipe and of the full policy, on the same seeds."""
        # float32 stands for the full policy: the same network costs less in LiteRT.
        whole = load_manifest(self.folder).recipes
        full = 'float32' if 'float32' in whole else FULL_RECIPE
        wanted = dict.fromkeys([full, *recipes], range(first_seed, first_seed + count))
        kept = self.out / 'episodes'
        missing = closed_loop.count_missing(self.folder, wanted, kept=kept)
        self._begin(f'episodes from seed {first_seed}', missing)
        results = closed_loop.run_episodes(
            self.folder,
            wanted,
            kept=kept,
            processes=self.config.processes,
            cluster=self.config.cluster,
            on_episodes=self.bar.update,
        )
        return {name: compare_episodes(found, results[full]) for name, found in results.items()}

    def file_facts(self, recipe: str) -> dict[str, Any]:
        """Return what is known of a recipe's file without running it."""
        entry = self.manifest.entry(recipe)
        content = checked_file(self.folder, entry).read_bytes()
        facts = file_facts(content) if entry.file.endswith('.tflite') else None
        description = RECIPES[recipe].description if recipe in RECIPES else recipe
        if recipe == FULL_RECIPE:
            description = 'the full policy in Keras'
        return {
            'recipe': recipe,
            'description': description,
            'numeric_format': entry.numeric_format,
            'parameters': entry.parameters,
            'bytes': entry.bytes,
            'gzip_bytes': facts.gzip_bytes if facts else entry.bytes,
            'sparsity': facts.sparsity if facts else 0.0,
            'runtimes': entry.runtimes,
            'unsupported': entry.unsupported,
        }

    def action_errors(
        self, recipe: str, observations: np.ndarray, actions: np.ndarray
    ) -> dict[str, Any]:
        """Return how far a recipe's actions are from the full policy's on the same states."""
        policy = load_policy(self.folder, recipe=recipe)
        answers = np.asarray([policy.act(seen) for seen in observations])
        return action_errors(answers, actions, self.manifest.environment.action_names)

    def confirmed(self, reports: Sequence[RecipeReport]) -> list[RecipeReport]:
        """Return the reports, those of the chosen recipes with the results of fresh seeds."""
        compressed = [report for report in reports if report.recipe != FULL_RECIPE]
        reasons = recipes_to_confirm(compressed, runtime=PREFERRED_RUNTIME)
        fresh = self.compare(list(reasons), FIRST_FRESH_SEED, self.config.confirm)
        return [
            dataclasses.replace(
                report,
                confirmed=fresh[report.recipe],
                role=reasons.get(report.recipe, 'full policy'),
            )
            if report.recipe in fresh
            else report
            for report in reports
        ]

    def write(self, reports: Sequence[RecipeReport], default: str) -> None:
        """Write report.json, report.md and pictures, and the default recipe to the manifest."""
        content = {
            'machine': describe_machine(),
            'config': self.config,
            'default_recipe': default,
            'recipes': [report.to_dict() for report in reports],
        }
        write_json(self.out / 'report.json', content)
        write_atomically(self.out / 'report.md', markdown(reports, default=default))
        write_pictures(reports, self.out, runtime=PREFERRED_RUNTIME)
        manifest = load_manifest(self.folder)
        if default in manifest.recipes:
            write_manifest(dataclasses.replace(manifest, default_recipe=default), self.folder)
