"""Turn what was kept while streaming into the metrics of a robot."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rl_edge_core.loop.action_gate import ActionCounts
from rl_edge_eval.bag.messages import Notes
from rl_edge_eval.metrics.records import EpisodeRecord, RobotRecord
from rl_edge_eval.metrics.run_metrics import (
    COUNTED,
    ENDED_BY_NAMES,
    UNFINISHED,
    EpisodeMetrics,
    PolicyMetrics,
    RobotMetrics,
    over_steps,
)
from rl_edge_eval.metrics.series import Percentiles, Series, intervals_sec, joined, rate_hz, ratio

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
    where = robot.namespace or '/'
    for remark, example in _remarks(records, episodes, before):
        notes.add(f'{where}: {remark}', example)
    for record in records:
        # An episode from before the recording has a summary and no steps: it lost nothing here.
        if record.summary is not None and (record.steps or record.began_live):
            length = int(record.summary.length)
            robot.sequence.end_episode(record.run_id, record.episode, length)
    return RobotMetrics(
        namespace=robot.namespace,
        environment_id=environment.environment_id if environment is not None else '',
        spec_hash=spec.hash if spec else '',
        mode=environment.mode if environment is not None else '',
        control_period_sec=period_sec,
        lost_transitions=robot.sequence.lost - robot.before_first,
        duplicate_transitions=robot.sequence.duplicates,
        reordered_transitions=robot.reordered,
        steps_before_recording=robot.before_first + before,
        policies=tuple(_policy(message) for message in robot.policy_status),
        image_times_ns=np.asarray(image_times_ns, np.int64),
        breaks_ns=breaks_ns,
        **over_steps(episodes, robot.reports(), breaks_ns),
    )


def find_history(records: Sequence[EpisodeRecord]) -> None:
    """Let each record know which of its steps were recorded while they happened.

    A transient-local subscriber that comes late is sent what was published before, all at once,
    and records it as of now. Live steps can't come sooner than the policy answered them, and its
    answers are timed by a steady clock: memory of before ends where recorded time lags most.
    """
    for run_id in {record.run_id for record in records}:
        run = [record for record in records if record.run_id == run_id]
        live_from_ns = _live_from_ns(joined([record.series for record in run]))
        for record in run:
            record.live_from_ns = live_from_ns
        first = min((record.episode for record in run if len(record.live)), default=2**32)
        for record in run:
            before = record.steps - len(record.live)
            record.began_live = record.episode > first or (
                record.episode == first
                and record.first_step == 0
                and before <= _LARGEST_SHARE_BEFORE * record.steps
            )


def _live_from_ns(steps: Series) -> int:
    if not len(steps):
        return 0
    waited_sec = np.cumsum(np.nan_to_num(steps.response_us, nan=0.0), dtype=np.float64) * 1e-6
    waited_sec -= waited_sec[0]
    elapsed_sec = (steps.time_ns - steps.time_ns[0]) * 1e-9
    last = int((waited_sec - elapsed_sec).argmax())
    lag_sec = waited_sec[last] - elapsed_sec[last]
    is_history = lag_sec > _LARGEST_LAG_SEC and waited_sec[last] > 2.0 * elapsed_sec[last]
    return int(steps.time_ns[last]) + 1 if is_history else int(steps.time_ns[0])


def _episode(
    record: EpisodeRecord, *, names: Sequence[str], period_sec: float, breaks_ns: tuple[int, ...]
) -> EpisodeMetrics:
    """Return the metrics of one episode: its summary's where there is one, else sums."""
    steps, hashes = record.live, tuple(record.model_hashes)
    own = _from_summary(record) if record.summary is not None else _from_steps(record, period_sec)
    terms = own.pop('terms')
    if len(names) != len(terms):
        names = [f'term_{index}' for index in range(len(terms))]
    # Recorded time is known of live steps alone, simulated time of all.
    is_live = len(steps) == record.steps
    span_sec = float(intervals_sec(steps.time_ns, breaks_ns).sum()) if is_live else math.nan
    return EpisodeMetrics(
        run_id=record.run_id,
        episode=record.episode,
        reward_terms=dict(zip(names, terms, strict=True)),
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
            *(int(getattr(message, f'{field.name}_actions')) for field in fields(ActionCounts))
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


def _policy(message: Any) -> PolicyMetrics:
    values = {field.name: getattr(message, field.name) for field in fields(PolicyMetrics)}
    known = 0 <= message.state < len(_POLICY_STATES)
    values['state'] = _POLICY_STATES[message.state] if known else f'{message.state}?'
    return PolicyMetrics(**values)


def _remarks(
    records: Sequence[EpisodeRecord], episodes: Sequence[EpisodeMetrics], before: int
) -> Iterator[tuple[str, str]]:
    """Yield what is odd, and an example of it; ``before`` steps were made before the recording."""
    for record, episode in zip(records, episodes, strict=True):
        yield from _disagreements(record, episode)
    if before:
        yield (
            f'{before} transitions from before the recording came all at once when it began: left '
            f'out of rates and latencies',
            '',
        )
    for episode in episodes:
        name = f'episode {episode.episode}'
        if episode.ended_by == UNFINISHED:
            yield 'episodes still open at the end of the bag: not in the means', name
        elif episode.ended_by not in COUNTED:
            yield f'episodes ended by {episode.ended_by}: shown, but not in the means', name
        elif episode.recorded_steps and not episode.recorded_as_it_happened:
            yield 'episodes that began before the recording: shown, but not in the means', name
        if episode.models > 1:
            yield 'episodes in which more than one model acted', name
    hashes = dict.fromkeys(model for record in records for model in record.model_hashes)
    if len(hashes) > 1:
        models = ', '.join(model[:12] for model in hashes)
        yield f'{len(hashes)} models acted, the means are over the episodes of all: {models}', ''


def _disagreements(record: EpisodeRecord, episode: EpisodeMetrics) -> Iterator[tuple[str, str]]:
    """Yield where a summary and the transitions it sums up disagree."""
    name = f'episode {record.episode}'
    if record.summary is None:
        if episode.ended_by != UNFINISHED:
            yield 'episodes without a summary: metrics are sums over their transitions', name
    elif not record.steps:
        yield (
            'episodes without transitions: shown as their summaries have them, but not in the '
            'means',
            name,
        )
    elif record.steps == episode.length and not math.isnan(record.reward):
        total = episode.episode_return
        if not math.isclose(record.reward, total, rel_tol=_RELATIVE_TOLERANCE, abs_tol=1e-6):
            yield (
                'episodes whose transitions do not sum to the return in their summary',
                f'{name} has {total}, its transitions sum to {record.reward}',
            )
