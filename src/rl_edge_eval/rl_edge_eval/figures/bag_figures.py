"""The figures of a bag, as data: what tables, files and pictures are made of."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from rl_edge_core.evaluation_summary import EvaluationSummary
from rl_edge_eval.figures.percentiles import Percentiles

ENDED_BY_NAMES = ('termination', 'time limit', 'reset', 'policy timeout', 'shutdown')
"""By the values of EpisodeSummary.ended_by."""
UNFINISHED = 'unfinished'
"""Why an episode ended, when the bag ends first."""
COUNTED = ('termination', 'time limit')
"""Episodes that ended so go into means; the others were cut short from outside."""


@dataclass(frozen=True)
class ActionCounts:
    """What became of actions, summed as EpisodeSummary counts them."""

    missed: int = 0
    late: int = 0
    duplicate: int = 0
    foreign: int = 0
    rejected: int = 0
    safe: int = 0

    def __add__(self, other: 'ActionCounts') -> 'ActionCounts':
        """Return the sums."""
        return ActionCounts(
            **{
                field.name: getattr(self, field.name) + getattr(other, field.name)
                for field in dataclasses.fields(self)
            }
        )


@dataclass(frozen=True)
class EpisodeFigures:
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
    """False: the figures are sums over the transitions that were recorded."""

    @property
    def counts(self) -> bool:
        """Return whether it goes into means."""
        return self.ended_by in COUNTED


@dataclass(frozen=True)
class NodeFigures:
    """What one node used while it was recorded."""

    node: str
    samples: int
    processes: int
    """More than 1: the node was started again."""
    cpu_percent_mean: float
    """CPU seconds over elapsed seconds between the first and the last report."""
    cpu_percent_max: float
    cpu_ms_per_step: float
    """CPU time over the steps recorded in the same span."""
    resident_memory_mb_mean: float
    resident_memory_mb_max: float
    peak_memory_mb: float
    unique_memory_mb_mean: float
    threads_max: int


@dataclass(frozen=True)
class PolicyFigures:
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
class TopicFigures:
    """One topic of the bag."""

    name: str
    message_type: str
    messages: int
    rate_hz: float


@dataclass(frozen=True)
class RobotFigures:
    """One robot (namespace)."""

    namespace: str
    environment_id: str
    spec_hash: str
    mode: str
    control_period_sec: float
    episodes: tuple[EpisodeFigures, ...]
    summary: EvaluationSummary | None
    """Over the episodes that count; None without any."""
    actions: ActionCounts
    response_us: Percentiles
    inference_us: Percentiles
    transitions: int
    steps_per_sec: float
    lost_transitions: int
    duplicate_transitions: int
    reordered_transitions: int
    steps_before_recording: int
    nodes: tuple[NodeFigures, ...]
    policies: tuple[PolicyFigures, ...]


@dataclass(frozen=True)
class BagFigures:
    """All that was found in a bag."""

    path: str
    storage: str
    messages: int
    duration_sec: float
    robots: tuple[RobotFigures, ...]
    topics: tuple[TopicFigures, ...]
    notes: tuple[str, ...]
    """What was left out or is not as it should be."""

    def to_dict(self) -> dict[str, Any]:
        """Return a mapping of JSON types; NaN becomes None."""
        return _plain(dataclasses.asdict(self))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
