"""Measure a policy on this machine and print a row for the table of docs/results.md.

usage: measure_board.py INSTALLATION MODEL [RECIPE]

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

os.environ['ROS_AUTOMATIC_DISCOVERY_RANGE'] = 'LOCALHOST'

import numpy as np
import psutil
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.task import Future

from rl_edge_core.ros import qos
from rl_edge_core.ros.conversions import to_environment, to_float32_field
from rl_edge_interfaces.msg import Action, Environment, Observation, PolicyStatus
from rl_edge_policy.load import load_policy
from rl_edge_policy.policy import Policy

NAMESPACE = 'rl_edge_measure'
RUN_ID = 1
WARM_UP = 200
INFERENCES = 5000
STEPS = 2000
START_TIMEOUT_SEC = 120.0
COLUMNS = (
    'machine', 'system', 'model', 'runtime', 'inference p50 / p99 us', 'response p50 / p99 us',
    'start to first action s', 'memory MB', 'Python packages MB',
)  # fmt: skip


class Asker(Node):
    """Stand where the simulator stands: ask, take the answer, ask again."""

    def __init__(self, policy: Policy) -> None:
        """Publish what the policy was made for."""
        super().__init__('asker', namespace=NAMESPACE)
        self.done: Future = Future()
        self.responses_us: list[float] = []
        self.status: PolicyStatus | None = None
        self._generator = np.random.default_rng(0)
        self._size = policy.spec.observation_size
        self._step = 0
        self._asked_ns = 0
        self._environment = self.create_publisher(Environment, 'environment', qos.environment())
        self._observation = self.create_publisher(Observation, 'observation', qos.observation())
        self.create_subscription(Action, 'action', self._on_action, qos.action())
        self.create_subscription(
            PolicyStatus, 'policy_status', self._on_status, qos.policy_status()
        )
        self._environment.publish(
            to_environment(policy.spec, run_id=RUN_ID, reward_term_names=[], mode='lockstep')
        )
        self.create_timer(0.1, self._ask_again)

    def _ask_again(self) -> None:
        if not self.responses_us:
            self._ask()

    def _ask(self) -> None:
        message = Observation(run_id=RUN_ID, episode=0, step=self._step)
        values = self._generator.normal(0.0, 0.1, self._size)
        message.values = to_float32_field(values)
        self._asked_ns = time.monotonic_ns()
        self._observation.publish(message)

    def _on_action(self, message: Action) -> None:
        if message.step != self._step:
            return
        self.responses_us.append((time.monotonic_ns() - self._asked_ns) / 1000)
        self._step += 1
        if self._step < STEPS:
            self._ask()

    def _on_status(self, status: PolicyStatus) -> None:
        self.status = status
        if status.state == PolicyStatus.FAILED and not self.done.done():
            self.done.set_exception(RuntimeError(f'the policy node failed: {status.reason}'))
        if self._step >= STEPS and status.actions >= STEPS and not self.done.done():
            self.done.set_result(True)


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


def ask_node(installation: Path, model: str, recipe: str, policy: Policy) -> tuple[Asker, float]:
    """Run the policy node through `STEPS` observations; return the asker and its memory in MB."""
    command = [str(installation / 'bin' / 'rl_edge'), 'policy', model]
    if recipe:
        command += ['-p', f'recipe:={recipe}']
    rclpy.init()
    asker = Asker(policy)
    executor = SingleThreadedExecutor()
    executor.add_node(asker)
    environment = {**os.environ, 'RL_EDGE_NAMESPACE': NAMESPACE}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        executor.spin_until_future_complete(asker.done, timeout_sec=START_TIMEOUT_SEC)
        if not asker.done.done():
            raise RuntimeError(f'the policy node did not answer within {START_TIMEOUT_SEC:g} s')
        asker.done.result()
        memory_mb = psutil.Process(process.pid).memory_info().rss / 1e6
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)
        executor.shutdown()
        rclpy.try_shutdown()
    return asker, memory_mb


def machine() -> str:
    """Return the name of the board, else of the processor."""
    try:
        return Path('/proc/device-tree/model').read_text().strip('\0\n ')
    except OSError:
        pass
    for line in Path('/proc/cpuinfo').read_text().splitlines():
        if line.startswith('model name'):
            return f'{line.split(":", 1)[1].strip()} x {os.cpu_count()}'
    return platform.machine()


def p50_p99(times_us: Sequence[float]) -> str:
    """Return median and 99 % quantile for a table."""
    return f'{statistics.median(times_us):.1f} / {np.quantile(times_us, 0.99):.1f}'


def row(values: Sequence[str]) -> str:
    """Return a row of a Markdown table."""
    return f'| {" | ".join(values)} |'


def main() -> int:
    """Print the head of the table and our row, and the load, which the figures depend on."""
    if not 3 <= len(sys.argv) <= 4:
        print('usage: rl_edge measure MODEL [RECIPE]', file=sys.stderr)
        return 2
    installation, model = Path(sys.argv[1]), sys.argv[2]
    recipe = sys.argv[3] if len(sys.argv) > 3 else ''
    load = os.getloadavg()[0]
    policy = load_policy(model, recipe=recipe or None)
    times_us = inference_us(policy)
    asker, memory_mb = ask_node(installation, model, recipe, policy)
    assert asker.status is not None
    facts = json.loads((installation / 'installation.json').read_text())
    print(row(COLUMNS))
    print(row(['---'] * len(COLUMNS)))
    values = [machine(), f'Python {facts["python"]}, ROS 2 {facts["ros_2"]}', policy.model_id]
    values += [policy.runtime, p50_p99(times_us), p50_p99(asker.responses_us[WARM_UP:])]
    values += [f'{asker.status.first_action_sec:.2f}', f'{memory_mb:.1f}']
    print(row([*values, f'{facts["python_packages_mb"]:.1f}']))
    print(f'load average before: {load:.1f} on {os.cpu_count()} cores', file=sys.stderr)
    return 0


if __name__ == '__main__':
    sys.exit(main())
