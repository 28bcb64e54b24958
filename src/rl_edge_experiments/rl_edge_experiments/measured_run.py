"""One run of the closed loop, measured: what the policy did, what it took, how fast it went."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import psutil

from rl_edge_bringup.prepare import PreparedSystem, prepare
from rl_edge_bringup.running_system import RunningSystem
from rl_edge_bringup.systems import find_system
from rl_edge_core.episode_result import EpisodeResult
from rl_edge_core.errors import RlEdgeError
from rl_edge_core.resources import sample_resources
from rl_edge_core.ros.conversions import from_episode_summary
from rl_edge_experiments.observer import Observer

_START_TIMEOUT_SEC = 300.0
_POLL_SEC = 0.1


class RunFailedError(RlEdgeError):
    """A run did not come to its end; says what its nodes wrote last."""


@dataclass(frozen=True)
class MeasuredRun:
    """What one run came to."""

    episodes: tuple[EpisodeResult, ...]
    actions: int
    """Transitions that were received."""
    lost_transitions: int
    """Steps that were made but not received by the observer."""
    policy_memory_mb: float
    """Highest resident memory of the policy's process."""
    policy_cpu_seconds: float
    """User and system time of the policy's process between the first and the last action."""
    first_action_sec: float
    """From the start of the policy's process, while an observation was waiting."""
    inference_us: np.ndarray
    """As the policy reported it, shape (actions,)."""
    response_us: np.ndarray
    """Observation published to action received, the sim's steady clock, shape (actions,)."""
    forward_positions_m: tuple[np.ndarray, ...]
    """After each step, one array an episode."""
    steps_per_sec: float
    """Between the first and the last transition, resets included."""
    policy: PreparedSystem

    @property
    def policy_cpu_ms_per_action(self) -> float:
        """Return the policy's CPU time between two actions in ms."""
        return 1e3 * self.policy_cpu_seconds / max(self.actions - 1, 1)


def measure_run(
    *,
    desktop: Mapping[str, str],
    edge: Mapping[str, str],
    on_progress: Callable[[int, int], None] = lambda steps, episodes: None,
) -> MeasuredRun:
    """Run the systems ``desktop`` and ``edge`` with these arguments until the sim has finished.

    The sim is started first, so that the policy's time to its first action holds no waiting for
    the sim. ``on_progress`` receives the steps and episodes so far. Raise RunFailedError when a
    node dies.
    """
    simulator = prepare(find_system('desktop'), desktop)
    policy = prepare(find_system('edge'), edge)
    namespace = str(simulator.values['namespace'])
    cpu_at_start: list[float] = []
    with (
        Observer(
            namespace, on_first_transition=lambda: cpu_at_start.append(_cpu_seconds(edge_run))
        ) as observer,
        RunningSystem(simulator.processes) as desktop_run,
    ):
        _wait_for_simulator(observer, desktop_run)
        with RunningSystem(policy.processes) as edge_run:
            _wait_for_end(observer, desktop_run, edge_run, on_progress)
            # Both within a second: the policy reports once more, the observer catches up.
            observer.wait_for(lambda: not np.isnan(_first_action_sec(observer)))
            usage = sample_resources(psutil.Process(edge_run.pid('policy')))
            return _measured(
                observer,
                policy,
                peak_memory_mb=usage.peak_memory_mb,
                cpu_seconds=usage.cpu_seconds - cpu_at_start[0],
            )


def _cpu_seconds(edge_run: RunningSystem) -> float:
    times = psutil.Process(edge_run.pid('policy')).cpu_times()
    return times.user + times.system


def _wait_for_simulator(observer: Observer, desktop_run: RunningSystem) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_SEC
    while not observer.sees_simulator:
        _check(desktop_run)
        if time.monotonic() > deadline:
            raise RunFailedError(_failure('the simulator did not start', desktop_run))
        time.sleep(_POLL_SEC)


def _wait_for_end(
    observer: Observer,
    desktop_run: RunningSystem,
    edge_run: RunningSystem,
    on_progress: Callable[[int, int], None],
) -> None:
    while desktop_run.is_running():
        _check(edge_run)
        on_progress(observer.transition_count, len(observer.episodes))
        time.sleep(_POLL_SEC)
    _check(desktop_run)
    on_progress(observer.transition_count, len(observer.episodes))


def _check(system: RunningSystem) -> None:
    if not system.is_running():
        outcome = system.wait()
        if outcome.exit_code:
            raise RunFailedError(_failure(outcome.reason, system))


def _failure(reason: str, system: RunningSystem) -> str:
    last = '\n'.join(system.log.of()[-15:])
    return f'{reason}; the last lines were\n{last}'


def _measured(
    observer: Observer, policy: PreparedSystem, *, peak_memory_mb: float, cpu_seconds: float
) -> MeasuredRun:
    transitions = observer.transitions()
    episodes = tuple(from_episode_summary(message) for message in observer.episodes)
    positions: dict[int, list[float]] = {}
    for transition in transitions:
        positions.setdefault(transition.episode, []).append(transition.forward_position)
    duration_sec = observer.last_transition_sec - observer.first_transition_sec
    return MeasuredRun(
        episodes=episodes,
        actions=len(transitions),
        lost_transitions=sum(episode.length for episode in episodes) - len(transitions),
        policy_memory_mb=peak_memory_mb,
        policy_cpu_seconds=cpu_seconds,
        first_action_sec=_first_action_sec(observer),
        inference_us=np.array([transition.inference_time_us for transition in transitions]),
        response_us=np.array([transition.response_time_us for transition in transitions]),
        forward_positions_m=tuple(np.array(values) for values in positions.values()),
        steps_per_sec=(len(transitions) - 1) / duration_sec if duration_sec > 0 else float('nan'),
        policy=policy,
    )


def _first_action_sec(observer: Observer) -> float:
    for status in observer.statuses:
        if not np.isnan(status.first_action_sec):
            return float(status.first_action_sec)
    return float('nan')
