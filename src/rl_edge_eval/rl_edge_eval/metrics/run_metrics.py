"""The metrics of a run: the only source of any number about it.

    run = metrics_of_bag(path)                       # rl_edge_eval.metrics_of_bag
    run.robot.summary.episode_return                 # over the episodes that count
    run.robot.response_us.p99
    run.robot.node('policy').peak_memory_mb
    acting = run.robot.between(begin_ns, end_ns)     # what was recorded in a span of time
    acting.node('policy').cpu_ms_per_step

A value that is missing is NaN here, None in JSON and ``-`` in a table
(`rl_edge_eval.output.columns.number`). What was recorded over time is there too, as arrays
(`EpisodeMetrics.series`, `NodeMetrics.reports`, `RobotMetrics.image_times_ns`), for plots and for
`between`; JSON leaves it out.
"""

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from rl_edge_core.episode_result import EndedBy, EpisodeResult
from rl_edge_core.errors import RlEdgeError
from rl_edge_core.evaluation_summary import UNKNOWN, EvaluationSummary, summarize
from rl_edge_core.loop.action_gate import ActionCounts
from rl_edge_eval.metrics.series import (
    Percentiles,
    Series,
    between,
    breaks_between,
    intervals_sec,
    joined,
    rate_hz,
    ratio,
)

ENDED_BY_NAMES = tuple(one.name.lower().replace('_', ' ') for one in EndedBy)
"""By the values of EpisodeSummary.ended_by."""
UNFINISHED = 'unfinished'
"""Why an episode ended, when the bag ends first."""
COUNTED = tuple(ENDED_BY_NAMES[one] for one in EndedBy if not one.cuts)
"""Episodes that ended so, termination or time limit, go into means: the others were cut short."""
_NOT_IN_JSON = {'json': False}


@dataclass(frozen=True)
class EpisodeMetrics:
    """One episode."""

    run_id: int
    episode: int
    seed: int | None
    """None when the summary was not recorded."""
    episode_return: float
    reward_terms: dict[str, float]
    length: int
    forward_distance_m: float
    mean_speed_m_per_s: float
    ended_by: str
    """One of `ENDED_BY_NAMES`, or `UNFINISHED`."""
    termination_reason: str
    """Of an episode ended by termination: the limit that was left; empty where it is not known."""
    actions: ActionCounts
    recorded_steps: int
    """Transitions in the bag; less than `length` when some were lost."""
    response_us: Percentiles
    inference_us: Percentiles
    steps_per_sec: float
    """Transitions recorded over the time from the first to the last."""
    real_time_factor: float
    """Simulated over recorded time."""
    model_hash: str
    """Of the last action; see `models` for a swap during the episode."""
    models: int
    has_summary: bool
    """False: the metrics are sums over the transitions that were recorded."""
    recorded_as_it_happened: bool
    """False: it began before the recording did, or none of its transitions is in the bag."""
    ended_ns: int
    """When its summary was recorded; 0 without one."""
    series: Series = field(repr=False, compare=False, metadata=_NOT_IN_JSON)
    """Its recorded steps."""

    @property
    def counts(self) -> bool:
        """Return whether it goes into means."""
        return self.ended_by in COUNTED and self.recorded_as_it_happened

    @property
    def ended_by_reason(self) -> str:
        """Return why it ended, and for a termination which limit was left where that is known."""
        reason = '' if self.termination_reason == UNKNOWN else self.termination_reason
        return ': '.join(filter(None, (self.ended_by, reason)))

    @property
    def result(self) -> EpisodeResult:
        """Return it as the statistics of all packages take it."""
        return EpisodeResult(
            seed=-1 if self.seed is None else self.seed,
            episode_return=self.episode_return,
            length=self.length,
            forward_distance=self.forward_distance_m,
            mean_speed=self.mean_speed_m_per_s,
            ended_by=EndedBy(ENDED_BY_NAMES.index(self.ended_by)),
            reward_terms=self.reward_terms,
            termination_reason=self.termination_reason,
        )

    def between(self, begin_ns: int, end_ns: int, breaks_ns: tuple[int, ...]) -> 'EpisodeMetrics':
        """Return the whole episode, its latencies and rate of the steps in a span of time."""
        series = between(self.series, begin_ns, end_ns)
        return dataclasses.replace(
            self,
            recorded_steps=len(series),
            response_us=Percentiles.of(series.response_us),
            inference_us=Percentiles.of(series.inference_us),
            steps_per_sec=rate_hz(series.time_ns, breaks_ns),
            series=series,
        )


@dataclass(frozen=True)
class NodeMetrics:
    """What one node used while it was recorded."""

    node: str
    samples: int
    processes: int
    """More than 1: the node was started again."""
    cpu_percent_mean: float
    """CPU seconds over elapsed seconds between the first and the last report."""
    cpu_percent_max: float
    """The same between two reports in a row, where it was highest."""
    cpu_ms_per_step: float
    """CPU time over steps, between reports from the first step on: without what loading took."""
    resident_memory_mb_mean: float
    resident_memory_mb_max: float
    peak_memory_mb: float
    """Highest since the start of a process: loading included."""
    unique_memory_mb_mean: float
    threads_max: int
    reports: Series = field(repr=False, compare=False, metadata=_NOT_IN_JSON)

    @classmethod
    def of(
        cls,
        node: str,
        reports: Series,
        *,
        step_times_ns: np.ndarray,
        breaks_ns: tuple[int, ...] = (),
    ) -> 'NodeMetrics':
        """Return what a node used, from its reports; CPU is summed over its processes."""
        times = reports.time_ns
        counted = (reports.pid[1:] == reports.pid[:-1]) & ~breaks_between(times, breaks_ns)
        used_sec, passed_sec = np.diff(reports.cpu_seconds), np.diff(times) * 1e-9
        rates = (used_sec / np.where(passed_sec > 0, passed_sec, math.nan))[counted]
        cpu_sec, elapsed_sec = float(used_sec[counted].sum()), float(passed_sec[counted].sum())
        steps = np.diff(np.searchsorted(np.sort(step_times_ns), times, side='right'))
        acting = counted & (times[:-1] >= step_times_ns.min(initial=np.iinfo(np.int64).max))
        return cls(
            node=node,
            samples=len(reports),
            processes=len(set(reports.pid.tolist())),
            cpu_percent_mean=100.0 * ratio(cpu_sec, elapsed_sec),
            cpu_percent_max=100.0 * Percentiles.of(rates).max,
            cpu_ms_per_step=1e3 * ratio(float(used_sec[acting].sum()), int(steps[acting].sum())),
            resident_memory_mb_mean=_mean(reports.resident_memory_mb),
            resident_memory_mb_max=Percentiles.of(reports.resident_memory_mb).max,
            peak_memory_mb=Percentiles.of(reports.peak_memory_mb).max,
            unique_memory_mb_mean=_mean(reports.unique_memory_mb),
            threads_max=int(reports.threads.max(initial=0)),
            reports=reports,
        )


@dataclass(frozen=True)
class PolicyMetrics:
    """A policy as it announced itself."""

    model_id: str
    model_hash: str
    runtime: str
    exploration: str
    state: str
    reason: str
    first_action_sec: float
    actions: int
    rejected_observations: int
    swaps: int


@dataclass(frozen=True)
class TopicMetrics:
    """One topic of the bag."""

    name: str
    message_type: str
    messages: int
    rate_hz: float


@dataclass(frozen=True)
class RobotMetrics:
    """One robot (namespace)."""

    namespace: str
    environment_id: str
    spec_hash: str
    mode: str
    control_period_sec: float
    episodes: tuple[EpisodeMetrics, ...]
    summary: EvaluationSummary | None
    """Over the episodes that count; None without any."""
    actions: ActionCounts
    response_us: Percentiles
    inference_us: Percentiles
    transitions: int
    steps_per_sec: float
    """Steps over time, resets included: between the first recorded transition and the last. A bag
    without transitions has it between the first summary and the last."""
    lost_transitions: int
    """Steps that were made while the bag was recorded and are not in it."""
    duplicate_transitions: int
    reordered_transitions: int
    steps_before_recording: int
    nodes: tuple[NodeMetrics, ...]
    policies: tuple[PolicyMetrics, ...]
    """One for each state and model, in order."""
    image_times_ns: np.ndarray = field(repr=False, compare=False, metadata=_NOT_IN_JSON)
    """When images were recorded, int64."""
    breaks_ns: tuple[int, ...] = field(repr=False, compare=False, metadata=_NOT_IN_JSON)
    """Of the run; see `rl_edge_eval.metrics.series`."""

    def node(self, name: str) -> NodeMetrics:
        """Return a node by its name, or the last part of it; raise RlEdgeError without one."""
        for node in self.nodes:
            if name in (node.node, node.node.rpartition('/')[2]):
                return node
        known = ', '.join(node.node for node in self.nodes) or 'no node'
        raise RlEdgeError(
            f'{self.namespace or "/"}: no resource usage of {name!r} was recorded, but of '
            f'{known}; nodes report once per second: let the run take longer'
        )

    @property
    def counted(self) -> tuple[EpisodeMetrics, ...]:
        """Return the episodes that go into means, in the order of their seeds."""
        counted = [episode for episode in self.episodes if episode.counts]
        return tuple(sorted(counted, key=lambda e: (e.seed is None, e.seed or 0, e.episode)))

    @cached_property
    def series(self) -> Series:
        """Return the recorded steps of all episodes."""
        return joined([episode.series for episode in self.episodes])

    @property
    def steps(self) -> int:
        """Return the steps of all episodes, by their lengths."""
        return sum(episode.length for episode in self.episodes)

    @property
    def missed_share(self) -> float:
        """Return the share of control periods without the action that answers them."""
        return ratio(self.actions.missed, self.steps)

    @property
    def safe_share(self) -> float:
        """Return the share of steps on which the safe action was applied instead."""
        return ratio(self.actions.safe, self.steps)

    @property
    def falls(self) -> int:
        """Return how many episodes the environment ended before their time limit."""
        return sum(episode.ended_by == COUNTED[0] for episode in self.episodes)

    @property
    def mean_speed_m_per_s(self) -> float:
        """Return the distance of all episodes over their simulated time."""
        distance_m = sum(episode.forward_distance_m for episode in self.episodes)
        return ratio(distance_m, self.control_period_sec * self.steps)

    @property
    def first_action_sec(self) -> float:
        """Return the time from the policy's start to its first action, of its last start."""
        known = [p.first_action_sec for p in self.policies if math.isfinite(p.first_action_sec)]
        return known[-1] if known else math.nan

    def between(self, begin_ns: int, end_ns: int) -> 'RobotMetrics':
        """Return the metrics of what was recorded from ``begin_ns`` to ``end_ns``.

        Latencies, rates, resources and images are those of the span. Episodes stay whole: those
        with a step in it are kept, with return, length and counts of actions as they ended. Lost,
        duplicate and reordered transitions are those of the whole bag.
        """
        episodes = tuple(
            part
            for episode in self.episodes
            if (part := episode.between(begin_ns, end_ns, self.breaks_ns)).recorded_steps
        )
        images = self.image_times_ns
        return dataclasses.replace(
            self,
            image_times_ns=images[(images >= begin_ns) & (images <= end_ns)],
            **over_steps(
                episodes,
                {n.node: between(n.reports, begin_ns, end_ns) for n in self.nodes},
                self.breaks_ns,
            ),
        )


def over_steps(
    episodes: tuple[EpisodeMetrics, ...], reports: dict[str, Series], breaks_ns: tuple[int, ...]
) -> dict[str, Any]:
    """Return those fields of `RobotMetrics` that follow from episodes and reports."""
    series = joined([episode.series for episode in episodes])
    counted = [episode.result for episode in episodes if episode.counts]
    actions = ActionCounts()
    for episode in episodes:
        actions += episode.actions
    return {
        'episodes': episodes,
        'summary': summarize(counted) if counted else None,
        'actions': actions,
        'response_us': Percentiles.of(series.response_us),
        'inference_us': Percentiles.of(series.inference_us),
        'transitions': sum(episode.recorded_steps for episode in episodes),
        'steps_per_sec': rate_hz(series.time_ns, breaks_ns)
        if len(series)
        else _rate_of_summaries(episodes, breaks_ns),
        'nodes': tuple(
            NodeMetrics.of(name, one, step_times_ns=series.time_ns, breaks_ns=breaks_ns)
            for name, one in sorted(reports.items())
        ),
    }


@dataclass(frozen=True)
class RunMetrics:
    """All that was found in the bag of a run."""

    path: str
    storage: str
    messages: int
    duration_sec: float
    robots: tuple[RobotMetrics, ...]
    topics: tuple[TopicMetrics, ...]
    notes: tuple[str, ...]
    """What was left out or is not as it should be."""
    begin_ns: int = 0
    """When the first message was recorded, system clock."""
    end_ns: int = 0

    @property
    def robot(self) -> RobotMetrics:
        """Return the only robot of the run; raise RlEdgeError when there is none, or several."""
        if len(self.robots) != 1:
            names = ', '.join(robot.namespace or '/' for robot in self.robots) or 'none'
            raise RlEdgeError(f'{self.path} must have one robot in it, it has {names}')
        return self.robots[0]


def _rate_of_summaries(episodes: Iterable[EpisodeMetrics], breaks_ns: tuple[int, ...]) -> float:
    ended = sorted((e.ended_ns, e.length) for e in episodes if e.ended_ns)
    gaps = intervals_sec([time_ns for time_ns, _ in ended], breaks_ns)
    if len(gaps) != len(ended) - 1:  # the clock jumped between two of them
        return math.nan
    return ratio(sum(length for _, length in ended[1:]), float(gaps.sum()))


def _mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else math.nan
