"""Evaluate recordings: ``python -m rl_edge_eval {bag,replay,bench,bench-recording}``."""

import argparse
import sys
from collections.abc import Sequence

from rl_edge_core.command import fail
from rl_edge_core.errors import RlEdgeError
from rl_edge_eval.commands import (
    bag_command,
    bench_command,
    bench_recording_command,
    replay_command,
)


def main(arguments: Sequence[str] | None = None, prog: str = 'python -m rl_edge_eval') -> int:
    """Run one command; return the exit code (2 for what the user can put right)."""
    parser = argparse.ArgumentParser(prog=prog, description=__doc__)
    commands = parser.add_subparsers(required=True, metavar='COMMAND')
    for command in (bag_command, replay_command, bench_command, bench_recording_command):
        command.add_parser(commands)
    parsed = parser.parse_args(arguments)
    try:
        return parsed.run(parsed)
    except RlEdgeError as error:
        return fail(error, exit_code=2)


if __name__ == '__main__':
    sys.exit(main())
