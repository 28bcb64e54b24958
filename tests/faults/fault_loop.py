"""The loop that the fault cases take: processes killed and stopped, topics flooded."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fault_harness import WAIT_SEC, FaultHarness
from rclpy.task import Future

from rl_edge_bringup.models import executable_path
from rl_edge_bringup.running_system import RunningSystem
from rl_edge_bringup.systems import NodeDescription
from rl_edge_core.ros import qos
from rl_edge_experiments.record_run import Program
from rl_edge_interfaces.msg import Action, EpisodeSummary, Observation


@dataclass
class FaultLoop(FaultHarness):
    """A harness with the faults that a case may inject."""

    since: Observation = field(default_factory=Observation)
    """The newest observation when the current fault began."""

    def start_program(
        self, package: str, executable: str, name: str, *words: str
    ) -> RunningSystem:
        """Start one node with its own command line words; when it ends, so does its run."""
        node = NodeDescription(package, executable, name, self.namespace)
        command = (
            str(executable_path(package, executable)),
            '--ros-args',
            *('-r', f'__node:={name}'),
            *('-r', f'__ns:=/{self.namespace}'),
            *words,
        )
        running = RunningSystem([Program(node, command)], environment=self._variables)
        return self._stack.enter_context(running)

    def start_recorder(self, bag: Path) -> RunningSystem:
        """Record to a new bag."""
        return self.start_program(
            'rl_edge_eval', 'recorder_node', 'recorder', '-p', f'output:={bag}'
        )

    def kill(self, system: RunningSystem, node: str) -> int:
        """Kill a node with -9 and wait for the next process of it; return that one's id."""
        pid = system.pid(node)
        os.kill(pid, signal.SIGKILL)
        return system.pid(node, other_than=pid, timeout_sec=WAIT_SEC)

    @contextlib.contextmanager
    def stopped(self, system: RunningSystem, node: str) -> Iterator[None]:
        """Hold a node with SIGSTOP."""
        pid = system.pid(node)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    def newest_observation(self) -> Observation:
        """Return the next observation that comes by."""
        received: Future = Future()

        def take(observation: Observation) -> None:
            if not received.done():
                received.set_result(observation)

        with self.observer.subscribed(Observation, 'observation', take, qos.observation()):
            self.wait_for('an observation', received.done)
        return received.result()

    def flood_actions(self, actions: Iterator[Action]) -> int:
        """Publish ``actions`` as fast as it goes; return how many they were."""
        return self._flood(Action, 'action', qos.action(), actions)

    def flood_observations(self, observations: Iterator[Observation]) -> int:
        """Publish ``observations`` as fast as it goes; return how many they were."""
        return self._flood(Observation, 'observation', qos.observation(), observations)

    def _flood(self, message_type: type, topic: str, profile: Any, messages: Iterator[Any]) -> int:
        count = 0
        with self.observer.publisher(message_type, topic, profile) as publisher:
            self.wait_for('a subscriber', publisher.get_subscription_count)
            for message in messages:
                publisher.publish(message)
                count += 1
        return count

    def counts(self, name: str) -> int:
        """Return the sum of one count over the episodes from that of `since` on that have ended.

        Earlier episodes are known as well: the topic is transient local.
        """
        return sum(getattr(e, name) for e in self.observer.episodes if _is_from(self.since, e))

    def wait_for_episode(self) -> None:
        """Wait for the end of the episode that runs now."""
        now = self.newest_observation()
        self.wait_for(
            'the end of an episode',
            lambda: any(_is_from(now, episode) for episode in list(self.observer.episodes)),
        )


def _is_from(first: Observation, episode: EpisodeSummary) -> bool:
    return bool(episode.run_id != first.run_id or episode.episode >= first.episode)
