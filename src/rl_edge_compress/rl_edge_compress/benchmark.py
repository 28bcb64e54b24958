"""Time single actions of every file in every runtime, interleaved, and weigh its process."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rl_edge_core.artifact import Manifest
from rl_edge_core.errors import RlEdgeError
from rl_edge_policy.runtimes import RUNTIMES

BASELINES = {'numpy': ('numpy',), 'onnxruntime': ('onnx', 'onnxruntime')}
"""Other ways to run the same float32 network, with the packages that they need."""
CALLS = 50
"""Calls of a file in a round; what one round meets, such as a busy moment, meets every file."""


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


def combinations(manifest: Manifest) -> list[Combination]:
    """Return every (runtime, recipe) that can be run here."""
    found: list[Combination] = []
    for entry in manifest.files:
        runtimes = [name for name in entry.runtimes if RUNTIMES[name].is_installed]
        if entry.numeric_format == 'float32' and entry.file.endswith('.tflite'):
            runtimes += [name for name, needed in BASELINES.items() if _installed(needed)]
        found += [(runtime, entry.recipe) for runtime in runtimes]
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

    ``on_step`` runs once a round, and once for each of ``wanted`` when its memory is measured.
    """
    durations: dict[Combination, list[int]] = {combination: [] for combination in wanted}
    request = {'observations': observations[:CALLS].tolist(), 'calls': CALLS}
    with ExitStack() as stack:
        workers = {
            runtime: stack.enter_context(_worker(folder, runtime))
            for runtime in dict.fromkeys(runtime for runtime, _ in wanted)
        }
        for _ in range(rounds):
            for runtime, recipe in wanted:
                answer = _ask(workers[runtime], {**request, 'recipe': recipe}, runtime)
                durations[runtime, recipe] += answer['ns']
            on_step()
    memory = {}
    for runtime, recipe in wanted:
        with _worker(folder, runtime) as worker:
            memory[runtime, recipe] = _ask(worker, {**request, 'recipe': recipe}, runtime)
        on_step()
    return {key: _timing(durations[key], memory[key]) for key in wanted}


def _timing(durations: Sequence[int], memory: Mapping[str, Any]) -> Timing:
    p50, p99 = np.percentile(durations, [50, 99]) / 1000
    return Timing(float(p50), float(p99), memory['resident_memory_mb'], memory['unique_memory_mb'])


@contextmanager
def _worker(folder: Path, runtime: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, '-m', 'rl_edge_compress.timing_worker', str(folder), runtime],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        with process:
            yield process
    finally:
        process.kill()


def _ask(worker: subprocess.Popen[str], request: Mapping[str, Any], runtime: str) -> Any:
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(json.dumps(request) + '\n')
    worker.stdin.flush()
    line = worker.stdout.readline()
    if not line:
        raise RlEdgeError(
            f'the timing process of {runtime} ended at recipe {request["recipe"]}: see its '
            f'message above'
        )
    return json.loads(line)
