"""Memory and start-up of the policy's process, beside a bare rclpy node plus interpreter."""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from rl_edge_bringup.models import ModelRequest, choose_model
from rl_edge_bringup.prepare import prepare
from rl_edge_bringup.running_system import RunningSystem, Startable
from rl_edge_bringup.systems import CONFIGURATIONS, NodeDescription, find_system
from rl_edge_core.artifact import Manifest, load_manifest
from rl_edge_core.resources import ResourceSample, sample_resources
from rl_edge_experiments.bench import baseline_node, section
from rl_edge_experiments.record_run import Program
from rl_edge_policy.ros.echo_client import EchoClient

FLOOR = 'floor'
COMPRESSED, FULL = CONFIGURATIONS
_ACTIONS = 2000
_START_TIMEOUT_SEC = 300.0


def baseline(namespace: str, model_file: str = 'none', runtime: str = 'none') -> Program:
    """Return a bare rclpy node; without a model file it answers with zeros."""
    node = NodeDescription('rl_edge_experiments', 'baseline_node', 'policy', namespace)
    words = (model_file, runtime, '--ros-args', '-r', f'__ns:=/{namespace}')
    return Program(node, (sys.executable, baseline_node.__file__, *words))


@dataclass(frozen=True)
class Start:
    """One start of a policy's process."""

    first_action_sec: float
    usage: ResourceSample


def measure_policy_process(folder: Path, *, rounds: int, output: Path) -> dict[str, Any]:
    """Return the section ``policy_process`` of bench.json."""
    manifest = load_manifest(folder)
    namespace = f'bench{os.getpid()}'
    entry = manifest.entry(manifest.compressed_recipe())
    floor = baseline(namespace, str(folder / entry.file), entry.runtimes[0])
    processes: dict[str, Sequence[Startable]] = {FLOOR: [floor]}
    for name in CONFIGURATIONS:
        given = {
            'configuration': name,
            'model': str(choose_model(ModelRequest(name, str(folder))).folder),
            'namespace': namespace,
            'output': str(output / name),
            'log_level': 'warn',
        }
        processes[name] = prepare(find_system('edge'), given).processes
    starts: dict[str, list[Start]] = {name: [] for name in processes}
    generator = np.random.default_rng(0)
    for _ in range(rounds):
        for name in generator.permutation(list(processes)):
            starts[name].append(_start(processes[name], manifest, namespace))
    return section(values_of(starts), rounds=rounds, actions=_ACTIONS)


def values_of(starts: Mapping[str, Sequence[Start]]) -> dict[str, np.ndarray]:
    """Return memory and time to the first action by process, and their ratios round by round."""
    peak, unique, first = (
        {name: np.array([value_of(start) for start in starts[name]]) for name in starts}
        for value_of in (
            lambda start: start.usage.peak_memory_mb,
            lambda start: start.usage.unique_memory_mb,
            lambda start: start.first_action_sec,
        )
    )
    return {
        'memory_over_floor': peak[COMPRESSED] / peak[FLOOR],
        'start_speedup': first[FULL] / first[COMPRESSED],
        'start_over_floor': first[COMPRESSED] / first[FLOOR],
        'full_memory_over_compressed': peak[FULL] / peak[COMPRESSED],
        **{f'{name}_peak_memory_mb': peak[name] for name in starts},
        **{f'{name}_unique_memory_mb': unique[name] for name in starts},
        **{f'{name}_first_action_s': first[name] for name in starts},
    }


def _start(processes: Sequence[Startable], manifest: Manifest, namespace: str) -> Start:
    """Start a process, ask it for actions, and look at what it has used by then."""
    observation = np.asarray(manifest.golden_observation, np.float32)
    with EchoClient(namespace, manifest.environment, observation) as simulator:
        system = RunningSystem(processes)
        started = time.monotonic()
        with system:
            answered = simulator.wait_for_first_action(_START_TIMEOUT_SEC)
            simulator.measure(_ACTIONS)
            usage = sample_resources(psutil.Process(system.pid('policy')))
    return Start(answered - started, usage)
