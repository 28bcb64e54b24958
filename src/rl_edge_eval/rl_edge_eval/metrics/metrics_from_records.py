"""Turn what was kept while streaming into the metrics of a robot."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rl_edge_eval.bag.messages import Notes
from rl_edge_eval.metrics.records import EpisodeRecord, RobotRecord
from rl_edge_eval.metrics.run_metrics import (
    COUNTED,
    ENDED_BY_NAMES,
    UNFINISHED,
    ActionCounts,
    EpisodeMetrics,
    PolicyMetrics,
    RobotMetrics,
    over_steps,
)
from rl_edge_eval.metrics.series import Percentiles, StepSeries, intervals_sec, rate_hz, ratio

_POLICY_STATES = ('unconfigured', 'inactive', 'active', 'refusing', 'failed', 'finalized')
_RELATIVE_TOLERANCE = 1e-6
_LARGEST_LAG_SEC = 0.05
"""How much sooner transitions may come than the policy answered, after a stall of the recorder."""
_LARGEST_SHARE_BEFORE = 0.1
"""Of an episode's steps that may have happened while the recorder was still being connected."""


@dataclass(frozen=True)
class _Live:
    """What was recorded of an episode while it happened."""

    steps: StepSeries
    before: int = 0
    """Recorded steps that had happened earlier."""
    began: bool = True
    """Whether the episode began during the recording."""


def metrics_from_records(
    robot: RobotRecord,
    notes: Notes,
    *,
    image_times_ns: ArrayLike = (),
    breaks_ns: tuple[int, ...] = (),
) -> RobotMetrics:
    """Return the metrics of one robot, once its whole recording was read."""
    records = list(robot.episodes.values())
    environment, spec = robot.environment, robot.spec
    names = tuple(environment.reward_term_names) if environment is not None else ()
    period_sec = spec.control_period_sec if spec else math.nan
    live = _live_steps(records)
    episodes = tuple(
        _episode(record, part, names=names, period_sec=period_sec, breaks_ns=breaks_ns)
        for record, part in zip(records, live, strict=True)
    )
    _add_notes(records, live, episodes, where=robot.namespace or '/', notes=notes)
    before = sum(part.before for part in live)
    reports = {name: node.series() for name, node in robot.nodes.items()}
    metrics = over_steps(episodes, reports, breaks_ns)
    return RobotMetrics(
        namespace=robot.namespace,
        environment_id=environment.environment_id if environment is not None else '',
        spec_hash=spec.hash if spec else '',
        mode=environment.mode if environment is not None else '',
        control_period_sec=period_sec,
        lost_transitions=_lost(robot, records, live),
        duplicate_transitions=robot.sequence.duplicates,
        reordered_transitions=robot.reordered,
        steps_before_recording=robot.before_first + before,
        policies=tuple(_policy(message) for message in robot.policy_status),
        image_times_ns=np.asarray(image_times_ns, np.int64),
        breaks_ns=breaks_ns,
        **metrics,
    )


def _live_steps(records: Sequence[EpisodeRecord]) -> list[_Live]:
    """Return for each episode what was recorded while it happened.

    A transient-local subscriber that comes late is sent what was published before, all at once,
    and records it as of now. Live steps can't come sooner than the policy answered them, and its
    answers are timed by a steady clock: memory of before ends where recorded time lags most.
    """
    runs: dict[int, list[EpisodeRecord]] = {}
    for record in records:
        runs.setdefault(record.run_id, []).append(record)
    live_from_ns: dict[int, int] = {}
    first_episode: dict[int, int] = {}
    for run_id, run in runs.items():
        steps = StepSeries.joined([record.series() for record in run])
        if not len(steps):
            continue
        live_from_ns[run_id] = from_ns = _live_from_ns(steps)
        first_episode[run_id] = min(
            (record.episode for record in run if record.steps and max(record.time_ns) >= from_ns),
            default=2**32,
        )
    found = []
    for record in records:
        steps = record.series()
        kept = steps.time_ns >= live_from_ns.get(record.run_id, 0)
        before = len(steps) - int(kept.sum())
        first = first_episode.get(record.run_id, 2**32)
        began = record.episode > first or (
            record.episode == first
            and record.first_step == 0
            and before <= _LARGEST_SHARE_BEFORE * len(steps)
        )
        found.append(_Live(steps.where(kept), before, began))
    return found


def _live_from_ns(steps: StepSeries) -> int:
    waited_sec = np.cumsum(np.nan_to_num(steps.response_us, nan=0.0), dtype=np.float64) * 1e-6
    waited_sec -= waited_sec[0]
    elapsed_sec = (steps.time_ns - steps.time_ns[0]) * 1e-9
    last = int((waited_sec - elapsed_sec).argmax())
    lag_sec = waited_sec[last] - elapsed_sec[last]
    is_history = lag_sec > _LARGEST_LAG_SEC and waited_sec[last] > 2.0 * elapsed_sec[last]
    return int(steps.time_ns[last]) + 1 if is_history else int(steps.time_ns[0])


def _lost(robot: RobotRecord, records: Sequence[EpisodeRecord], live: Sequence[_Live]) -> int:
    """Return how many steps were made since the first recorded one and are not in the bag."""
    for record, part in zip(records, live, strict=True):
        # An episode from before the recording has a summary and no steps: it lost nothing here.
        if record.summary is not None and (record.steps or part.began):
            length = int(record.summary.length)
            robot.sequence.end_episode(record.run_id, record.episode, length)
    return robot.sequence.lost - robot.before_first


def _episode(
    record: EpisodeRecord,
    live: _Live,
    *,
    names: Sequence[str],
    period_sec: float,
    breaks_ns: tuple[int, ...],
) -> EpisodeMetrics:
    """Return the metrics of one episode: its summary's where there is one, else sums."""
    steps, hashes = live.steps, tuple(record.model_hashes)
    own = _from_summary(record) if record.summary is not None else _from_steps(record, period_sec)
    # Recorded time is known of live steps alone, simulated time of all.
    span_sec = math.nan if live.before else float(intervals_sec(steps.time_ns, breaks_ns).sum())
    return EpisodeMetrics(
        run_id=record.run_id,
        episode=record.episode,
        reward_terms=_named_terms(own.pop('terms'), names),
        recorded_steps=record.steps,
        response_us=Percentiles.of(steps.response_us),
        inference_us=Percentiles.of(steps.inference_us),
        steps_per_sec=rate_hz(steps.time_ns, breaks_ns),
        real_time_factor=ratio(record.last_sim_sec - record.first_sim_sec, span_sec),
        model_hash=hashes[-1] if hashes else '',
        models=len(hashes),
        has_summary=record.summary is not None,
        recorded_as_it_happened=live.began and len(steps) > 0,
        ended_ns=record.summary_ns,
        series=steps,
        **own,
    )


def _from_summary(record: EpisodeRecord) -> dict[str, Any]:
    message = record.summary
    known = 0 <= message.ended_by < len(ENDED_BY_NAMES)
    return {
        'seed': int(message.seed),
        'episode_return': float(message.episode_return),
        'terms': [float(term) for term in message.reward_terms],
        'length': int(message.length),
        'forward_distance_m': float(message.forward_distance),
        'mean_speed_m_per_s': float(message.mean_speed),
        'ended_by': ENDED_BY_NAMES[message.ended_by] if known else f'{message.ended_by}?',
        # Bags of before it was told apart have no reason.
        'termination_reason': str(getattr(message, 'termination_reason', '')),
        'actions': ActionCounts(
            missed=int(message.missed_actions),
            late=int(message.late_actions),
            duplicate=int(message.duplicate_actions),
            foreign=int(message.foreign_actions),
            rejected=int(message.rejected_actions),
            safe=int(message.safe_actions),
        ),
    }


def _from_steps(record: EpisodeRecord, period_sec: float) -> dict[str, Any]:
    # The position before the first step is not recorded, so one step's distance is missing.
    distance = record.last_position - record.first_position
    steps_between = record.last_step - record.first_step
    ended_by = 'termination' if record.terminated else 'time limit'
    return {
        'seed': None,
        'episode_return': record.reward,
        'terms': list(record.reward_terms),
        'length': record.last_step + 1,
        'forward_distance_m': distance,
        'mean_speed_m_per_s': ratio(distance, steps_between * period_sec),
        'ended_by': ended_by if record.terminated or record.truncated else UNFINISHED,
        'termination_reason': '',
        'actions': ActionCounts(safe=record.safe_actions),
    }


def _named_terms(terms: Sequence[float], names: Sequence[str]) -> dict[str, float]:
    if len(names) != len(terms):
        names = [f'term_{index}' for index in range(len(terms))]
    return dict(zip(names, terms, strict=True))


def _policy(message: Any) -> PolicyMetrics:
    known = 0 <= message.state < len(_POLICY_STATES)
    return PolicyMetrics(
        model_id=message.model_id,
        model_hash=message.model_hash,
        runtime=message.runtime,
        exploration=message.exploration,
        state=_POLICY_STATES[message.state] if known else f'{message.state}?',
        reason=message.reason,
        first_action_sec=float(message.first_action_sec),
        actions=int(message.actions),
        rejected_observations=int(message.rejected_observations),
        swaps=int(message.swaps),
    )


def _add_notes(
    records: Sequence[EpisodeRecord],
    live: Sequence[_Live],
    episodes: Sequence[EpisodeMetrics],
    *,
    where: str,
    notes: Notes,
) -> None:
    for record, episode in zip(records, episodes, strict=True):
        _compare_with_transitions(record, episode, where=where, notes=notes)
    if before := sum(part.before for part in live):
        notes.add(
            f'{where}: {before} transitions from before the recording came all at once when it '
            f'began: left out of rates and latencies'
        )
    for episode in episodes:
        name = f'episode {episode.episode}'
        if episode.ended_by == UNFINISHED:
            notes.add(
                f'{where}: episodes still open at the end of the bag: not in the means', name
            )
        elif episode.ended_by not in COUNTED:
            notes.add(
                f'{where}: episodes ended by {episode.ended_by}: shown, but not in the means', name
            )
        elif episode.recorded_steps and not episode.recorded_as_it_happened:
            notes.add(
                f'{where}: episodes that began before the recording: shown, but not in the means',
                name,
            )
        if episode.models > 1:
            notes.add(f'{where}: episodes in which more than one model acted', name)
    hashes = dict.fromkeys(
        model for record in records if record.steps for model in record.model_hashes if model
    )
    if len(hashes) > 1:
        notes.add(
            f'{where}: {len(hashes)} models acted, the means are over the episodes of all: '
            f'{", ".join(model[:12] for model in hashes)}'
        )


def _compare_with_transitions(
    record: EpisodeRecord, episode: EpisodeMetrics, *, where: str, notes: Notes
) -> None:
    """Note where a summary and the transitions it sums up disagree."""
    name = f'episode {record.episode}'
    if record.summary is None:
        if episode.ended_by != UNFINISHED:
            notes.add(
                f'{where}: episodes without a summary: metrics are sums over their transitions',
                name,
            )
        return
    if not record.steps:
        notes.add(
            f'{where}: episodes without transitions: shown as their summaries have them, but not '
            f'in the means',
            name,
        )
        return
    is_whole = record.steps == episode.length
    agrees = math.isclose(
        record.reward, episode.episode_return, rel_tol=_RELATIVE_TOLERANCE, abs_tol=1e-6
    )
    if is_whole and not agrees and not math.isnan(record.reward):
        notes.add(
            f'{where}: episodes whose transitions do not sum to the return in their summary',
            f'{name} has {episode.episode_return}, its transitions sum to {record.reward}',
        )
