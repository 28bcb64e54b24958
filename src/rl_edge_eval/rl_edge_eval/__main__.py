"""Evaluate recordings: ``python -m rl_edge_eval {bag,replay,view,bench,bench-recording}``."""

import argparse
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from rl_edge_core.argument_parser import ArgumentParser, output_file, output_folder
from rl_edge_core.command import fail, run_alone
from rl_edge_core.errors import RlEdgeError
from rl_edge_core.model_files import named_model


def main(arguments: Sequence[str] | None = None, prog: str = 'python -m rl_edge_eval') -> int:
    """Run one command; return the exit code (2 for what the user can put right)."""
    parsed = _parser(prog).parse_args(arguments)
    try:
        import_module(f'rl_edge_eval.{parsed.module}').run(parsed)
    except RlEdgeError as error:
        return fail(error, exit_code=2)
    return 0


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = ArgumentParser(prog=prog, description=__doc__)
    commands = parser.add_subparsers(required=True, metavar='COMMAND')
    json_file = ArgumentParser(add_help=False)
    json_file.add_argument(
        '--json',
        type=_file_or_standard_output,
        metavar='FILE',
        help='write all metrics; - for standard output',
    )

    def command(name: str, module: str, help_text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help_text, parents=[json_file])
        added.set_defaults(module=module)
        return added

    bag = command('bag', 'output.bags', 'metrics of one or more bags, side by side')
    bag.add_argument('bags', nargs='+', type=Path, metavar='BAG', help='bag folder or file')
    bag.add_argument(
        '--csv',
        type=_file_or_standard_output,
        metavar='FILE',
        help='write a row per episode; - for standard output',
    )
    bag.add_argument('--plots', type=output_folder, metavar='DIR', help='write plots')

    replay = command('replay', 'replay', 'would other models have done the same?')
    replay.add_argument('bag', type=Path, metavar='BAG', help='bag folder or file')
    replay.add_argument(
        '--model',
        action='append',
        required=True,
        dest='models',
        metavar='PATH',
        help='artifact folder or a model file inside one; give it once for each model',
    )
    replay.add_argument('--runtime', default='auto', help='what loads the models (auto)')
    replay.add_argument('--robot', metavar='NAMESPACE', help='needed when the bag has several')
    replay.add_argument(
        '--threshold',
        type=float,
        default=0.1,
        help='difference of an action from which two models part (0.1, in units of the action)',
    )

    view = commands.add_parser('view', help='a bag in the Rerun viewer, without ROS')
    view.set_defaults(module='view')
    view.add_argument('bag', type=Path, metavar='BAG', help='bag folder or file')
    view.add_argument(
        '--save',
        type=output_file,
        metavar='FILE',
        help='open no viewer, write FILE.rrd for Rerun, or FILE.mcap: the bag with its robot, for '
        'Lichtblick and Foxglove',
    )
    view.add_argument('--robot', metavar='NAMESPACE', help='needed when the bag has several')

    bench = command(
        'bench', 'bench', 'messages per second and memory, against bare mcap and mcap-ros2-support'
    )
    bench.add_argument('--steps', type=int, default=72_000, help='of the bag made (72000: 1 h)')
    bench.add_argument('--repeats', type=int, default=3, help='passes of each kind, in turns (3)')

    recording = command(
        'bench-recording',
        'ros.bench_recording',
        'lockstep steps per second with and without the recorder',
    )
    recording.add_argument(
        '--model', type=named_model, required=True, help='artifact that acts in Ant-v5'
    )
    recording.add_argument('--pairs', type=int, default=5, help='runs of each kind, in turns (5)')
    recording.add_argument(
        '--seconds', type=float, default=10.0, help='measured time of a run (10)'
    )
    recording.add_argument('--storage', choices=('mcap', 'sqlite3'), default='mcap')
    recording.add_argument('--domain', type=int, default=93, help='ROS domain to run in (93)')
    return parser


def _file_or_standard_output(text: str) -> str:
    return text if text == '-' else str(output_file(text))


if __name__ == '__main__':
    run_alone(main)
