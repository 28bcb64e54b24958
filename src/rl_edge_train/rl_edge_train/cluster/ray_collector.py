"""A collector whose environments are on the machines of a Ray cluster."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from rl_edge_core import cluster
from rl_edge_core.errors import ConfigurationError
from rl_edge_train.cluster.worker import CollectWorker, WorkerFragment, WorkerTask
from rl_edge_train.collector import Collector, Fragment
from rl_edge_train.vector_environment import FinishedEpisode, SimulationError

if TYPE_CHECKING:
    from rl_edge_train.algorithms.base import Agent

FRAGMENTS_AHEAD = 2
"""Fragments that a worker may be ahead of a learner that learns from replay: one that it collects
while another waits."""
LATE_FRAGMENTS = 4
"""Times the workers: once so many fragments came after one was asked for, it is waited for. So no
weights are older than this and `FRAGMENTS_AHEAD` together, times the workers, in fragments."""
PATIENCE_SEC = 600.0
"""How long no worker may deliver anything, before the run ends with a reason."""
STARTING_SEC = 120.0
"""How long the first worker may take to start, before the run ends with a reason."""


@dataclass
class _Worker:
    """One place for a worker, whichever process fills it now."""

    index: int
    actor: Any
    beginning: Any
    """Reference to the name of its node; None once it is there, and has begun."""
    node: str = ''
    generation: int = 0
    pending: int = 0
    """Fragments that were asked for and not taken yet."""


@dataclass
class _Measured:
    """What `metrics` reports since it was last asked."""

    since: float = field(default_factory=time.perf_counter)
    steps: int = 0
    fragments: int = 0
    age: int = 0
    busy_sec: float = 0.0
    idle_sec: float = 0.0
    waited_sec: float = 0.0


class RayCollector(Collector):
    """Let workers collect with copies of the agent's actor.

    For learning from replay they run on by themselves, up to `FRAGMENTS_AHEAD` fragments ahead of
    the learner: it takes the oldest that is there, and waits for one `LATE_FRAGMENTS` late. For
    `rollouts` every fragment of an iteration is collected with the same weights, by however
    many workers there are, and the slowest is waited for. A fragment whose worker or node ended is
    lost, counted and, for a rollout, collected anew; another worker takes its place.
    """

    def __init__(
        self,
        ray: Any,
        agent: Agent,
        task: WorkerTask,
        *,
        workers: int,
        rollouts: bool,
        say: Callable[[str], None],
        worker_class: type[CollectWorker] = CollectWorker,
    ) -> None:
        """Start the workers; return when the first is ready, and refuse other versions.

        `task` is that of worker 0; `ray` is connected. Raise ConfigurationError when no worker
        can be started.
        """
        self._ray, self.agent, self._task = ray, agent, task
        self._rollouts, self._say = rollouts, say
        self.stride = task.environments
        self.lost_fragments = 0
        self._ours = cluster.versions()
        self._class = ray.remote(worker_class)
        self._workers = [self._started(index) for index in range(workers)]
        self._in_flight: dict[Any, tuple[_Worker, int, int]] = {}
        """Fragments that were asked for, the oldest first, with their worker, its generation, and
        how many fragments had come by then."""
        self._received = 0
        self._fragments_per_rollout, self._taken = workers, 0
        """How many make a rollout, and how many of the present one are here."""
        self._policy, self._version = None, -1
        self._random = False
        self._measured = _Measured()
        self._await_first()

    # Workers ---------------------------------------------------------------------------------

    def _started(self, index: int, generation: int = 0) -> _Worker:
        actor = self._class.options(num_cpus=1, scheduling_strategy='SPREAD').remote(
            dataclasses.replace(self._task, index=index, generation=generation)
        )
        return _Worker(index, actor, actor.begin.remote(self._ours), generation=generation)

    def _await_first(self) -> None:
        deadline = time.monotonic() + STARTING_SEC
        while not any(worker.node for worker in self._workers):
            references = [worker.beginning for worker in self._workers]
            ready, _ = self._ray.wait(references, timeout=max(0.0, deadline - time.monotonic()))
            if not ready:
                total = self._ray.cluster_resources().get('CPU', 0)
                raise ConfigurationError(
                    f'no worker could be started in {STARTING_SEC:.0f} s: the cluster has '
                    f'{total:.0f} slots, all taken or on machines that do not answer'
                )
            self._welcome(ready)

    def _welcome(self, ready: list[Any]) -> None:
        """Count in the workers that have begun; refuse, by name, those with other versions."""
        errors = self._ray.exceptions
        for worker in list(self._workers):
            if worker.beginning is None or worker.beginning not in ready:
                continue
            try:
                worker.node = self._ray.get(worker.beginning)
                worker.beginning = None
            except errors.RayTaskError as error:
                if not worker.generation or len(self._workers) == 1:
                    raise error.cause from error
                self._say(f'goes on with one worker less: {error.cause}')
                self._ray.kill(worker.actor)
                self._workers.remove(worker)
            except errors.RayActorError as error:
                if worker.generation >= cluster.RETRIES:
                    raise SimulationError(f'no worker stays alive: {error}') from error
                self._replace(worker, str(error))

    def _replace(self, worker: _Worker, reason: str) -> None:
        """Start another worker in the place of one that ended."""
        self._ray.kill(worker.actor)
        self._say(
            f'worker {worker.index}{f" on {worker.node}" if worker.node else ""} was lost '
            f'({reason.strip().splitlines()[0]}): another takes its place'
        )
        fresh = self._started(worker.index, worker.generation + 1)
        worker.actor, worker.beginning = fresh.actor, fresh.beginning
        worker.generation, worker.node, worker.pending = fresh.generation, '', 0

    # Collecting ------------------------------------------------------------------------------

    def start(self, *, random: bool = False) -> None:
        """Ask the workers for fragments, by the agent's present weights or random actions."""
        self._random = random
        updates = int(self.agent.updates.numpy())
        if not random and updates != self._version:
            with cluster.named_errors(self._ray):
                self._policy = self._ray.put(self.agent.acting_copy())
            self._version = updates
        self._submit()

    def _submit(self) -> None:
        """Give work to whoever has none; of a rollout no more than is missing."""
        ready = [worker for worker in self._workers if worker.beginning is None]
        if not self._rollouts:
            asked = next((a for _, _, a in self._in_flight.values()), self._received)
            is_late = self._received - asked >= LATE_FRAGMENTS * len(self._workers)
            wanted = [w for w in ready for _ in range(FRAGMENTS_AHEAD - w.pending) if not is_late]
        else:
            missing = self._fragments_per_rollout - self._taken - len(self._in_flight)
            wanted = sorted(ready, key=lambda worker: worker.pending)[: max(0, missing)]
        policy = None if self._random else self._policy
        for worker in wanted:
            reference = worker.actor.collect.remote(policy, self._version)
            worker.pending += 1
            self._in_flight[reference] = worker, worker.generation, self._received

    def finish(self) -> Fragment:
        """Return the next fragment, or the whole rollout; the agent's normaliser sees the first.

        Raise SimulationError for what an environment raised, naming worker, seed and step, and
        when nothing comes any more.
        """
        if self._rollouts:
            parts: list[tuple[int, np.ndarray]] = []
            episodes: list[FinishedEpisode] = []
            while len(parts) < self._fragments_per_rollout:
                index, fragment = self._next()
                parts.append((index, fragment.rows))
                episodes += fragment.episodes
                self._taken = len(parts)
                self._submit()  # what a lost worker owes, others make up for
            self._taken = 0
            parts.sort(key=lambda part: part[0])
            return Fragment(np.concatenate([rows for _, rows in parts], axis=1), episodes)
        _, fragment = self._next()
        rows = np.array(fragment.rows)
        # Whichever fragment follows in the replay: no advantage is carried over its end.
        column = self.agent.layout.slices()['truncated'].start
        rows[-1, :, column] = np.maximum(
            rows[-1, :, column], 1.0 - self.agent.layout.column(rows[-1], 'terminated')
        )
        seen = self.agent.layout.column(rows, 'observation')
        self.agent.observe(seen.reshape(-1, seen.shape[-1]))
        return Fragment(rows, fragment.episodes)

    def _next(self) -> tuple[int, WorkerFragment]:
        """Return the next fragment with the index of its worker; replace workers that ended."""
        started = time.perf_counter()
        while True:
            joining = [w.beginning for w in self._workers if w.beginning is not None]
            ready = cluster.wait_for_any(
                self._ray, [*joining, *self._in_flight], timeout_sec=PATIENCE_SEC
            )
            if not ready:
                raise SimulationError(
                    f'no worker has delivered anything for {PATIENCE_SEC:.0f} s: look at '
                    '`ray status`'
                )
            if ready[0] not in self._in_flight:
                self._welcome(ready)
                self._submit()
                continue
            worker, generation, _ = self._in_flight.pop(ready[0])
            fragment = self._fetched(ready[0], worker, generation)
            if fragment is None:
                self._submit()
                continue
            self._measured.waited_sec += time.perf_counter() - started
            self._received += 1
            self._measure(fragment)
            return worker.index, fragment

    def _fetched(self, reference: Any, worker: _Worker, generation: int) -> WorkerFragment | None:
        """Return a fragment, or None when it was lost with its worker."""
        errors = self._ray.exceptions
        lost = (errors.RayActorError, errors.ObjectLostError, errors.WorkerCrashedError)
        with cluster.named_errors(self._ray):
            try:
                fragment: WorkerFragment = self._ray.get(reference)
            except lost as error:
                self.lost_fragments += 1
                if generation == worker.generation:
                    self._replace(worker, str(error))
                return None
        if generation == worker.generation:
            worker.pending -= 1
        return fragment

    # Reports ---------------------------------------------------------------------------------

    def _measure(self, fragment: WorkerFragment) -> None:
        measured = self._measured
        measured.steps += fragment.rows.shape[0] * fragment.rows.shape[1]
        measured.fragments += 1
        measured.age += int(self.agent.updates.numpy()) - fragment.version
        measured.busy_sec += fragment.busy_sec
        measured.idle_sec += fragment.idle_sec

    def metrics(self) -> dict[str, float]:
        """Return workers, steps/s of each, the weights' age in updates, losses, and who waits."""
        measured, self._measured = self._measured, _Measured()
        elapsed = max(time.perf_counter() - measured.since, 1e-9)
        worked = max(measured.busy_sec + measured.idle_sec, 1e-9)
        return {
            'workers': float(sum(worker.beginning is None for worker in self._workers)),
            'worker_steps_per_second': measured.steps / elapsed / len(self._workers),
            'weights_age_updates': measured.age / max(measured.fragments, 1),
            'lost_fragments': float(self.lost_fragments),
            'learner_waiting_share': min(measured.waited_sec / elapsed, 1.0),
            'workers_waiting_share': measured.idle_sec / worked,
        }

    def load_arrays(self, arrays: Mapping[str, np.ndarray], *, first_seed: int) -> str:
        """Start every episode anew, which a collector of this kind has done already."""
        return 'every episode starts anew, on the cluster'

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            self._ray.kill(worker.actor)


@dataclass(frozen=True)
class Cluster:
    """The cluster that a run collects on."""

    ray: Any
    """The connected module."""
    workers: int = 0
    """Processes that collect; 0 for all slots but one."""
    environments_per_worker: int = 0
    """0 shares out as many as the configuration has on one machine."""


def fragment_steps(
    environments: int, *, total_steps: int, capacity: int, sequence_length: int
) -> int:
    """Return how many steps of a worker's environments make a fragment to learn from replay by.

    About 1,000 transitions, which cost little to hand over; fewer where the run or the buffer is
    small, so that the policy that collects is not far behind; never less than a few sequences.
    """
    rows = min(1000, total_steps // 200, capacity // 8)
    return max(1, rows // environments, 4 * sequence_length if sequence_length > 1 else 1)
