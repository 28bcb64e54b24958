"""Turn what was kept while streaming into the metrics of a robot."""

import math
from collections.abc import Sequence
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
    find_history(records)
    episodes = tuple(
        _episode(record, names=names, period_sec=period_sec, breaks_ns=breaks_ns)
        for record in records
    )
    before = sum(record.steps - len(record.live) for record in records)
    _add_notes(records, episodes, before, where=robot.namespace or '/', notes=notes)
    reports = {name: node.series() for name, node in robot.nodes.items()}
    metrics = over_steps(episodes, reports, breaks_ns)
    return RobotMetrics(
        namespace=robot.namespace,
        environment_id=environment.environment_id if environment is not None else '',
        spec_hash=spec.hash if spec else '',
        mode=environment.mode if environment is not None else '',
        control_period_sec=period_sec,
        lost_transitions=_lost(robot, records),
        duplicate_transitions=robot.sequence.duplicates,
        reordered_transitions=robot.reordered,
        steps_before_recording=robot.before_first + before,
        policies=tuple(_policy(message) for message in robot.policy_status),
        image_times_ns=np.asarray(image_times_ns, np.int64),
        breaks_ns=breaks_ns,
        **metrics,
    )


def find_history(records: Sequence[EpisodeRecord]) -> None:
    """Let each record know which of its steps were recorded while they happened.

    A transient-local subscriber that comes late is sent what was published before, all at once,
    and records it as of now. Live steps can't come sooner than the policy answered them, and its
    answers are timed by a steady clock: memory of before ends where recorded time lags most.
    """
    for run_id in {record.run_id for record in records}:
        run = [record for record in records if record.run_id == run_id]
        steps = StepSeries.joined([record.series() for record in run])
        from_ns = _live_from_ns(steps) if len(steps) else 0
        first = min(
            (record.episode for record in run if record.steps and max(record.time_ns) >= from_ns),
            default=2**32,
        )
        for record in run:
            record.live_from_ns = from_ns
            before = record.steps - len(record.live)
            record.began_live = record.episode > first or (
                record.episode == first
                and record.first_step == 0
                and before <= _LARGEST_SHARE_BEFORE * record.steps
            )


def _live_from_ns(steps: StepSeries) -> int:
    waited_sec = np.cumsum(np.nan_to_num(steps.response_us, nan=0.0), dtype=np.float64) * 1e-6
    waited_sec -= waited_sec[0]
    elapsed_sec = (steps.time_ns - steps.time_ns[0]) * 1e-9
    last = int((waited_sec - elapsed_sec).argmax())
    lag_sec = waited_sec[last] - elapsed_sec[last]
    is_history = lag_sec > _LARGEST_LAG_SEC and waited_sec[last] > 2.0 * elapsed_sec[last]
    return int(steps.time_ns[last]) + 1 if is_history else int(steps.time_ns[0])


def _lost(robot: RobotRecord, records: Sequence[EpisodeRecord]) -> int:
    """Return how many steps were made since the first recorded one and are not in the bag."""
    for record in records:
        # An episode from before the recording has a summary and no steps: it lost nothing here.
        if record.summary is not None and (record.steps or record.began_live):
            length = int(record.summary.length)
            robot.sequence.end_episode(record.run_id, record.episode, length)
    return robot.sequence.lost - robot.before_first


def _episode(
    record: EpisodeRecord, *, names: Sequence[str], period_sec: float, breaks_ns: tuple[int, ...]
) -> EpisodeMetrics:
    """Return the metrics of one episode: its summary's where there is one, else sums."""
    steps, hashes = record.live, tuple(record.model_hashes)
    own = _from_summary(record) if record.summary is not None else _from_steps(record, period_sec)
    # Recorded time is known of live steps alone, simulated time of all.
    is_live = len(steps) == record.steps
    span_sec = float(intervals_sec(steps.time_ns, breaks_ns).sum()) if is_live else math.nan
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
        recorded_as_it_happened=record.began_live and len(steps) > 0,
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
    episodes: Sequence[EpisodeMetrics],
    before: int,
    *,
    where: str,
    notes: Notes,
) -> None:
    for record, episode in zip(records, episodes, strict=True):
        _compare_with_transitions(record, episode, where=where, notes=notes)
    if before:
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
