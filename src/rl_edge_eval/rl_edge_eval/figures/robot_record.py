"""What is kept of one robot while its messages stream by."""

import math
from array import array
from typing import Any

from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.errors import ConfigurationError
from rl_edge_core.transition_sequence import Arrival, TransitionSequence
from rl_edge_eval.bag.notes import Notes
from rl_edge_eval.bag.transition_decoder import TransitionRow
from rl_edge_eval.figures.episode_record import EpisodeRecord


class NodeRecord:
    """One node's reports of its resources, a few numbers a second."""

    FIGURES = (
        'cpu_percent',
        'cpu_seconds',
        'resident_memory_mb',
        'peak_memory_mb',
        'unique_memory_mb',
        'threads',
    )

    def __init__(self) -> None:
        """Start without a report."""
        self.times_ns = array('q')
        self.pids = array('q')
        self.values = {name: array('d') for name in self.FIGURES}

    def add(self, message: Any, time_ns: int) -> None:
        """Take one decoded ResourceUsage message."""
        self.times_ns.append(time_ns)
        self.pids.append(message.pid)
        for name, values in self.values.items():
            values.append(getattr(message, name))

    def between(self, begin_ns: int, end_ns: int) -> 'NodeRecord':
        """Return the reports that came from ``begin_ns`` to ``end_ns``, e.g. while it acted."""
        kept = NodeRecord()
        for index, time_ns in enumerate(self.times_ns):
            if begin_ns <= time_ns <= end_ns:
                kept.times_ns.append(time_ns)
                kept.pids.append(self.pids[index])
                for name, values in self.values.items():
                    kept.values[name].append(values[index])
        return kept


class RobotRecord:
    """Episodes, nodes and policy of one namespace."""

    def __init__(self, namespace: str, notes: Notes) -> None:
        """Start with nothing seen; what is odd goes to ``notes``."""
        self.namespace = namespace
        self._notes = notes
        self.sequence = TransitionSequence()
        self.before_first = 0
        """Steps of the first recorded episode of each run that lie before recording began."""
        self.reordered = 0
        """Transitions that were recorded after a later step; see `add_transition`."""
        self._newest_ns = 0
        self.episodes: dict[tuple[int, int], EpisodeRecord] = {}
        self.nodes: dict[str, NodeRecord] = {}
        self.environment: Any = None
        self.spec: EnvironmentSpec | None = None
        self.policy_status: list[Any] = []
        """The last message of each state and model, in order."""
        self._runs: set[int] = set()
        self._sizes: tuple[int, int] | None = None

    def add_transition(self, row: TransitionRow, time_ns: int) -> bool:
        """Take one transition; return whether it is new and of the right size.

        The threads of ``ros2 bag record --compression-mode message`` mix the order in the file up:
        the time of recording tells what the middleware delivered late.
        """
        arrival = self.sequence.arrive(row.run_id, row.episode, row.step)
        if arrival is Arrival.DUPLICATE:
            return False
        self.reordered += arrival is Arrival.REORDERED and time_ns >= self._newest_ns
        self._newest_ns = max(self._newest_ns, time_ns)
        if row.run_id not in self._runs:
            self._runs.add(row.run_id)
            self.before_first += row.step
        episode = self._episode(row.run_id, row.episode)
        episode.add(row, time_ns)
        if not math.isfinite(row.reward):
            self._note('transitions whose reward is not finite: the return is not either')
        return self._has_right_size(row)

    def add_summary(self, message: Any) -> None:
        """Take a decoded EpisodeSummary."""
        episode = self._episode(message.run_id, message.episode)
        if episode.summary is not None:
            self._note('episode summaries that came twice: the first counts')
            return
        episode.summary = message

    def add_environment(self, message: Any) -> None:
        """Take a decoded Environment; the first one names the run, others are noted."""
        try:
            spec = EnvironmentSpec.from_message(message)
        except ConfigurationError as error:
            self._note(f'an environment that is not consistent is left out: {error}')
            return
        if spec.hash != message.spec_hash:
            self._note(
                f'the environment hashes to {spec.hash[:12]}, its message says '
                f'{message.spec_hash[:12] or "nothing"}'
            )
        if self.spec is None:
            self.environment = message
            self.use_spec(spec)
        elif spec != self.spec:
            self._note(
                'the environment changed during the recording, figures use the first one: '
                + '; '.join(self.spec.differences(spec))
            )

    def use_spec(self, spec: EnvironmentSpec) -> None:
        """Judge the sizes of transitions by ``spec``."""
        self.spec = spec
        self._sizes = (spec.observation_size, spec.action_size)

    def add_policy_status(self, message: Any) -> None:
        """Take a decoded PolicyStatus."""
        status = self.policy_status
        same = status and (status[-1].state, status[-1].model_hash) == (
            message.state,
            message.model_hash,
        )
        if same:
            status[-1] = message
        else:
            status.append(message)

    def add_resources(self, message: Any, time_ns: int) -> None:
        """Take a decoded ResourceUsage."""
        self.nodes.setdefault(message.node, NodeRecord()).add(message, time_ns)

    def end(self) -> None:
        """Take note of the lengths of finished episodes, now that all transitions were seen."""
        for episode in self.episodes.values():
            if episode.summary is not None and episode.steps:
                self.sequence.end_episode(
                    episode.run_id, episode.episode, int(episode.summary.length)
                )

    @property
    def lost(self) -> int:
        """Return how many transitions are missing since the first that was recorded."""
        return self.sequence.lost - self.before_first

    def _episode(self, run_id: int, episode: int) -> EpisodeRecord:
        key = (run_id, episode)
        if key not in self.episodes:
            self.episodes[key] = EpisodeRecord(run_id, episode)
        return self.episodes[key]

    def _has_right_size(self, row: TransitionRow) -> bool:
        sizes = (row.observation_size, row.action_size)
        if self._sizes is None:
            self._sizes = sizes
        if sizes == self._sizes:
            return True
        self._note(
            'transitions of a wrong size: their rewards count, a replay leaves them out',
            f'episode {row.episode} step {row.step} has {sizes[0]} observation and {sizes[1]} '
            f'action values instead of {self._sizes[0]} and {self._sizes[1]}',
        )
        return False

    def _note(self, remark: str, example: str = '') -> None:
        self._notes.add(f'{self.namespace or "/"}: {remark}', example)
