"""The thread that learns, so that no callback ever waits for an update."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rl_edge_train.online.learner import ExportedPolicy, OnlineLearner, stack_transitions

IDLE_SEC = 0.1
"""How long the thread waits for transitions when no update is due."""
LARGEST_BATCH = 256
"""Transitions stored at once before updates have their turn again."""


@dataclass(frozen=True)
class LearnerMetrics:
    """What a reader of another thread may know of the learner; replaced whole, never changed."""

    transitions: int = 0
    updates: int = 0
    replay_size: int = 0
    policy: ExportedPolicy | None = None
    """The last one exported; None before the first."""
    updates_owed: float = 0.0
    """Updates that the stored transitions still call for."""
    updates_per_transition: float = 0.0
    """Updates that a transition calls for."""
    algorithm: Mapping[str, float] = field(default_factory=dict)
    """The algorithm's own metrics of the latest round of updates."""


class LearnerThread:
    """Own a learner: everything that touches it runs here, one thing after another."""

    def __init__(
        self,
        make_learner: Callable[[], OnlineLearner],
        *,
        export: Callable[[OnlineLearner], ExportedPolicy],
        export_period_sec: float,
        checkpoint_period_sec: float,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        """Start: make the learner, compile, export the first policy, then learn as data comes.

        From the first policy on, transitions are learned from as soon as they are put. `export`
        writes the present policy; it runs at the start and every `export_period_sec` in which
        something was learned. `on_failure` is called, in this thread, with what ended it.
        """
        self.metrics = LearnerMetrics()
        self._make_learner, self._export, self._on_failure = make_learner, export, on_failure
        self._export_period_sec = export_period_sec
        self._checkpoint_period_sec = checkpoint_period_sec
        self._transitions: queue.SimpleQueue[Mapping[str, Any]] = queue.SimpleQueue()
        self._checkpoint_requests: queue.SimpleQueue[Future[Path]] = queue.SimpleQueue()
        self._stop, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name='learner', daemon=True)
        self._thread.start()

    def put(self, transition: Mapping[str, Any]) -> None:
        """Hand over one transition (arrays and numbers by field name); returns at once."""
        self._transitions.put(transition)

    @property
    def updates_behind(self) -> float:
        """Return how many updates are to be made for all that was put so far."""
        metrics = self.metrics
        waiting = self._transitions.qsize() * metrics.updates_per_transition
        return metrics.updates_owed + waiting

    def request_checkpoint(self) -> Future[Path]:
        """Ask for a checkpoint; the future holds its path, or why it could not be written."""
        request: Future[Path] = Future()
        self._checkpoint_requests.put(request)
        if self._ended.is_set():
            self._refuse_requests()
        return request

    def close(self) -> None:
        """Let the thread write a last checkpoint and end; wait for it."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        learner = None
        try:
            learner = self._make_learner()
            learner.warm_up()
            self._serve(learner)
            learner.save_checkpoint()
        except Exception as error:  # whatever it is, the node must hear of it
            self._on_failure(error)
        finally:
            # In this order: a request is put either before it is refused here, or after the
            # event is set, and then its asker refuses it.
            self._ended.set()
            self._refuse_requests()
            if learner is not None:
                learner.close()

    def _serve(self, learner: OnlineLearner) -> None:
        self._publish(learner, {}, self._export(learner))
        exported = checkpointed = time.monotonic()
        exported_updates = learner.updates
        while not self._stop.is_set():
            self._take_transitions(learner)
            metrics = learner.learn() if learner.is_due else {}
            self._publish(learner, metrics, self.metrics.policy)
            for request in _drained(self._checkpoint_requests):
                try:
                    request.set_result(learner.save_checkpoint())
                except Exception as error:  # the asker is told, learning goes on
                    request.set_exception(error)
            now = time.monotonic()
            if now - exported >= self._export_period_sec and learner.updates > exported_updates:
                self._publish(learner, {}, self._export(learner))
                exported, exported_updates = time.monotonic(), learner.updates
            if now - checkpointed >= self._checkpoint_period_sec:
                learner.save_checkpoint()
                checkpointed = time.monotonic()

    def _take_transitions(self, learner: OnlineLearner) -> None:
        batch: list[Mapping[str, Any]] = []
        try:
            if not learner.is_due:
                batch.append(self._transitions.get(timeout=IDLE_SEC))
            while len(batch) < LARGEST_BATCH:
                batch.append(self._transitions.get_nowait())
        except queue.Empty:
            pass
        if batch:
            learner.add(stack_transitions(batch))

    def _publish(
        self, learner: OnlineLearner, metrics: Mapping[str, float], policy: ExportedPolicy | None
    ) -> None:
        self.metrics = LearnerMetrics(
            transitions=learner.transitions,
            updates=learner.updates,
            replay_size=len(learner.store),
            policy=policy,
            updates_owed=learner.updates_owed,
            updates_per_transition=learner.updates_per_transition,
            algorithm=metrics or self.metrics.algorithm,
        )

    def _refuse_requests(self) -> None:
        for request in _drained(self._checkpoint_requests):
            request.set_exception(RuntimeError('the learner has ended'))


def _drained(requests: queue.SimpleQueue[Future[Path]]) -> Iterator[Future[Path]]:
    with contextlib.suppress(queue.Empty):
        while True:
            yield requests.get_nowait()
