"""Command line: train, evaluate, export and compare policies."""

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from rl_edge_compress.__main__ import add_export_format
from rl_edge_compress.__main__ import export as export_as
from rl_edge_core.argument_parser import ArgumentParser, output_file, output_folder
from rl_edge_core.cluster import add_cluster_argument
from rl_edge_core.command import fail, run_alone
from rl_edge_core.errors import ConfigurationError, RlEdgeError
from rl_edge_core.files import check_folder, user_path
from rl_edge_core.model_files import FULL_RECIPE, MANIFEST_NAME, named_model
from rl_edge_core.tensorflow_setup import load_tensorflow, set_up_tensorflow
from rl_edge_policy.load import find_model
from rl_edge_train.run_config import preset_descriptions


def main(arguments: Sequence[str] | None = None, prog: str = 'rl_edge_train') -> int:
    """Run one command; return the exit status."""
    parser = ArgumentParser(prog=prog, description=__doc__)
    commands = parser.add_subparsers(required=True, dest='command')
    _add_train(commands)
    _add_sweep(commands)
    _add_evaluate(commands)
    _add_export(commands)
    _add_bench(commands)
    _add_bench_cluster(commands)
    chosen = parser.parse_args(arguments)
    set_up_tensorflow()
    try:
        return int(chosen.run(chosen) or 0)
    except RlEdgeError as error:
        return fail(error, exit_code=1)
    except (ValueError, FileNotFoundError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1


def _add_train(commands: Any) -> None:
    parser = commands.add_parser(
        'train',
        help='train a policy on this machine, without ROS',
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description='Train a policy without ROS. Ctrl-C saves the run, --resume goes on with it.',
        epilog='presets:\n'
        + '\n'.join(f'  {name:20s} {text}' for name, text in preset_descriptions().items())
        + '\n\nexample:\n  train --preset sac_small --out runs/pendulum',
    )
    parser.add_argument('--list', action='store_true', help='name the presets and end')
    parser.add_argument('--preset', help='name of a preset, or a .yaml file')
    parser.add_argument('--seed', type=int, default=1, help='0 to 999 (default %(default)s)')
    parser.add_argument('--out', type=output_folder, help='folder of the new run')
    parser.add_argument(
        '--from',
        dest='start',
        type=named_model,
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
    add_cluster_argument(parser, 'collect')
    parser.add_argument('--workers', type=int, default=0, help='processes that collect there')
    parser.add_argument(
        '--environments-per-worker', type=int, default=0, metavar='K', help='of each of them'
    )
    parser.set_defaults(run=_run_late('train_command:train'))


def _add_sweep(commands: Any) -> None:
    parser = commands.add_parser(
        'sweep',
        help='train with several seeds and settings, side by side',
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description='Train every combination of seeds and settings, each in a run folder of its '
        'own.\nThe same command goes on with what is not finished.',
        epilog='example:\n  sweep --preset sac_small --seeds 1,2,3 --set '
        'agent.discount=0.97,0.98 --out runs/discounts',
    )
    parser.add_argument('--preset', required=True, help='name of a preset, or a .yaml file')
    parser.add_argument('--seeds', default='1', help='separated by commas (default %(default)s)')
    parser.add_argument('--out', type=output_folder, required=True, help='folder of the sweep')
    parser.add_argument(
        '--set',
        action='append',
        default=[],
        metavar='KEY=VALUE[,VALUE]...',
        help='values of one setting to try, e.g. agent.discount=0.99,0.995',
    )
    parser.add_argument(
        '--slots', type=int, default=0, help='trials at a time on this machine (default: cores/2)'
    )
    parser.add_argument(
        '--stop-below-median',
        action='store_true',
        help='end a trial whose best return is below the median of the others at the same step',
    )
    add_cluster_argument(parser, 'run the trials')
    parser.set_defaults(run=_run_late('sweep_command:sweep'))


def _add_evaluate(commands: Any) -> None:
    parser = commands.add_parser('evaluate', help='play episodes that training never saw')
    parser.add_argument(
        'model', type=named_model, help='artifact folder, model file in one, or e.g. ant_v5/best'
    )
    parser.add_argument('--episodes', type=int, default=100)
    parser.add_argument('--recipe', help='which file of the artifact (default: keras)')
    parser.add_argument('--runtime', default='auto')
    parser.add_argument('--json', type=output_file, help='write the metrics here as well')
    add_cluster_argument(parser, 'play the episodes')
    parser.set_defaults(run=_evaluate)


def _add_export(commands: Any) -> None:
    parser = commands.add_parser(
        'export',
        help='write the policy of a run as an artifact, or that of an artifact as ONNX or C',
    )
    parser.add_argument(
        'run_folder',
        type=named_model,
        metavar='RUN',
        help='with --format onnx or c: an artifact folder, or a name such as ant_v5/best',
    )
    parser.add_argument(
        '--out', type=user_path, required=True, help='folder of the artifact; FILE.onnx or FILE.c'
    )
    add_export_format(parser, choices=('artifact', 'onnx', 'c'), default='artifact')
    parser.add_argument('--name', help='name in the manifest (default: the last two folders)')
    parser.add_argument(
        '--which', choices=('best', 'last'), default='best', help='default %(default)s'
    )
    parser.set_defaults(run=_export)


def _add_bench(commands: Any) -> None:
    parser = commands.add_parser('bench', help='compare with Stable-Baselines3 on this machine')
    parser.add_argument('--algorithms', nargs='+', help='default: all that a part compares')
    parser.add_argument(
        '--parts',
        nargs='+',
        default=['speed', 'learning'],
        help='speed takes minutes, learning hours; stopped, it goes on where it was',
    )
    parser.add_argument('--seconds', type=float, default=60.0, help='of each run for speed')
    parser.add_argument('--seeds', type=int, default=3, help='runs for learning of each side')
    parser.add_argument('--out', type=output_file, default='results/bench_train.json')
    parser.set_defaults(run=_run_late('bench.comparison:compare'))


def _add_bench_cluster(commands: Any) -> None:
    parser = commands.add_parser(
        'bench-cluster', help='measure what a Ray cluster costs and gives'
    )
    parser.add_argument('--seconds', type=float, default=20.0, help='of each measurement')
    parser.add_argument('--out', type=output_file, default='results/bench_cluster.json')
    parser.set_defaults(run=_run_late('bench.cluster:bench_cluster', tensorflow=True))


def _run_late(name: str, *, tensorflow: bool = False) -> Callable[[argparse.Namespace], Any]:
    """Return what imports ``module:function`` of this package once it is called."""

    def run(arguments: argparse.Namespace) -> Any:
        if tensorflow:
            load_tensorflow(announced=True)
        module, _, function = name.partition(':')
        return getattr(import_module(f'rl_edge_train.{module}'), function)(arguments)

    return run


def _evaluate(arguments: argparse.Namespace) -> Any:
    default = FULL_RECIPE if arguments.model.is_dir() else None
    _, _, entry = find_model(arguments.model, arguments.recipe or default)
    is_keras = entry.recipe == FULL_RECIPE
    return _run_late('evaluate_command:evaluate', tensorflow=is_keras)(arguments)


def _export(arguments: argparse.Namespace) -> Any:
    if arguments.format == 'artifact':
        run: Path = arguments.run_folder
        if not (run / 'config.yaml').is_file():
            raise ConfigurationError(f'{run} is not a run: it has no config.yaml')
        check_folder(arguments.out, known_by=MANIFEST_NAME)
        return _run_late('export_command:export', tensorflow=True)(arguments)
    arguments.folder = arguments.run_folder
    export_as(arguments)
    return 0


if __name__ == '__main__':
    run_alone(main)
