"""Time single actions of files in runtimes, in turns, and measure the memory of a process.

The one benchmark of inference: `measure` serves the compression report, `time_in_turns` the
experiment ``bench``.
"""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rl_edge_compress.timing_worker import (
    BARE_INTERPRETER,
    KERAS_CALL,
    KERAS_GRAPH,
    KERAS_PREDICT,
    NUMPY,
    ONNXRUNTIME,
    POLICY,
)
from rl_edge_core.artifact import FULL_RECIPE, Manifest
from rl_edge_core.errors import RlEdgeError
from rl_edge_policy.runtimes import RUNTIMES

BASELINES = {NUMPY: ('numpy',), ONNXRUNTIME: ('onnx', 'onnxruntime')}
"""Other ways to run the same float32 network, with the packages that they need."""
CALLS = 50
"""Calls of a file in a round; what one round meets, such as a busy moment, meets every file."""
TURN_SEC = 0.02
"""How long a candidate has its turn in `time_in_turns`. Short, since a shared machine changes its
pace within a second, and candidates are compared turn by turn."""
_BATCH = 10
"""Calls between two looks at the clock in a turn, so that looking costs nothing that counts."""
_SLOW_FORMS = (KERAS_CALL, KERAS_PREDICT)
_FLOAT_RECIPE = 'float32'
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Timing:
    """What one file in one runtime takes."""

    p50_us: float
    p99_us: float
    resident_memory_mb: float
    """Of a process that runs this file alone."""
    unique_memory_mb: float


Combination = tuple[str, str]
"""(runtime, recipe)."""


@dataclass(frozen=True)
class Candidate:
    """Something that computes an action: a file in a runtime, in one of the runtime's forms."""

    runtime: str
    recipe: str
    form: str = POLICY

    def __str__(self) -> str:
        if self.runtime in BASELINES:
            return self.runtime
        if self.form in (POLICY, BARE_INTERPRETER):
            return f'{self.recipe} on {self.runtime}, {self.form}'
        return f'{self.runtime} {self.form}'


def combinations(manifest: Manifest) -> list[Combination]:
    """Return every (runtime, recipe) that can be run here."""
    found: list[Combination] = []
    for entry in manifest.files:
        runtimes = [name for name in entry.runtimes if RUNTIMES[name].is_installed]
        if entry.numeric_format == _FLOAT_RECIPE and entry.file.endswith('.tflite'):
            runtimes += [name for name, needed in BASELINES.items() if _installed(needed)]
        found += [(runtime, entry.recipe) for runtime in runtimes]
    return found


def candidates(manifest: Manifest) -> list[Candidate]:
    """Return every form of every file that can be run here, and each baseline once."""
    found = []
    for runtime, recipe in combinations(manifest):
        if runtime in BASELINES:
            forms = [POLICY] if recipe == _FLOAT_RECIPE else []
        elif recipe == FULL_RECIPE:
            forms = [POLICY, KERAS_GRAPH, KERAS_CALL, KERAS_PREDICT]
        else:
            forms = [POLICY, BARE_INTERPRETER]
        found += [Candidate(runtime, recipe, form) for form in forms]
    return found


def _installed(packages: Sequence[str]) -> bool:
    return all(importlib.util.find_spec(package) for package in packages)


def measure(
    folder: Path,
    wanted: Sequence[Combination],
    observations: np.ndarray,
    *,
    rounds: int,
    on_step: Callable[[], None] = lambda: None,
) -> dict[Combination, Timing]:
    """Time ``wanted`` on ``observations``, (count, n), `CALLS` calls of each in each round.

    ``on_step`` runs once per round, and once for each of ``wanted`` when its memory is measured.
    """
    durations: dict[Combination, list[int]] = {combination: [] for combination in wanted}
    seen = observations[:CALLS]
    with _workers(folder, [runtime for runtime, _ in wanted]) as workers:
        for _ in range(rounds):
            for runtime, recipe in wanted:
                how = {'calls': CALLS}
                durations[runtime, recipe] += workers[runtime].ask('ns', recipe, seen, how=how)
            on_step()
    timings = {}
    for runtime, recipe in wanted:
        with _worker(folder, runtime) as worker:
            memory = worker.ask('memory', recipe, seen)
        p50, p99 = np.percentile(durations[runtime, recipe], [50, 99]) / 1000
        timings[runtime, recipe] = Timing(float(p50), float(p99), **memory)
        on_step()
    return timings


def time_in_turns(
    folder: Path, wanted: Sequence[Candidate], observations: np.ndarray, *, turns: int
) -> tuple[dict[Candidate, np.ndarray], list[str]]:
    """Return us per call of ``wanted``, shape (turns,), and what was left out with its reason.

    Each turn gives every candidate `TURN_SEC`, in an order of its own; the time is the median over
    batches. A baseline that computes other actions than the float32 file is left out.
    """
    times: dict[Candidate, list[float]] = {}
    left_out = []
    order = np.random.default_rng(0)
    with _workers(folder, [candidate.runtime for candidate in wanted]) as workers:
        for candidate in wanted:
            try:
                _check(candidate, wanted, observations, workers)
                times[candidate] = []
            except RlEdgeError as error:
                left_out.append(f'{candidate}: {error}')
        kept = list(times)
        for _ in range(turns):
            for index in order.permutation(len(kept)):
                candidate = kept[index]
                batch = 1 if candidate.form in _SLOW_FORMS else _BATCH
                durations = workers[candidate.runtime].ask(
                    'ns',
                    candidate.recipe,
                    observations,
                    form=candidate.form,
                    how={'batch': batch, 'turn_sec': TURN_SEC},
                )
                times[candidate].append(float(np.median(durations)) / batch / 1e3)
    return {candidate: np.array(values) for candidate, values in times.items()}, left_out


def _check(
    candidate: Candidate,
    wanted: Sequence[Candidate],
    observations: np.ndarray,
    workers: Mapping[str, '_Worker'],
) -> None:
    """Raise RlEdgeError for a baseline that can't run, or that computes other actions."""
    if candidate.runtime not in BASELINES:
        return
    reference = next(
        one
        for one in wanted
        if one.runtime not in BASELINES and (one.recipe, one.form) == (candidate.recipe, POLICY)
    )
    actions, expected = (
        np.asarray(workers[one.runtime].ask('actions', one.recipe, observations))
        for one in (candidate, reference)
    )
    worst = float(np.abs(actions - expected).max())
    if not worst < _TOLERANCE:
        raise RlEdgeError(f'it computes another action, {worst:.2g} off')


class _Worker:
    """A process of `rl_edge_compress.timing_worker`."""

    def __init__(self, process: subprocess.Popen[str], runtime: str) -> None:
        self._process, self._runtime = process, runtime

    def ask(
        self,
        what: str,
        recipe: str,
        observations: np.ndarray,
        *,
        form: str = POLICY,
        how: Mapping[str, Any] | None = None,
    ) -> Any:
        """Return its answer: a list for ``ns`` and ``actions``, a mapping for ``memory``.

        Raise RlEdgeError for what the runtime can't run, and when the process has ended.
        """
        request = {'what': what, 'recipe': recipe, 'form': form, 'how': how or {}}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request | {'observations': observations.tolist()}))
        self._process.stdin.write('\n')
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RlEdgeError(
                f'the timing process of {self._runtime} ended at recipe {recipe}: see its message '
                f'above'
            )
        answer = json.loads(line)
        if 'error' in answer:
            raise RlEdgeError(answer['error'])
        return answer if what == 'memory' else answer[what]


@contextmanager
def _workers(folder: Path, runtimes: Sequence[str]) -> Iterator[dict[str, _Worker]]:
    with ExitStack() as stack:
        yield {
            runtime: stack.enter_context(_worker(folder, runtime))
            for runtime in dict.fromkeys(runtimes)
        }


@contextmanager
def _worker(folder: Path, runtime: str) -> Iterator[_Worker]:
    process = subprocess.Popen(
        [sys.executable, '-m', 'rl_edge_compress.timing_worker', str(folder), runtime],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # One thread for all: handing so little work to another thread costs more than it saves.
        env={**os.environ, 'OPENBLAS_NUM_THREADS': '1', 'OMP_NUM_THREADS': '1'},
        text=True,
        start_new_session=True,  # Ctrl-C is for this process, with whose input it ends
    )
    try:
        with process:
            yield _Worker(process, runtime)
    finally:
        process.kill()
