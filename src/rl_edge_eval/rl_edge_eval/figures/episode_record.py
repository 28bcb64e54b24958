"""What is kept of one episode while its messages stream by."""

import math
from array import array
from dataclasses import dataclass, field
from typing import Any

from rl_edge_eval.bag.transition_decoder import TransitionRow


@dataclass
class EpisodeRecord:
    """Sums over the transitions of one episode, and 16 bytes a step."""

    run_id: int
    episode: int
    steps: int = 0
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
    times_ns: array = field(default_factory=lambda: array('q'))
    """Of recording, one a step."""
    response_us: array = field(default_factory=lambda: array('f'))
    inference_us: array = field(default_factory=lambda: array('f'))
    summary: Any = None
    """The decoded EpisodeSummary, once there is one."""

    def add(self, row: TransitionRow, time_ns: int) -> None:
        """Take one transition that was not seen before."""
        self.steps += 1
        self.reward += row.reward
        self._add_terms(row.reward_terms)
        self.safe_actions += row.safe_action
        if self.first_step < 0 or row.step < self.first_step:
            self.first_step = row.step
            self.first_position, self.first_sim_sec = row.forward_position, row.sim_time_sec
        if row.step > self.last_step:
            self.last_step = row.step
            self.last_position, self.last_sim_sec = row.forward_position, row.sim_time_sec
        self.terminated = self.terminated or row.terminated
        self.truncated = self.truncated or row.truncated
        if row.model_hash not in self.model_hashes:
            self.model_hashes[row.model_hash] = None
        self.times_ns.append(time_ns)
        self.response_us.append(row.response_time_us)
        self.inference_us.append(row.inference_time_us)

    def _add_terms(self, terms: tuple[float, ...]) -> None:
        if len(self.reward_terms) < len(terms):
            self.reward_terms.extend([0.0] * (len(terms) - len(self.reward_terms)))
        sums = self.reward_terms
        for index, term in enumerate(terms):
            sums[index] += term
