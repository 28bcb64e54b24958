"""Measure a policy on this machine and print a row for the table of docs/deployment.md.

The policy node is started as a device starts it and asked, one observation after the other, as a
simulator in lockstep would ask; all of it stays on this machine.
"""

import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil

from rl_edge_core.errors import RlEdgeError
from rl_edge_core.results import processor_name
from rl_edge_interfaces.msg import PolicyStatus
from rl_edge_policy.load import load_policy
from rl_edge_policy.policy import Policy
from rl_edge_policy.ros.echo_client import EchoClient
from rl_edge_policy.ros.health_command import latest_status

_USAGE = """usage: {prog} measure MODEL [RECIPE]

Measure a policy on this machine: inference alone, then the policy node as a device runs it, asked
one observation after the other. Takes half a minute, and prints the head and a row of the table
in docs/deployment.md, with memory, start-up time and the load that the machine had before.

MODEL   artifact folder, model file in one, or a name under models/, such as ant_v5/best
RECIPE  which of its files, such as int8; by default the one that compressed uses"""
NAMESPACE = 'rl_edge_measure'
WARM_UP = 200
INFERENCES = 5000
STEPS = 2000
START_TIMEOUT_SEC, STATUS_TIMEOUT_SEC = 120.0, 10.0
COLUMNS = (
    'machine', 'system', 'model', 'runtime', 'policy p50 / p99 us', 'response p50 / p99 us',
    'start to first action s', 'memory MB', 'Python packages MB',
)  # fmt: skip


def inference_us(policy: Policy) -> list[float]:
    """Return the time of single inferences in us."""
    generator = np.random.default_rng(0)
    inputs = generator.normal(0.0, 0.1, (INFERENCES + WARM_UP, policy.spec.observation_size))
    times = []
    for values in inputs.astype(np.float32):
        began = time.perf_counter_ns()
        policy.act(values)
        times.append((time.perf_counter_ns() - began) / 1000)
    return times[WARM_UP:]


def ask_node(model: str, recipe: str, policy: Policy) -> tuple[np.ndarray, PolicyStatus, float]:
    """Run the policy node through `STEPS` observations.

    Return the times from observation to action in us, its status, and its memory in MB.
    """
    command = [sys.executable, '-m', 'rl_edge_core.command', 'policy', model]
    if recipe:
        command += ['-p', f'recipe:={recipe}']
    observation = np.random.default_rng(0).normal(0.0, 0.1, policy.spec.observation_size)
    environment = {**os.environ, 'RL_EDGE_NAMESPACE': NAMESPACE}
    with EchoClient(NAMESPACE, policy.spec, observation) as simulator:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        try:
            simulator.wait_for_first_action(
                START_TIMEOUT_SEC, is_running=lambda: process.poll() is None
            )
            responses_us = simulator.measure(STEPS)
            status = latest_status(NAMESPACE, STATUS_TIMEOUT_SEC)
            memory_mb = psutil.Process(process.pid).memory_info().rss / 1e6
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(20)
    if status is None:
        raise RlEdgeError(f'the policy node published no status in {STATUS_TIMEOUT_SEC:g} s')
    return responses_us, status, memory_mb


def machine() -> str:
    """Return the name of the board, else of the processor."""
    try:
        return Path('/proc/device-tree/model').read_text().strip('\0\n ')
    except OSError:
        return f'{processor_name()} x {os.cpu_count()}'


def p50_p99(times_us: Sequence[float] | np.ndarray) -> str:
    """Return median and 99 % quantile for a table."""
    return f'{statistics.median(times_us):.1f} / {np.quantile(times_us, 0.99):.1f}'


def row(values: Sequence[str]) -> str:
    """Return a row of a Markdown table."""
    return f'| {" | ".join(values)} |'


def main(words: Sequence[str], prog: str) -> int:
    """Print the head of the table and our row, and the load, which the measurement depends on."""
    if not 1 <= len(words) <= 2 or words[0] in ('-h', '--help'):
        print(_USAGE.format(prog=prog))
        return 0 if words and words[0] in ('-h', '--help') else 2
    os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'
    model, recipe = words[0], words[1] if len(words) > 1 else ''
    load = os.getloadavg()[0]
    policy = load_policy(model, recipe=recipe or None)
    times_us = inference_us(policy)
    responses_us, status, memory_mb = ask_node(model, recipe, policy)
    system, packages_mb = installation_facts()
    print(row(COLUMNS))
    print(row(['---'] * len(COLUMNS)))
    values = [machine(), system, policy.model_id, policy.runtime]
    values += [p50_p99(times_us), p50_p99(responses_us[WARM_UP:])]
    values += [f'{status.first_action_sec:.2f}', f'{memory_mb:.1f}']
    print(row([*values, packages_mb]))
    print(f'load average before: {load:.1f} on {os.cpu_count()} cores', file=sys.stderr)
    return 0


def installation_facts() -> tuple[str, str]:
    """Return the system, and the MB of Python packages where an edge installation says so."""
    folder = os.environ.get('RL_EDGE_INSTALLED')
    if not folder:
        distribution = os.environ.get('ROS_DISTRO', 'unknown')
        return f'Python {platform.python_version()}, ROS 2 {distribution}', '-'
    facts = json.loads((Path(folder) / 'installation.json').read_text())
    system = f'Python {facts["python"]}, ROS 2 {facts["ros_2"]}'
    return system, f'{facts["python_packages_mb"]:.1f}'
