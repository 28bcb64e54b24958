"""What a loop publishes over ROS, and what it says of it on the console."""

import math
import time
from collections.abc import Callable

from rclpy.duration import Duration
from rclpy.node import Node

from rl_edge_core.episode_result import EpisodeResult
from rl_edge_core.loop.action_gate import ActionCounts
from rl_edge_core.loop.events import EpisodeEvent, ObservationEvent, Plant, StepEvent
from rl_edge_core.ros import conversions, qos
from rl_edge_core.wording import counted
from rl_edge_interfaces.msg import Environment, EpisodeSummary, Observation, Transition

_NANOSECONDS = 1_000_000_000
_SINGLE_LINE_SEC, _SUMMARY_SEC = 2.0, 5.0


class Throttle:
    """Say, by the steady clock, when something may happen again."""

    def __init__(self, rate_hz: float) -> None:
        """Allow ``rate_hz`` times per second, on average at most; 0 for never."""
        self._period_ns = round(_NANOSECONDS / rate_hz) if rate_hz else 0
        self._tolerance_ns = self._period_ns // 4
        self._next_ns = 0

    def is_due(self) -> bool:
        """Return whether it may happen now, and count that as happening.

        It may come a quarter of a period early, else what is asked for at the very rate that is
        allowed would be refused whenever it jitters; the next time is then no earlier for it.
        """
        now_ns = time.monotonic_ns()
        if not self._period_ns or now_ns < self._next_ns - self._tolerance_ns:
            return False
        is_on_schedule = now_ns - self._next_ns < self._period_ns
        self._next_ns = (self._next_ns if is_on_schedule else now_ns) + self._period_ns
        return True


class LoopPublisher:
    """Publish what a loop produces: the `LoopOutput` of nodes.

    Messages of each step are made once and filled again.
    """

    def __init__(
        self,
        node: Node,
        plant: Plant,
        *,
        run_id: int,
        mode: str,
        restart_ticks: Callable[[], None],
        finish: Callable[[int], None],
        after_step: Callable[[int], None],
    ) -> None:
        """Create the publishers, and publish what environment it is.

        ``after_step`` is called at the end of each step and reset with the time of the
        observation that it led to, in ns.
        """
        self.restart_ticks, self.finish = restart_ticks, finish
        self._run_id, self._after_step = run_id, after_step
        self.observation = qos.publisher(node, Observation, 'observation', qos.observation())
        self.transition = qos.publisher(node, Transition, 'transition', qos.transition())
        self._episode = qos.publisher(node, EpisodeSummary, 'episode', qos.episode())
        # The last to be announced: who has received it knows the others (see `missing_peers`).
        self.environment = qos.publisher(node, Environment, 'environment', qos.environment())
        self._observation_message = Observation(run_id=run_id)
        self._transition_message = Transition(run_id=run_id)
        self.episodes = EpisodeLog(node.get_logger().info)
        self.environment.publish(
            conversions.to_environment(
                plant.spec, run_id=run_id, reward_term_names=plant.term_names, mode=mode
            )
        )

    def publish_observation(self, event: ObservationEvent) -> None:
        """Publish an observation; the first of an episode is not followed by a step."""
        conversions.fill_observation(self._observation_message, event)
        self.observation.publish(self._observation_message)
        if not event.step:
            self._after_step(event.time_ns)

    def publish_step(self, event: StepEvent) -> None:
        """Publish a transition and what goes with the time that it led to."""
        # Filling and serializing it for nobody would cost as much as the observation.
        if self.transition.get_subscription_count():
            conversions.fill_transition(self._transition_message, event)
            self.transition.publish(self._transition_message)
        self._after_step(event.time_ns)

    def publish_episode(self, event: EpisodeEvent) -> None:
        """Publish the summary of an episode."""
        self._episode.publish(conversions.to_episode_summary(event, run_id=self._run_id))
        self.episodes.add(event)

    def flush(self, timeout_sec: float) -> bool:
        """Wait until subscribers have acknowledged what was published; False when they did not."""
        end = time.monotonic() + timeout_sec
        publishers = (self.environment, self.observation, self.transition, self._episode)
        return all(
            each.wait_for_all_acked(Duration(seconds=max(0.0, end - time.monotonic())))
            for each in publishers
        )


class EpisodeLog:
    """One line per episode where they are slow, one per some seconds where they are fast."""

    def __init__(
        self, log: Callable[[str], object], *, now_sec: Callable[[], float] = time.monotonic
    ) -> None:
        """Write lines with ``log``."""
        self._log, self._now_sec = log, now_sec
        self._last_line_sec = -_SUMMARY_SEC
        self._unsaid: list[EpisodeEvent] = []
        self._all, self._counts = _Totals(), ActionCounts()

    def add(self, event: EpisodeEvent) -> None:
        """Take note of a finished episode, and say so when nothing was said for a moment.

        One without a step is none, and one that was cut off is in no mean.
        """
        self._counts += event.counts
        if not event.result.length:
            return
        if not event.result.ended_by.cuts:
            self._all.add(event.result)
        self._unsaid.append(event)
        if self._now_sec() - self._last_line_sec >= _SINGLE_LINE_SEC and len(self._unsaid) == 1:
            self._say_rest()

    def update(self) -> None:
        """Say what was left out, once some seconds have passed; call it now and then."""
        if self._now_sec() - self._last_line_sec >= _SUMMARY_SEC:
            self._say_rest()

    def close(self) -> None:
        """Say the rest, and a table of all whole episodes."""
        self._say_rest()
        if self._all.episodes:
            self._log(self._all.table(self._counts))
            self._all = _Totals()

    def _say_rest(self) -> None:
        events = self._unsaid
        if not events:
            return
        self._log(_line(events[0]) if len(events) == 1 else _summary_line(events))
        self._unsaid = []
        self._last_line_sec = self._now_sec()


class _Totals:
    """Mean and range of some columns, over any number of episodes in the same memory."""

    def __init__(self) -> None:
        self.episodes = self.ended_early = 0
        self._columns: dict[str, tuple[float, float, float]] = {}

    def add(self, result: EpisodeResult) -> None:
        self.episodes += 1
        self.ended_early += result.ended_early
        for name, value in (
            ('return', result.episode_return),
            ('steps', result.length),
            ('forward m', result.forward_distance),
            ('speed m/s', result.mean_speed),
        ):
            total, low, high = self._columns.get(name, (0.0, math.inf, -math.inf))
            self._columns[name] = (total + value, min(low, value), max(high, value))

    def table(self, counts: ActionCounts) -> str:
        rows = [
            f'{counted(self.episodes, "episode")}, {self.ended_early} ended early',
            f'{"":10}{"mean":>11}{"lowest":>11}{"highest":>11}',
        ]
        for name, (total, low, high) in self._columns.items():
            if total == total:  # not NaN: there is a forward coordinate
                rows.append(f'{name:10}{total / self.episodes:11.2f}{low:11.2f}{high:11.2f}')
        rows.append(
            'actions: ' + ', '.join(f'{count} {name}' for name, count in vars(counts).items())
        )
        return '\n'.join(rows)


def _line(event: EpisodeEvent) -> str:
    result = event.result
    says_why = result.termination_reason not in ('', 'terminated')
    reason = f': {result.termination_reason}' if says_why else ''
    distance = result.forward_distance
    forward = '' if math.isnan(distance) else f'{distance:.2f} m forward, '
    return (
        f'episode {event.episode} (seed {result.seed}): return {result.episode_return:.1f}, '
        f'{counted(result.length, "step")}, {forward}ended by '
        f'{result.ended_by.name.lower().replace("_", " ")}{reason}'
    )


def _summary_line(events: list[EpisodeEvent]) -> str:
    whole = [event.result for event in events if not event.result.ended_by.cuts]
    said = f'episodes {events[0].episode} to {events[-1].episode} ({len(events)} of them): '
    parts = []
    if whole:
        returns = [result.episode_return for result in whole]
        parts = [
            f'return {sum(returns) / len(whole):.1f} on average ({min(returns):.1f} to '
            f'{max(returns):.1f})',
            f'{sum(result.length for result in whole) / len(whole):.0f} steps',
            f'{sum(result.ended_early for result in whole)} ended early',
        ]
    if len(whole) < len(events):
        parts.append(f'{len(events) - len(whole)} cut off, in no mean')
    return said + ', '.join(parts)
