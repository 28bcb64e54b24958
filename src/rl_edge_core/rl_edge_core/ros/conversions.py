"""Message to array and dataclass, and back: pure functions, in one place."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from builtin_interfaces.msg import Time

from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_interfaces.msg import Environment, EpisodeSummary

if TYPE_CHECKING:
    from rl_edge_core.episode_result import EpisodeResult

_NANOSECONDS = 1_000_000_000


def to_float32_field(values: np.ndarray) -> array:
    """Return ``values``, shape (n,), as a message's float32[] field takes it without a loop."""
    return array('f', np.ascontiguousarray(values, np.float32).tobytes())


def to_float64_field(values: Sequence[float] | np.ndarray) -> array:
    """Return ``values``, shape (n,), as a message's float64[] field takes it."""
    return array('d', np.ascontiguousarray(values, np.float64).tobytes())


def from_float32_field(field: array) -> np.ndarray:
    """Return a view, shape (n,), of a message's float32[] field: nothing is copied."""
    return np.frombuffer(field, np.float32)


def from_float64_field(field: array) -> np.ndarray:
    """Return a view, shape (n,), of a message's float64[] field: nothing is copied."""
    return np.frombuffer(field, np.float64)


def to_time(seconds: float) -> Time:
    """Return simulated seconds (0 or more) as a stamp."""
    nanoseconds = round(seconds * _NANOSECONDS)
    return Time(sec=nanoseconds // _NANOSECONDS, nanosec=nanoseconds % _NANOSECONDS)


def to_seconds(stamp: Time) -> float:
    """Return a stamp in s."""
    return float(stamp.sec) + stamp.nanosec / _NANOSECONDS


def to_environment(
    spec: EnvironmentSpec, *, run_id: int, reward_term_names: Sequence[str], mode: str
) -> Environment:
    """Return the message that describes a simulator; the header is the caller's."""
    return Environment(
        run_id=run_id,
        environment_id=spec.environment_id,
        environment_arguments=spec.environment_arguments,
        spec_hash=spec.hash,
        observation_names=list(spec.observation_names),
        observation_units=list(spec.observation_units),
        action_names=list(spec.action_names),
        action_units=list(spec.action_units),
        action_low=to_float32_field(spec.low),
        action_high=to_float32_field(spec.high),
        safe_action=to_float32_field(spec.safe),
        control_period_sec=spec.control_period_sec,
        max_episode_steps=spec.max_episode_steps,
        reward_term_names=list(reward_term_names),
        mode=mode,
    )


def from_environment(message: Environment) -> EnvironmentSpec:
    """Return the specification in a message; raise ConfigurationError when it is not valid."""
    return EnvironmentSpec.from_message(message)


def to_episode_summary(
    result: EpisodeResult, *, run_id: int, episode: int, reward_term_names: Sequence[str]
) -> EpisodeSummary:
    """Return the message of a finished episode; header, model and counts are the caller's."""
    return EpisodeSummary(
        run_id=run_id,
        episode=episode,
        seed=result.seed,
        episode_return=result.episode_return,
        reward_terms=to_float64_field([result.reward_terms[name] for name in reward_term_names]),
        length=result.length,
        forward_distance=result.forward_distance,
        mean_speed=result.mean_speed,
        ended_by=int(result.ended_by),
        termination_reason=result.termination_reason,
    )


def from_episode_summary(
    message: EpisodeSummary, *, reward_term_names: Sequence[str] = ()
) -> EpisodeResult:
    """Return the result in a message; without names the reward terms are left out."""
    from rl_edge_core.episode_result import EndedBy, EpisodeResult

    terms: Mapping[str, float] = {}
    if reward_term_names:
        terms = dict(zip(reward_term_names, message.reward_terms, strict=True))
    return EpisodeResult(
        seed=message.seed,
        episode_return=message.episode_return,
        length=message.length,
        forward_distance=message.forward_distance,
        mean_speed=message.mean_speed,
        ended_by=EndedBy(message.ended_by),
        reward_terms=terms,
        termination_reason=message.termination_reason,
    )
