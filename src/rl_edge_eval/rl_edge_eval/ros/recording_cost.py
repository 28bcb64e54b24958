"""What recording costs the lockstep loop: paired runs of real processes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from rl_edge_core.errors import RlEdgeError
from rl_edge_core.ros import qos
from rl_edge_interfaces.msg import EpisodeSummary

_NAMESPACE = '/ant0'
_PATIENCE_SEC = 120.0
_END_PATIENCE_SEC = 20.0


class RunFailedError(RlEdgeError):
    """A process of a benchmark run ended before its time, or never began."""


def steps_per_second(
    model: Path, *, seconds: float, bag: Path | None, domain_id: int, storage: str = 'mcap'
) -> float:
    """Return the lockstep steps per second of sim and policy, with a recorder if ``bag`` is given.

    Counted from episode summaries, which cost nothing while an episode runs: steps of all whole
    episodes within ``seconds``, after a first one to warm up. Raise RunFailedError when the loop
    does not run.
    """
    environment = {**os.environ, 'ROS_DOMAIN_ID': str(domain_id)}
    with ExitStack() as stack:
        processes = []
        if bag is not None:
            parameters = (f'output:={bag}', f'storage:={storage}')
            processes.append(_start(stack, 'rl_edge_eval.recorder_node', parameters, environment))
            _wait_for_bag(bag, processes[0])
        counter = stack.enter_context(_counter(domain_id))
        processes.append(
            _start(stack, 'rl_edge_policy.policy_node', (f'model:={model}',), environment)
        )
        processes.append(_start(stack, 'rl_edge_sim.sim_node', (), environment))
        return counter.rate(seconds, processes)


class _EpisodeCounter:
    """Count steps as their episodes end."""

    def __init__(self, context: Context) -> None:
        self._node = Node('step_counter', namespace=_NAMESPACE, context=context)
        self._node.create_subscription(EpisodeSummary, 'episode', self._count, qos.episode())
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self._node)
        self._arrivals: list[tuple[float, int]] = []

    def rate(self, seconds: float, processes: Sequence[subprocess.Popen]) -> float:
        """Return steps per second over the episodes of ``seconds``, the first one left out."""
        deadline = time.monotonic() + _PATIENCE_SEC
        while not self._arrivals or time.monotonic() < self._arrivals[0][0] + seconds:
            self._executor.spin_once(timeout_sec=0.2)
            if not self._arrivals and time.monotonic() > deadline:
                raise RunFailedError(f'no episode ended within {_PATIENCE_SEC:.0f} s')
            for process in processes:
                if process.poll() is not None:
                    raise RunFailedError(f'{process.args!r} ended with {process.returncode}')
        if len(self._arrivals) < 2:
            raise RunFailedError(f'one episode in {seconds} s: give more --seconds')
        steps = sum(length for _, length in self._arrivals[1:])
        return steps / (self._arrivals[-1][0] - self._arrivals[0][0])

    def _count(self, message: EpisodeSummary) -> None:
        self._arrivals.append((time.monotonic(), message.length))


@contextmanager
def _counter(domain_id: int) -> Iterator[_EpisodeCounter]:
    context = Context()
    rclpy.init(context=context, domain_id=domain_id)
    try:
        yield _EpisodeCounter(context)
    finally:
        context.try_shutdown()


def _start(
    stack: ExitStack, module: str, parameters: Sequence[str], environment: dict[str, str]
) -> subprocess.Popen:
    arguments = [word for parameter in parameters for word in ('-p', parameter)]
    command = [sys.executable, '-m', module, '--ros-args', '-r', f'__ns:={_NAMESPACE}']
    process = subprocess.Popen(
        [*command, '--log-level', 'error', *arguments], env=environment, start_new_session=True
    )
    stack.callback(_stop, process)
    return process


def _stop(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(_END_PATIENCE_SEC)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_for_bag(bag: Path, recorder: subprocess.Popen) -> None:
    deadline = time.monotonic() + _PATIENCE_SEC
    while not any(bag.glob('*_0.*')):
        if recorder.poll() is not None or time.monotonic() > deadline:
            raise RunFailedError(f'the recorder did not begin: exit code {recorder.poll()}')
        time.sleep(0.05)
