"""One run on a CPU budget, what counts as walking, and where to look for the smallest budget."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

NO_QUOTA = 100.0
"""Of a core, in percent: stands for no quota."""
SMALLEST_SHARE = 0.2
CLOSE_ENOUGH = 1.25
"""The search ends when the smallest share that walks is less than so many times one that does
not."""


@dataclass(frozen=True)
class BudgetRun:
    """One run: a configuration at a real-time factor on a share of a core."""

    configuration: str
    real_time_factor: float
    core_percent: float
    """The quota; `NO_QUOTA` for none."""
    returns: tuple[float, ...]
    return_mean: float
    forward_distance_m: float
    """Mean of the episodes; NaN where the environment has none."""
    mean_speed_m_per_s: float
    """Distance over simulated time."""
    falls: int
    steps: int
    cpu_ms_per_action: float
    """CPU time of the policy's process over the actions that it answered with."""
    missed_share: float
    """Control periods without the action that answers them."""
    safe_share: float
    """Steps on which the safe action stood in."""
    response_ms_p50: float
    response_ms_p99: float
    throttling: Mapping[str, Any] | None
    """What the kernel says of the quota; None without one."""
    return_kept: float = math.nan
    """Of the run without a quota, as what follows; see `compare`."""
    speed_kept: float = math.nan
    """NaN where the environment has no distance."""
    walks: bool = False


def compare(run: BudgetRun, reference: BudgetRun, *, keep: float) -> BudgetRun:
    """Decide whether a run walks: it keeps ``keep`` of the reference's speed, and stays upright.

    That is: at most half of its episodes end early. Where there is no distance the return
    decides. The reference itself may not walk, on a computer that misses deadlines anyway.
    """
    kept = share_kept(run.return_mean, reference.return_mean)
    speed = share_kept(run.mean_speed_m_per_s, reference.mean_speed_m_per_s)
    upright = run.falls <= len(run.returns) / 2
    walks = kept >= keep if math.isnan(speed) else speed >= keep and upright
    return replace(run, return_kept=kept, speed_kept=speed, walks=walks)


def share_kept(value: float, reference: float) -> float:
    """Return how much of ``reference`` is left: 1 for all, also of a negative return."""
    if not math.isfinite(value) or not math.isfinite(reference) or reference == 0.0:
        return math.nan
    return 1.0 - (reference - value) / abs(reference)


def smallest_that_walks(walks_at: Mapping[float, bool]) -> float | None:
    """Return the smallest share that walks, None when none does.

    A larger one that does not is taken for chance: episodes end early now and then on any
    computer, but no policy walks on one that is too small.
    """
    return min((share for share, walks in walks_at.items() if walks), default=None)


def next_share(walks_at: Mapping[float, bool]) -> float | None:
    """Return the share to try next, None when the smallest that walks is known well enough.

    Half of it while nothing smaller was tried; else between it and the largest that does not,
    in the geometric middle. None also when nothing walks at all.
    """
    walks = smallest_that_walks(walks_at)
    if walks is None:
        return None
    failing = [share for share, fine in walks_at.items() if not fine and share < walks]
    if not failing:
        half = walks / 2.0
        return half if half >= SMALLEST_SHARE else None
    largest = max(failing)
    return math.sqrt(walks * largest) if walks / largest > CLOSE_ENOUGH else None
