"""What compression cost and saved, and which recipe the `compressed` configuration takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rl_edge_compress.benchmark import Timing
from rl_edge_core.episode_result import EpisodeResult
from rl_edge_core.evaluation_summary import EvaluationSummary, summarize
from rl_edge_core.statistics import Interval, difference_interval, kept_interval

KEPT_LEAST = 0.97
"""Share of the full policy's return that the lower 95 % bound must reach."""


@dataclass(frozen=True)
class ClosedLoop:
    """How a recipe walks, beside the full policy on the same seeds."""

    summary: EvaluationSummary
    return_kept: Interval
    """Share of the full policy's mean return, seeds paired; NaN where that is about 0."""
    return_difference: Interval
    """Mean return minus that of the full policy, seeds paired."""

    @property
    def keeps_return(self) -> bool:
        """Return whether all of the interval is at least `KEPT_LEAST`; no share keeps nothing."""
        return self.return_kept.low >= KEPT_LEAST

    def to_dict(self) -> dict[str, Any]:
        """Return a mapping for `write_json`."""
        return {
            **self.summary.to_dict(),
            'return_kept': self.return_kept,
            'return_difference': self.return_difference,
        }


@dataclass(frozen=True)
class RecipeReport:
    """Everything measured of one file."""

    recipe: str
    description: str
    numeric_format: str
    parameters: int
    bytes: int
    gzip_bytes: int
    sparsity: float
    runtimes: tuple[str, ...]
    unsupported: Mapping[str, str]
    timings: Mapping[str, Timing]
    """By runtime."""
    action_rmse: float
    """Against the full actor on held-out states that it visits, in the action's units."""
    action_rmse_of_joint: Mapping[str, float]
    action_error_max: float
    chosen_by: ClosedLoop
    """On the seeds that recipes are chosen by."""
    confirmed: ClosedLoop | None = None
    """On fresh seeds; None for a recipe that was not chosen."""
    role: str = ''
    """Why it was confirmed."""

    @property
    def best_known(self) -> ClosedLoop:
        """Return the fresh seeds' figures where there are any."""
        return self.confirmed or self.chosen_by

    def p50_us(self, runtime: str) -> float:
        """Return the median time of an action; infinite where the runtime can't load the file."""
        return self.timings[runtime].p50_us if runtime in self.timings else float('inf')

    def to_dict(self) -> dict[str, Any]:
        """Return a mapping for `write_json`."""
        confirmed = self.confirmed.to_dict() if self.confirmed else None
        return {**vars(self), 'chosen_by': self.chosen_by.to_dict(), 'confirmed': confirmed}


def compare_episodes(
    results: Mapping[int, EpisodeResult], reference: Mapping[int, EpisodeResult]
) -> ClosedLoop:
    """Compare episodes by seed; both must have run the same ones."""
    seeds = sorted(results)
    returns, full = (
        [side[seed].episode_return for seed in seeds] for side in (results, reference)
    )
    return ClosedLoop(
        summary=summarize([results[seed] for seed in seeds]),
        return_kept=kept_interval(returns, full),
        return_difference=difference_interval(returns, full),
    )


def action_errors(
    actions: np.ndarray, reference: np.ndarray, joints: Sequence[str]
) -> dict[str, Any]:
    """Return what a `RecipeReport` says of actions (count, m) beside those of the full actor."""
    difference = actions.astype(np.float64) - reference
    of_joint = np.sqrt(np.mean(difference**2, axis=0)).tolist()
    return {
        'action_rmse': float(np.sqrt(np.mean(difference**2))),
        'action_rmse_of_joint': dict(zip(joints, of_joint, strict=True)),
        'action_error_max': float(np.abs(difference).max()),
    }


def recipes_to_confirm(
    reports: Sequence[RecipeReport], *, runtime: str, student_bytes: int = 16_000
) -> dict[str, str]:
    """Return which recipes to run on fresh seeds, each with the reason.

    The 8-bit one; of the pruned by 90 % and of the students of at most ``student_bytes`` the one
    that keeps most; and the cheapest candidate for the `compressed` configuration.
    """
    chosen: dict[str, str] = {}

    def best(candidates: Sequence[RecipeReport], why: str) -> None:
        if candidates:
            winner = max(candidates, key=lambda r: r.chosen_by.return_difference.estimate)
            chosen.setdefault(winner.recipe, why)

    best([r for r in reports if r.recipe == 'int8'], 'int8')
    best([r for r in reports if r.recipe.startswith('pruned90')], '90 % pruned')
    best(
        [r for r in reports if r.recipe.startswith('student') and r.bytes <= student_bytes],
        f'student of at most {student_bytes} bytes',
    )
    keeps = [r for r in reports if r.chosen_by.return_kept.estimate >= KEPT_LEAST]
    for report in by_cost(not_slower(keeps, reports, runtime=runtime))[:1]:
        chosen.setdefault(report.recipe, 'cheapest that may keep the return')
    return chosen


def by_cost(reports: Sequence[RecipeReport]) -> list[RecipeReport]:
    """Return reports by their files' bytes, which for one network rank its time as well."""
    return sorted(reports, key=lambda report: report.bytes)


def not_slower(
    candidates: Sequence[RecipeReport], reports: Sequence[RecipeReport], *, runtime: str
) -> list[RecipeReport]:
    """Return the candidates whose median time is at most that of float32 in ``runtime``."""
    limit = next((r.p50_us(runtime) for r in reports if r.recipe == 'float32'), float('inf'))
    return [report for report in candidates if report.p50_us(runtime) <= limit]


def select_recipe(reports: Sequence[RecipeReport], *, runtime: str) -> str:
    """Return the recipe of the `compressed` configuration.

    Of the recipes confirmed to keep `KEPT_LEAST` of the return (lower 95 % bound, fresh seeds),
    and not slower than float32, the smallest; float32 when there is none.
    """
    confirmed = [r for r in reports if r.confirmed and r.confirmed.keeps_return]
    candidates = by_cost(not_slower(confirmed, reports, runtime=runtime))
    return candidates[0].recipe if candidates else 'float32'


def fastest_that_keeps_return(reports: Sequence[RecipeReport], *, runtime: str) -> str:
    """Return the fastest recipe in a runtime of those that keep the return; float32 does."""
    keeping = [
        r for r in reports if r.recipe == 'float32' or (r.confirmed and r.confirmed.keeps_return)
    ]
    fastest = min(keeping, key=lambda r: r.p50_us(runtime), default=None)
    return fastest.recipe if fastest else ''
