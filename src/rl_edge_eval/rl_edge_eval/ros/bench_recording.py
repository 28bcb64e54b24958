"""``python -m rl_edge_eval bench-recording``: what recording costs the lockstep loop."""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from math import inf
from pathlib import Path

from rl_edge_core.errors import ConfigurationError, RlEdgeError
from rl_edge_core.ros import qos
from rl_edge_core.ros.start import own_node
from rl_edge_core.statistics import kept_interval
from rl_edge_eval.metrics_of_bag import metrics_of_bag
from rl_edge_eval.output.columns import STANDARD_OUTPUT, make_console, write_json
from rl_edge_interfaces.msg import EpisodeSummary

_NAMESPACE = '/ant0'
_PATIENCE_SEC = 120.0
_END_PATIENCE_SEC = 20.0


def run(arguments: argparse.Namespace) -> None:
    """Run the pairs, each in the other order than the one before, and print the ratio."""
    if arguments.pairs < 1:
        raise ConfigurationError(f'--pairs is {arguments.pairs}, must be 1 or more')
    console = make_console(data_on_stdout=arguments.json == STANDARD_OUTPUT)
    plain: list[float] = []
    recorded: list[float] = []
    for pair in range(arguments.pairs):
        for is_recorded in (False, True) if pair % 2 == 0 else (True, False):
            with tempfile.TemporaryDirectory(prefix='rl_edge_eval-') as folder:
                bag = Path(folder) / 'bag' if is_recorded else None
                rate = steps_per_second(arguments, bag)
                what = 'not recorded'
                if bag is not None:
                    robot = metrics_of_bag(bag).robot
                    what = (
                        f'{robot.transitions} transitions recorded, {robot.lost_transitions} '
                        f'lost, {robot.steps_before_recording} before the recorder was connected'
                    )
            (recorded if is_recorded else plain).append(rate)
            console.print(f'pair {pair + 1}: {rate:,.0f} steps/s, {what}', highlight=False)
    kept = kept_interval(recorded, plain)
    console.print(f'recorded over not recorded: {kept} (95 % over {kept.count} pairs)')
    if arguments.json:
        metrics = {'steps_per_sec': plain, 'steps_per_sec_recorded': recorded, 'kept': kept}
        write_json(arguments.json, metrics)


def steps_per_second(arguments: argparse.Namespace, bag: Path | None) -> float:
    """Return the lockstep steps per second of sim and policy, with a recorder if ``bag`` is given.

    Counted from episode summaries, which cost nothing while an episode runs: steps of all whole
    episodes within the time that is measured, after a first one to warm up. Raise RlEdgeError
    when the loop does not run.
    """
    processes: list[subprocess.Popen] = []
    arrivals: list[tuple[float, int]] = []

    def wait_until(condition: Callable[[], bool], what: str, timeout_sec: float = inf) -> None:
        deadline = time.monotonic() + timeout_sec
        while not condition():
            executor.spin_once(timeout_sec=0.1)
            if time.monotonic() > deadline:
                raise RlEdgeError(f'{what} within {timeout_sec:.0f} s')
            for process in processes:
                if process.poll() is not None:
                    raise RlEdgeError(f'{process.args!r} ended with {process.returncode}')

    with ExitStack() as stack:
        node, executor = stack.enter_context(
            own_node('step_counter', namespace=_NAMESPACE, domain_id=arguments.domain)
        )

        def count(message: EpisodeSummary) -> None:
            arrivals.append((time.monotonic(), message.length))

        node.create_subscription(EpisodeSummary, 'episode', count, qos.episode())
        if bag is not None:
            parameters = (f'output:={bag}', f'storage:={arguments.storage}')
            processes.append(_start(stack, arguments, 'rl_edge_eval.recorder_node', *parameters))
            wait_until(lambda: any(bag.glob('*_0.*')), 'no bag', _PATIENCE_SEC)
        policy = ('rl_edge_policy.policy_node', f'model:={arguments.model}')
        processes.append(_start(stack, arguments, *policy))
        processes.append(_start(stack, arguments, 'rl_edge_sim.sim_node'))
        wait_until(lambda: len(arrivals) > 0, 'no episode ended', _PATIENCE_SEC)
        end_sec = arrivals[0][0] + arguments.seconds
        wait_until(lambda: time.monotonic() > end_sec, 'no end')
    if len(arrivals) < 2:
        raise RlEdgeError(f'one episode in {arguments.seconds} s: give more --seconds')
    return sum(length for _, length in arrivals[1:]) / (arrivals[-1][0] - arrivals[0][0])


def _start(
    stack: ExitStack, arguments: argparse.Namespace, module: str, *parameters: str
) -> subprocess.Popen:
    """Start a node; it is stopped with ``stack``."""
    command = [sys.executable, '-m', module, '--ros-args', '-r', f'__ns:={_NAMESPACE}']
    command += ['--log-level', 'error']
    command += [word for parameter in parameters for word in ('-p', parameter)]
    process = subprocess.Popen(
        command, env={**os.environ, 'ROS_DOMAIN_ID': str(arguments.domain)}, start_new_session=True
    )

    def stop() -> None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_END_PATIENCE_SEC)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    stack.callback(stop)
    return process
