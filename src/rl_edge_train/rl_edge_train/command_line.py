"""The commands of `python -m rl_edge_train`; TensorFlow is imported once a command needs it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rl_edge_core.errors import RlEdgeError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status."""
    parser = argparse.ArgumentParser(prog='rl_edge_train', description=__doc__)
    commands = parser.add_subparsers(required=True, dest='command')
    _add_train(commands)
    _add_evaluate(commands)
    _add_export(commands)
    _add_bench(commands)
    chosen = parser.parse_args(arguments)
    try:
        return int(chosen.run(chosen) or 0)
    except (RlEdgeError, ValueError, FileNotFoundError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1


def _add_train(commands: Any) -> None:
    parser = commands.add_parser('train', help='train a policy on this machine, without ROS')
    parser.add_argument('--preset', help='name of a preset, or a .yaml file')
    parser.add_argument('--seed', type=int, default=1, help='0 to 999 (default %(default)s)')
    parser.add_argument('--out', type=Path, help='folder of the new run')
    parser.add_argument(
        '--from',
        dest='start',
        type=Path,
        metavar='ARTIFACT',
        help="start the new run from a policy's weights: actor, and critics where they fit",
    )
    parser.add_argument('--resume', type=Path, metavar='RUN', help='go on with the run there')
    parser.add_argument(
        '--set',
        action='append',
        default=[],
        metavar='KEY=VALUE',
        help='change one setting of the preset, e.g. agent.discount=0.98',
    )
    parser.add_argument('--learner-cpu', type=int, help='pin learning to this core')
    parser.add_argument('--simulation-cpu', type=int, help='pin the simulation to this core')
    parser.set_defaults(run=_train)


def _add_evaluate(commands: Any) -> None:
    parser = commands.add_parser('evaluate', help='play episodes that training never saw')
    parser.add_argument('model', type=Path, help='artifact folder, or a model file inside one')
    parser.add_argument('--episodes', type=int, default=100)
    parser.add_argument('--recipe', help='which file of the artifact (default: keras)')
    parser.add_argument('--runtime', default='auto')
    parser.add_argument('--json', type=Path, help='write the figures here as well')
    parser.set_defaults(run=_evaluate)


def _add_export(commands: Any) -> None:
    parser = commands.add_parser('export', help='write the policy of a run as an artifact')
    parser.add_argument('run_folder', type=Path, metavar='RUN')
    parser.add_argument('--out', type=Path, required=True, help='folder of the artifact')
    parser.add_argument('--name', help='name in the manifest (default: the last two folders)')
    parser.add_argument(
        '--which', choices=('best', 'last'), default='best', help='default %(default)s'
    )
    parser.set_defaults(run=_export)


def _add_bench(commands: Any) -> None:
    parser = commands.add_parser('bench', help='compare with Stable-Baselines3 on this machine')
    parser.add_argument('--algorithms', nargs='+', default=['sac', 'ppo'])
    parser.add_argument('--seconds', type=float, default=60.0, help='of each run')
    parser.add_argument('--out', type=Path, default=Path('results/bench_train.json'))
    parser.set_defaults(run=_bench)


def _train(arguments: argparse.Namespace) -> None:
    from rl_edge_train.train_command import train

    train(arguments)


def _evaluate(arguments: argparse.Namespace) -> None:
    from rl_edge_train.evaluate_command import evaluate

    evaluate(arguments)


def _export(arguments: argparse.Namespace) -> None:
    from rl_edge_train.export_command import export

    export(arguments)


def _bench(arguments: argparse.Namespace) -> None:
    from rl_edge_train.bench.comparison import compare

    compare(arguments)
