"""One run of the envelope, what counts as walking, and where to look for the smallest share."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rl_edge_experiments.recorded_run import RecordedRun
from rl_edge_experiments.report.figures import mean_speed

WHOLE = 100.0
"""Of a core, in percent: stands for no quota."""
SMALLEST_SHARE = 0.2
CLOSE_ENOUGH = 1.25
"""The search ends when the smallest share that walks is less than so many times one that does
not."""


@dataclass(frozen=True)
class Cell:
    """One run: a configuration at a real-time factor on a share of a core."""

    configuration: str
    real_time_factor: float
    core_percent: float
    """The quota; `WHOLE` for none."""
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


@dataclass(frozen=True)
class Judged:
    """A cell beside the unlimited one."""

    cell: Cell
    return_kept: float
    speed_kept: float
    """NaN where the environment has no distance."""
    walks: bool


def judge(cell: Cell, reference: Cell, *, keep: float) -> Judged:
    """Say whether a cell walks: it keeps ``keep`` of the reference's speed, and stays upright.

    That is: at most half of its episodes end in a fall. Where there is no distance the return
    decides. The reference itself may not walk, on a computer that misses deadlines anyway.
    """
    kept = share_kept(cell.return_mean, reference.return_mean)
    speed = share_kept(cell.mean_speed_m_per_s, reference.mean_speed_m_per_s)
    upright = cell.falls <= len(cell.returns) / 2
    walks = kept >= keep if math.isnan(speed) else speed >= keep and upright
    return Judged(cell, kept, speed, walks)


def share_kept(value: float, reference: float) -> float:
    """Return how much of ``reference`` is left: 1 for all, also of a negative return."""
    if not math.isfinite(value) or not math.isfinite(reference) or reference == 0.0:
        return math.nan
    return 1.0 - (reference - value) / abs(reference)


def smallest_that_walks(judged: Mapping[float, bool]) -> float | None:
    """Return the smallest share that walks, None when none does.

    A larger one that does not is taken for chance: policies fall now and then on any computer, but
    none walks on one that is too small.
    """
    return min((share for share, walks in judged.items() if walks), default=None)


def next_share(judged: Mapping[float, bool]) -> float | None:
    """Return the share to try next, None when the smallest that walks is known well enough.

    Half of it while nothing smaller was tried; else between it and the largest that does not,
    in the geometric middle. None also when nothing walks at all.
    """
    walks = smallest_that_walks(judged)
    if walks is None:
        return None
    failing = [share for share, fine in judged.items() if not fine and share < walks]
    if not failing:
        half = walks / 2.0
        return half if half >= SMALLEST_SHARE else None
    largest = max(failing)
    return math.sqrt(walks * largest) if walks / largest > CLOSE_ENOUGH else None


def cell_of(
    run: RecordedRun, *, configuration: str, real_time_factor: float, core_percent: float
) -> Cell:
    """Return the figures of a run."""
    robot = run.robot
    episodes = [episode for episode in robot.episodes if episode.counts]
    steps = sum(episode.length for episode in episodes)
    missed = sum(episode.actions.missed for episode in episodes)
    late = sum(episode.actions.late for episode in episodes)
    answered = max(steps - missed + late, 1)
    return Cell(
        configuration=configuration,
        real_time_factor=real_time_factor,
        core_percent=core_percent,
        returns=tuple(episode.episode_return for episode in episodes),
        return_mean=float(np.mean([episode.episode_return for episode in episodes])),
        forward_distance_m=float(np.mean([episode.forward_distance_m for episode in episodes])),
        mean_speed_m_per_s=mean_speed(tuple(episodes), robot.control_period_sec),
        falls=sum(episode.ended_by == 'termination' for episode in episodes),
        steps=steps,
        cpu_ms_per_action=run.policy_cpu_ms_per_step * steps / answered,
        missed_share=missed / max(steps, 1),
        safe_share=sum(episode.actions.safe for episode in episodes) / max(steps, 1),
        response_ms_p50=robot.response_us.p50 / 1e3,
        response_ms_p99=robot.response_us.p99 / 1e3,
        throttling=run.measured.get('throttling'),
    )
