"""What a cluster costs on one machine, and how much a learner can take from many machines.

`python -m rl_edge_train bench-cluster`. Both ways run in turns in the same process, with as many
workers as the local way has processes. The ceilings have workers that hand over a
recorded fragment again and again, without physics: so fast as they are, no number of machines
would be faster.
"""

import argparse
import contextlib
import dataclasses
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rl_edge_core import cluster
from rl_edge_core.results import describe_machine, write_json
from rl_edge_train.acting import ActingCopy
from rl_edge_train.algorithms.registry import make_agent
from rl_edge_train.assembly import assemble
from rl_edge_train.cluster.ray_collector import Cluster, RayCollector
from rl_edge_train.cluster.worker import CollectWorker, WorkerFragment, WorkerTask
from rl_edge_train.collector import Collector
from rl_edge_train.environments import spec_of
from rl_edge_train.replay_journal import ReplayStore
from rl_edge_train.run_config import RunConfig, load_preset
from rl_edge_train.runner import Runner

WORKERS = {'ppo': 2, 'sac': 1}
"""Processes that simulate, both ways: SAC learns on the other core."""
ENVIRONMENTS = 8
FRAGMENT_STEPS = 125
"""1,000 transitions of `ENVIRONMENTS`."""
REPLAY_CAPACITY = 200_000
TURNS = 4
IDLE_SEC = 1.0
"""Between turns, for workers to collect what they may be ahead by: nobody's turn shall pay."""


class RecordedWorker(CollectWorker):
    """Hand over the first fragment again and again, as a machine of any speed would."""

    _recorded: WorkerFragment | None = None

    def collect(self, policy: ActingCopy | None, version: int) -> WorkerFragment:
        """Return the first fragment, as if collected with these weights."""
        if self._recorded is None:
            self._recorded = super().collect(policy, version)
        return dataclasses.replace(self._recorded, version=version, busy_sec=0.0, idle_sec=0.0)


def bench_cluster(arguments: argparse.Namespace) -> None:
    """Measure, print and write `results/bench_cluster.json`."""
    seconds = arguments.seconds
    report: dict[str, Any] = {
        'machine': describe_machine(),
        'command': ' '.join(['python -m rl_edge_train', *sys.argv[1:]]),
        'seconds': seconds,
    }
    with cluster.connected(cluster.LOCAL, cpus=max(WORKERS.values())) as ray:
        report['ppo'] = _compared(ray, 'ppo', seconds, _collect)
        report['ppo']['collect_over_local'] = report['ppo'].pop('cluster_over_local')
        with _runner('ppo', ray) as runner:
            report['ppo']['train_steps_per_s'] = _train(runner, seconds)
        report['sac'] = _compared(ray, 'sac', seconds, _train)
        report['sac']['train_over_local'] = report['sac'].pop('cluster_over_local')
        report |= _handing_over(ray, seconds)
        report['ceiling'] = {
            'ppo_steps_per_s': _ceiling_of_rollouts(ray, seconds),
            'sac_transitions_per_s': _ceiling_of_replay(ray, seconds),
        }
    write_json(arguments.out, report)
    print(
        f'PPO collects {report["ppo"]["collect_over_local"]:.2f} times the local steps/s, SAC '
        f'trains {report["sac"]["train_over_local"]:.2f} times\n'
        f'{report["fragment_ms"]:.2f} ms per fragment of 1,000 transitions, '
        f'{report["bytes_per_step"]:.0f} bytes per step\n'
        f'a learner takes {report["ceiling"]["ppo_steps_per_s"]:,.0f} steps/s of rollouts, '
        f'{report["ceiling"]["sac_transitions_per_s"]:,.0f} transitions/s into replay\n'
        f'{arguments.out}'
    )


def _config(algorithm: str) -> RunConfig:
    config = load_preset(algorithm)
    loop = {**config.loop, 'environments': 16}
    if algorithm == 'sac':
        loop |= {'warmup_steps': 2000, 'replay_capacity': REPLAY_CAPACITY}
    return dataclasses.replace(
        config,
        simulation_processes=WORKERS[algorithm],
        selection=dataclasses.replace(config.selection, episodes=1),
        loop=loop,
    )


def _compared(
    ray: Any, algorithm: str, seconds: float, measure: Callable[[Runner, float], float]
) -> dict[str, float]:
    """Measure both ways in turns, so that a machine that gets slower does so for both."""
    local, on_cluster = [], []
    with _runner(algorithm) as here, _runner(algorithm, ray) as there:
        for _ in range(TURNS):
            local.append(measure(here, seconds / TURNS))
            on_cluster.append(measure(there, seconds / TURNS))
            time.sleep(IDLE_SEC)
    rates = float(np.mean(local)), float(np.mean(on_cluster))
    return {
        'local_steps_per_s': rates[0],
        'cluster_steps_per_s': rates[1],
        'cluster_over_local': rates[1] / rates[0],
    }


@contextlib.contextmanager
def _runner(algorithm: str, ray: Any | None = None) -> Iterator[Runner]:
    place = Cluster(ray, WORKERS[algorithm]) if ray else None
    with (
        tempfile.TemporaryDirectory() as folder,
        assemble(_config(algorithm), Path(folder), seed=0, cluster=place) as runner,
    ):
        yield runner


def _collect(runner: Runner, seconds: float) -> float:
    """Return the steps/s of collecting rollouts alone."""
    return _received(runner.loop.collector, seconds, lambda rows: None)


def _train(runner: Runner, seconds: float) -> float:
    """Return the steps/s of training, once everything is compiled."""
    while not runner.loop.iterate().metrics:
        pass
    first, started = runner.loop.steps, time.perf_counter()
    while time.perf_counter() - started < seconds:
        runner.loop.iterate()
    return (runner.loop.steps - first) / (time.perf_counter() - started)


def _collector(ray: Any, algorithm: str, *, workers: int, rollouts: bool) -> RayCollector:
    config = _config(algorithm)
    agent = make_agent(algorithm, spec_of(config.environment), config.agent, seed=0)
    task = WorkerTask.of(
        agent, config.environment, environments=ENVIRONMENTS, steps=FRAGMENT_STEPS, seed=0
    )
    return RayCollector(
        ray,
        agent,
        task,
        workers=workers,
        rollouts=rollouts,
        say=print,
        worker_class=RecordedWorker,
    )


def _handing_over(ray: Any, seconds: float) -> dict[str, float]:
    """Return the time and size of one fragment from the end of collecting to the learner."""
    taken, size = [], 0
    with contextlib.closing(_collector(ray, 'sac', workers=1, rollouts=True)) as collector:
        collector.start()
        collector.finish()  # the recording
        deadline = time.perf_counter() + seconds
        while time.perf_counter() < deadline:
            started = time.perf_counter()
            collector.start()
            size = collector.finish().rows.nbytes
            taken.append(time.perf_counter() - started)
    return {
        'fragment_ms': 1000 * float(np.median(taken)),
        'bytes_per_step': size / (FRAGMENT_STEPS * ENVIRONMENTS),
    }


def _ceiling_of_rollouts(ray: Any, seconds: float) -> float:
    """Return the steps/s of rollouts that a learner receives, weights sent for each."""
    one = _collector(ray, 'ppo', workers=WORKERS['ppo'], rollouts=True)
    with contextlib.closing(one) as collector:
        return _received(collector, seconds, lambda rows: collector.agent.updates.assign_add(1))


def _ceiling_of_replay(ray: Any, seconds: float) -> float:
    """Return the transitions/s that arrive in the replay, in memory and on disk."""
    one = _collector(ray, 'sac', workers=WORKERS['sac'], rollouts=False)
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(one) as collector:
        layout, capacity = collector.agent.layout, REPLAY_CAPACITY
        store = ReplayStore(layout, capacity=capacity, seed=0, folder=Path(folder))
        with contextlib.closing(store) as replay:
            return _received(collector, seconds, replay.add_rows)


def _received(collector: Collector, seconds: float, take: Callable[[np.ndarray], Any]) -> float:
    steps = 0
    collector.start()
    collector.finish()  # every worker is there
    started = time.perf_counter()
    while time.perf_counter() - started < seconds:
        collector.start()
        rows = collector.finish().flat_rows
        take(rows)
        steps += len(rows)
    return steps / (time.perf_counter() - started)
