"""``python -m rl_edge_eval bench-recording``: what recording costs the lockstep loop."""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from rl_edge_core.errors import ConfigurationError, RlEdgeError
from rl_edge_core.ros import qos
from rl_edge_core.statistics import ratio_interval
from rl_edge_eval.metrics_of_bag import metrics_of_bag
from rl_edge_eval.output.columns import STANDARD_OUTPUT, make_console, write_json
from rl_edge_interfaces.msg import EpisodeSummary

_NAMESPACE = '/ant0'
_PATIENCE_SEC = 120.0
_END_PATIENCE_SEC = 20.0


class RunFailedError(RlEdgeError):
    """A process of a benchmark run ended before its time, or never began."""


def run(arguments: argparse.Namespace) -> int:
    """Run the pairs, each in the other order than the one before, and print the ratio."""
    if arguments.pairs < 1:
        raise ConfigurationError(f'--pairs is {arguments.pairs}, must be 1 or more')
    # The processes of a run are stopped when it is interrupted, by either signal.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = make_console(data_on_stdout=arguments.json == STANDARD_OUTPUT)
    plain: list[float] = []
    recorded: list[float] = []
    for pair in range(arguments.pairs):
        for is_recorded in (False, True) if pair % 2 == 0 else (True, False):
            with tempfile.TemporaryDirectory(prefix='rl_edge_eval-') as folder:
                bag = Path(folder) / 'bag'
                rate = steps_per_second(
                    arguments.model,
                    seconds=arguments.seconds,
                    bag=bag if is_recorded else None,
                    domain_id=arguments.domain,
                    storage=arguments.storage,
                )
                what = _recorded_in(bag) if is_recorded else 'not recorded'
            (recorded if is_recorded else plain).append(rate)
            console.print(f'pair {pair + 1}: {rate:,.0f} steps/s, {what}', highlight=False)
    kept = ratio_interval(recorded, plain)
    console.print(f'recorded over not recorded: {kept} (95 % over {kept.count} pairs)')
    if arguments.json:
        metrics = {'steps_per_sec': plain, 'steps_per_sec_recorded': recorded, 'kept': kept}
        write_json(arguments.json, metrics)
    return 0


def _recorded_in(bag: Path) -> str:
    robot = metrics_of_bag(bag).robot
    return (
        f'{robot.transitions} transitions recorded, {robot.lost_transitions} lost, '
        f'{robot.steps_before_recording} before the recorder was connected'
    )


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
        context = Context()
        rclpy.init(context=context, domain_id=domain_id)
        stack.callback(context.try_shutdown)
        node = Node('step_counter', namespace=_NAMESPACE, context=context)
        arrivals: list[tuple[float, int]] = []

        def count(message: EpisodeSummary) -> None:
            arrivals.append((time.monotonic(), message.length))

        node.create_subscription(EpisodeSummary, 'episode', count, qos.episode())
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        processes.append(
            _start(stack, 'rl_edge_policy.policy_node', (f'model:={model}',), environment)
        )
        processes.append(_start(stack, 'rl_edge_sim.sim_node', (), environment))
        deadline = time.monotonic() + _PATIENCE_SEC
        while not arrivals or time.monotonic() < arrivals[0][0] + seconds:
            executor.spin_once(timeout_sec=0.2)
            if not arrivals and time.monotonic() > deadline:
                raise RunFailedError(f'no episode ended within {_PATIENCE_SEC:.0f} s')
            for process in processes:
                if process.poll() is not None:
                    raise RunFailedError(f'{process.args!r} ended with {process.returncode}')
    if len(arrivals) < 2:
        raise RunFailedError(f'one episode in {seconds} s: give more --seconds')
    return sum(length for _, length in arrivals[1:]) / (arrivals[-1][0] - arrivals[0][0])


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
