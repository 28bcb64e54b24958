"""Run a system on this terminal until it ends or Ctrl-C."""

import signal
import sys
from collections.abc import Sequence
from types import FrameType

from rl_edge_bringup.arguments import parse_pairs
from rl_edge_bringup.description import SystemDescription
from rl_edge_bringup.prepare import PreparedSystem, prepare
from rl_edge_bringup.running_system import RunningSystem


def run_system(system: SystemDescription, words: Sequence[str]) -> int:
    """Run ``system`` with ``name:=value`` words; return 0, or the exit code of the node that died.

    Ends with 130 after Ctrl-C and 143 after SIGTERM, with no process left running.
    """
    prepared = prepare(system, parse_pairs(words))
    print(describe(prepared), flush=True)
    running = RunningSystem(
        prepared.processes, on_node_exit=prepared.on_node_exit, on_line=print_line
    )
    received: list[int] = []

    def stop(number: int, _: FrameType | None) -> None:
        received.append(number)
        running.stop()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    with running:
        outcome = running.wait()
    if received:
        return 128 + received[0]
    if outcome.exit_code:
        print(f'error: {outcome.reason}', file=sys.stderr, flush=True)
    return outcome.exit_code


def describe(prepared: PreparedSystem) -> str:
    """Return what is about to run."""
    lines = [f'{prepared.system.name}: {prepared.system.description}']
    if prepared.model is not None:
        lines.append(f'model: {prepared.model.model_id} ({prepared.model.runtime})')
        if prepared.model.note:
            lines.append(f'note: the model is {prepared.model.note}')
    lines.append(f'configuration: {prepared.folder}')
    return '\n'.join(lines)


def print_line(node: str, line: str) -> None:
    """Print a line with the node that wrote it."""
    print(f'[{node}] {line}', flush=True)
