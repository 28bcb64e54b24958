"""Time one action: every runtime beside Keras, NumPy, ONNX Runtime and bare interpreters."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from rl_edge_core.artifact import load_manifest
from rl_edge_core.errors import RlEdgeError
from rl_edge_experiments.bench.contenders import (
    KERAS_CALL,
    KERAS_GRAPH,
    groups,
    interpreter_name,
    policy_name,
)
from rl_edge_experiments.bench.timing import section, spread
from rl_edge_policy.runtimes import choose_runtime

_MODULE = 'rl_edge_experiments.bench.contenders'
_TURNS = 20
"""In a round, of everything that is timed."""


def measure_inference(folder: Path, *, rounds: int) -> dict[str, Any]:
    """Return the section ``inference`` of bench.json."""
    times, left_out = _time_groups(folder, rounds * _TURNS)
    manifest = load_manifest(folder)
    recipe = manifest.compressed_recipe()
    runtime = choose_runtime(manifest.entry(recipe), 'auto').name
    policy = times[policy_name(recipe, runtime)]
    interpreter = times[interpreter_name(recipe, runtime)]
    # Ratios are taken turn by turn, before the median.
    return section(
        {
            'full_over_compressed': spread(times[KERAS_GRAPH] / policy),
            'compressed_over_interpreter': spread(policy / interpreter),
            'keras_call_over_compressed': spread(times[KERAS_CALL] / policy),
        },
        compressed=policy_name(recipe, runtime),
        us=section({name: spread(values) for name, values in times.items()}),
        left_out=left_out,
        turns=rounds * _TURNS,
    )


def _time_groups(folder: Path, turns: int) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return us a call by name, shape (turns,), and what was left out."""
    collected: dict[str, list[float]] = {}
    left_out: list[str] = []
    order = np.random.default_rng(0)
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(_worker(group, folder)) for group in groups()]
        for worker in workers:
            left_out += _answer(worker)
        for _ in range(turns):
            for index in order.permutation(len(workers)):
                for name, value in _ask(workers[index]).items():
                    collected.setdefault(name, []).append(value)
    return {name: np.array(values) for name, values in collected.items()}, left_out


@contextlib.contextmanager
def _worker(group: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    worker = subprocess.Popen(
        [sys.executable, '-m', _MODULE, group, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        # One thread for all: handing so little work to another thread costs more than it saves.
        env={**os.environ, 'OPENBLAS_NUM_THREADS': '1', 'OMP_NUM_THREADS': '1'},
        text=True,
    )
    try:
        yield worker
        _pipe(worker.stdin).close()
        worker.wait()
    finally:
        worker.kill()
        worker.wait()


def _ask(worker: subprocess.Popen[str]) -> dict[str, float]:
    stdin = _pipe(worker.stdin)
    stdin.write('go\n')
    stdin.flush()
    times: dict[str, float] = _answer(worker)
    return times


def _answer(worker: subprocess.Popen[str]) -> Any:
    line = _pipe(worker.stdout).readline()
    if not line:
        command = ' '.join(map(str, worker.args))  # type: ignore[arg-type]
        raise RlEdgeError(f'the benchmark of inference ended early: {command}')
    return json.loads(line)


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe
