"""Turn what was kept while streaming into figures."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from rl_edge_core.episode_result import EndedBy, EpisodeResult
from rl_edge_core.evaluation_summary import EvaluationSummary, summarize
from rl_edge_eval.bag.notes import Notes
from rl_edge_eval.figures.bag_figures import (
    ENDED_BY_NAMES,
    UNFINISHED,
    ActionCounts,
    EpisodeFigures,
    NodeFigures,
    PolicyFigures,
    RobotFigures,
)
from rl_edge_eval.figures.episode_record import EpisodeRecord
from rl_edge_eval.figures.percentiles import percentiles
from rl_edge_eval.figures.robot_record import NodeRecord, RobotRecord

_POLICY_STATES = ('unconfigured', 'inactive', 'active', 'refusing', 'failed', 'finalized')
_RELATIVE_TOLERANCE = 1e-6


def robot_figures(robot: RobotRecord, notes: Notes) -> RobotFigures:
    """Return the figures of one robot, once its whole recording was read."""
    robot.end()
    environment = robot.environment
    names = tuple(environment.reward_term_names) if environment is not None else ()
    period_sec = robot.spec.control_period_sec if robot.spec else math.nan
    records = list(robot.episodes.values())
    where = robot.namespace or '/'
    episodes = tuple(
        episode_figures(record, names=names, period_sec=period_sec) for record in records
    )
    for record, figures in zip(records, episodes, strict=True):
        _check_against_transitions(record, figures, where=where, notes=notes)
    _note_uncounted(episodes, where=where, notes=notes)
    times = _joined([record.times_ns for record in records], np.int64)
    return RobotFigures(
        namespace=robot.namespace,
        environment_id=environment.environment_id if environment is not None else '',
        spec_hash=robot.spec.hash if robot.spec else '',
        mode=environment.mode if environment is not None else '',
        control_period_sec=period_sec,
        episodes=episodes,
        summary=_summary([episode for episode in episodes if episode.counts]),
        actions=sum((episode.actions for episode in episodes), ActionCounts()),
        response_us=percentiles(_joined([r.response_us for r in records], np.float32)),
        inference_us=percentiles(_joined([r.inference_us for r in records], np.float32)),
        transitions=sum(record.steps for record in records),
        steps_per_sec=_rate(times),
        lost_transitions=robot.lost,
        duplicate_transitions=robot.sequence.duplicates,
        reordered_transitions=robot.reordered,
        steps_before_recording=robot.before_first,
        nodes=tuple(
            node_figures(name, record, step_times_ns=times)
            for name, record in sorted(robot.nodes.items())
        ),
        policies=tuple(_policy(message) for message in robot.policy_status),
    )


def episode_figures(
    record: EpisodeRecord, *, names: Sequence[str], period_sec: float
) -> EpisodeFigures:
    """Return the figures of one episode: its summary's where there is one, else sums."""
    times = np.frombuffer(record.times_ns, np.int64)
    span_sec = (times.max() - times.min()) * 1e-9 if times.size > 1 else math.nan
    hashes = tuple(record.model_hashes)
    own = _from_summary(record) if record.summary is not None else _from_steps(record, period_sec)
    return EpisodeFigures(
        run_id=record.run_id,
        episode=record.episode,
        reward_terms=_named_terms(own.pop('terms'), names),
        recorded_steps=record.steps,
        response_us=percentiles(np.frombuffer(record.response_us, np.float32)),
        inference_us=percentiles(np.frombuffer(record.inference_us, np.float32)),
        steps_per_sec=_rate(times),
        real_time_factor=_ratio(record.last_sim_sec - record.first_sim_sec, span_sec),
        model_hash=hashes[-1] if hashes else '',
        models=len(hashes),
        has_summary=record.summary is not None,
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
        'mean_speed_m_per_s': _ratio(distance, steps_between * period_sec),
        'ended_by': ended_by if record.terminated or record.truncated else UNFINISHED,
        'actions': ActionCounts(safe=record.safe_actions),
    }


def node_figures(name: str, record: NodeRecord, *, step_times_ns: np.ndarray) -> NodeFigures:
    """Return what a node used; CPU is summed over its processes when it was started again."""
    values = {key: np.frombuffer(column, np.float64) for key, column in record.values.items()}
    times, pids = np.frombuffer(record.times_ns, np.int64), np.frombuffer(record.pids, np.int64)
    same_process = pids[1:] == pids[:-1]
    cpu_sec = float(np.diff(values['cpu_seconds'])[same_process].sum())
    elapsed_sec = float(np.diff(times)[same_process].sum()) * 1e-9
    steps = int(((step_times_ns > times[0]) & (step_times_ns <= times[-1])).sum())
    return NodeFigures(
        node=name,
        samples=len(times),
        processes=len(set(pids.tolist())),
        cpu_percent_mean=100.0 * _ratio(cpu_sec, elapsed_sec),
        cpu_percent_max=float(values['cpu_percent'].max()),
        cpu_ms_per_step=1e3 * _ratio(cpu_sec, steps),
        resident_memory_mb_mean=float(values['resident_memory_mb'].mean()),
        resident_memory_mb_max=float(values['resident_memory_mb'].max()),
        peak_memory_mb=float(values['peak_memory_mb'].max()),
        unique_memory_mb_mean=_finite_mean(values['unique_memory_mb']),
        threads_max=int(values['threads'].max()),
    )


def result_of(episode: EpisodeFigures) -> EpisodeResult:
    """Return an episode as the statistics of all packages take it."""
    return EpisodeResult(
        seed=-1 if episode.seed is None else episode.seed,
        episode_return=episode.episode_return,
        length=episode.length,
        forward_distance=episode.forward_distance_m,
        mean_speed=episode.mean_speed_m_per_s,
        ended_by=EndedBy(ENDED_BY_NAMES.index(episode.ended_by)),
        reward_terms=episode.reward_terms,
    )


def _summary(episodes: list[EpisodeFigures]) -> EvaluationSummary | None:
    return summarize([result_of(episode) for episode in episodes]) if episodes else None


def _check_against_transitions(
    record: EpisodeRecord, figures: EpisodeFigures, *, where: str, notes: Notes
) -> None:
    """Note where a summary and the transitions it sums up disagree."""
    if record.summary is None:
        if figures.ended_by != UNFINISHED:
            notes.add(
                f'{where}: episodes without a summary: figures are sums over their transitions',
                f'episode {record.episode}',
            )
        return
    if not record.steps:
        notes.add(
            f'{where}: episodes without transitions: figures are those of the summary alone',
            f'episode {record.episode}',
        )
        return
    is_whole = record.steps == figures.length
    agrees = math.isclose(
        record.reward, figures.episode_return, rel_tol=_RELATIVE_TOLERANCE, abs_tol=1e-6
    )
    if is_whole and not agrees and not math.isnan(record.reward):
        notes.add(
            f'{where}: episodes whose transitions do not sum to the return in their summary',
            f'episode {record.episode} has {figures.episode_return}, its transitions sum to '
            f'{record.reward}',
        )


def _note_uncounted(episodes: Sequence[EpisodeFigures], *, where: str, notes: Notes) -> None:
    for episode in episodes:
        if not episode.counts:
            notes.add(
                f'{where}: episodes ended by {episode.ended_by}: shown, but not in the means'
                if episode.ended_by != UNFINISHED
                else f'{where}: episodes still open at the end of the bag: not in the means',
                f'episode {episode.episode}',
            )


def _named_terms(terms: Sequence[float], names: Sequence[str]) -> dict[str, float]:
    if len(names) != len(terms):
        names = [f'term_{index}' for index in range(len(terms))]
    return dict(zip(names, terms, strict=True))


def _policy(message: Any) -> PolicyFigures:
    known = 0 <= message.state < len(_POLICY_STATES)
    return PolicyFigures(
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


def _joined(columns: Sequence[Any], dtype: type) -> np.ndarray:
    parts: list[np.ndarray] = [np.frombuffer(column, dtype) for column in columns if len(column)]
    return np.concatenate(parts) if parts else np.empty(0, dtype)


def _rate(times_ns: np.ndarray) -> float:
    if times_ns.size < 2:
        return math.nan
    return _ratio(times_ns.size - 1, (int(times_ns.max()) - int(times_ns.min())) * 1e-9)


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0 else math.nan


def _finite_mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else math.nan
