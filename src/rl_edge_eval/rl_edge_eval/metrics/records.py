"""What is kept of one robot while its messages stream by."""

import math
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.errors import ConfigurationError
from rl_edge_core.transition_sequence import Arrival, TransitionSequence
from rl_edge_eval.bag.messages import Notes
from rl_edge_eval.metrics.series import REPORT, STEP, Series

TRANSITION_TYPE = 'rl_edge_interfaces/msg/Transition'
TRANSITION_FIELDS = (
    *('header', 'run_id', 'episode', 'step', 'observation', 'action', 'reward', 'reward_terms'),
    *('terminated', 'truncated', 'safe_action', 'model_hash', 'forward_position'),
    *('response_time_us', 'inference_time_us'),
)
"""Of a Transition, what is looked at here and in a replay."""


# Packed as `STEP` and `REPORT` are laid out.
_pack_step = struct.Struct('=qqffd').pack
_pack_report = struct.Struct('=qq7d').pack
_REPORTED = tuple(name for name in REPORT.fields or () if name != 'time_ns')


@dataclass
class EpisodeRecord:
    """Sums over the transitions of one episode, and 32 bytes per step."""

    run_id: int
    episode: int
    reward: float = 0.0
    reward_terms: list[float] = field(default_factory=list)
    safe_actions: int = 0
    first_step: int = -1
    """The lowest step; with `last_step`, where the forward positions belong."""
    last_step: int = -1
    first_position: float = math.nan
    last_position: float = math.nan
    first_sim_sec: float = math.nan
    last_sim_sec: float = math.nan
    terminated: bool = False
    truncated: bool = False
    model_hashes: dict[str, None] = field(default_factory=dict)
    """In order of their first use; an episode may see a swap."""
    packed: bytearray = field(default_factory=bytearray)
    """The recorded steps; see `series`."""
    summary: Any = None
    """The decoded EpisodeSummary, once there is one."""
    summary_ns: int = 0
    """When it was recorded."""
    live_from_ns: int = 0
    """Steps recorded earlier had happened before the recording; see `find_history`."""
    began_live: bool = True
    """Whether the episode began during the recording."""

    @property
    def steps(self) -> int:
        """Return how many transitions were taken."""
        return len(self.packed) // STEP.itemsize

    @property
    def series(self) -> Series:
        """Return the steps as arrays."""
        return np.frombuffer(self.packed, STEP).view(np.recarray)

    @property
    def live(self) -> Series:
        """Return the steps that were recorded while they happened."""
        return self.series[self.series.time_ns >= self.live_from_ns]

    def add(self, row: Any, time_ns: int) -> None:
        """Take one decoded Transition that was not seen before."""
        self.reward += row.reward
        terms, sums = row.reward_terms, self.reward_terms
        sums.extend([0.0] * (len(terms) - len(sums)))
        for index, term in enumerate(terms):
            sums[index] += term
        self.safe_actions += row.safe_action
        stamp = row.header.stamp
        sim_time_sec = stamp.sec + stamp.nanosec * 1e-9
        if self.first_step < 0 or row.step < self.first_step:
            self.first_step = row.step
            self.first_position, self.first_sim_sec = row.forward_position, sim_time_sec
        if row.step > self.last_step:
            self.last_step = row.step
            self.last_position, self.last_sim_sec = row.forward_position, sim_time_sec
        self.terminated = self.terminated or row.terminated
        self.truncated = self.truncated or row.truncated
        if row.model_hash:  # none: the safe action
            self.model_hashes[row.model_hash] = None
        self.packed += _pack_step(
            time_ns, row.step, row.response_time_us, row.inference_time_us, row.forward_position
        )


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
        self._reports: dict[str, bytearray] = {}
        self.environment: Any = None
        self.spec: EnvironmentSpec | None = None
        self.policy_status: list[Any] = []
        """The last message of each state and model, in order."""
        self._runs: set[int] = set()
        self._sizes: tuple[int, int] | None = None

    def add_transition(self, row: Any, time_ns: int) -> bool:
        """Take one decoded Transition; return whether it is new and of the right size.

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
        self._episode(row).add(row, time_ns)
        if not math.isfinite(row.reward):
            self._note('transitions whose reward is not finite: the return is not either')
        sizes = (len(row.observation), len(row.action))
        self._sizes = self._sizes or sizes
        if sizes != self._sizes:
            self._note(
                'transitions of a wrong size: their rewards count, a replay leaves them out',
                f'episode {row.episode} step {row.step} has {sizes[0]} observation and '
                f'{sizes[1]} action values instead of {self._sizes[0]} and {self._sizes[1]}',
            )
        return sizes == self._sizes

    def add_summary(self, message: Any, time_ns: int) -> None:
        """Take a decoded EpisodeSummary."""
        episode = self._episode(message)
        if episode.summary is not None:
            self._note('episode summaries that came twice: the first counts')
            return
        episode.summary, episode.summary_ns = message, time_ns

    def add_environment(self, message: Any, _: int = 0) -> None:
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
                'the environment changed during the recording, metrics use the first one: '
                + '; '.join(self.spec.differences(spec))
            )

    def use_spec(self, spec: EnvironmentSpec) -> None:
        """Check the sizes of transitions against ``spec``."""
        self.spec = spec
        self._sizes = (spec.observation_size, spec.action_size)

    def add_policy_status(self, message: Any, _: int = 0) -> None:
        """Take a decoded PolicyStatus."""
        last = self.policy_status[-1] if self.policy_status else None
        if last and (last.state, last.model_hash) == (message.state, message.model_hash):
            self.policy_status.pop()
        self.policy_status.append(message)

    def add_resources(self, message: Any, time_ns: int) -> None:
        """Take a decoded ResourceUsage."""
        values = (getattr(message, name) for name in _REPORTED)
        self._reports.setdefault(message.node, bytearray()).extend(_pack_report(time_ns, *values))

    def reports(self) -> dict[str, Series]:
        """Return what each node reported."""
        return {
            node: np.frombuffer(packed, REPORT).view(np.recarray)
            for node, packed in self._reports.items()
        }

    def _episode(self, message: Any) -> EpisodeRecord:
        key = (message.run_id, message.episode)
        if key not in self.episodes:
            self.episodes[key] = EpisodeRecord(*key)
        return self.episodes[key]

    def _note(self, remark: str, example: str = '') -> None:
        self._notes.add(f'{self.namespace or "/"}: {remark}', example)
