"""Command line: compress a policy, report on it, and take policies in from and out to others."""

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from rl_edge_compress.recipes import chosen_recipes
from rl_edge_core.argument_parser import ArgumentParser, output_folder
from rl_edge_core.cluster import add_cluster_argument
from rl_edge_core.command import fail, run_alone
from rl_edge_core.errors import ArtifactError, ConfigurationError, RlEdgeError
from rl_edge_core.files import check_file, check_folder, user_path
from rl_edge_core.model_files import FULL_RECIPE, MANIFEST_NAME, load_model_files, named_model
from rl_edge_core.tensorflow_setup import load_tensorflow, set_up_tensorflow

COMMANDS = ('report', 'publish', 'arm64', 'import', 'export')


def main(arguments: Sequence[str] | None = None, prog: str = 'rl_edge_compress') -> int:
    """Run one command; return the exit status: 0, 1 for an error or a recipe that failed."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ['ship']:  # the command's earlier name
        given[0] = 'publish'
    if not given or given[0] not in (*COMMANDS, 'compress'):  # `rl_edge compress` says it itself
        given.insert(0, 'compress')
    options = _parser(prog).parse_args(given)
    try:
        return int(options.run(options) or 0)
    except RlEdgeError as error:
        return fail(error, exit_code=1)
    except KeyboardInterrupt:
        raise KeyboardInterrupt('the same command goes on from here') from None


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = ArgumentParser(prog=prog, description=__doc__)
    commands = parser.add_subparsers(
        required=True, metavar='{MODEL,report,publish,arm64,import,export}'
    )
    _add_compress(commands.add_parser('compress', help='compress the policy in a folder'))
    _add_report(commands.add_parser('report', help='measure what compression cost and saved'))
    _add_publish(commands.add_parser('publish', help='copy chosen recipes into a policy folder'))
    _add_arm64(commands.add_parser('arm64', help='run shipped files on an emulated arm64 machine'))
    add_import(
        commands.add_parser('import', help='make a policy of ONNX, SB3, rsl_rl or Keras our own')
    )
    _add_export(commands.add_parser('export', help='write the actor as ONNX or as C'))
    return parser


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('folder', type=named_model, help='artifact folder, or e.g. ant_v5/best')
    add_export_format(parser, choices=('onnx', 'c'), default=None)
    parser.add_argument(
        '--out', type=user_path, required=True, metavar='FILE', help='file to write'
    )
    parser.set_defaults(run=export)


def add_export_format(
    parser: argparse.ArgumentParser, *, choices: Sequence[str], default: str | None
) -> None:
    """Give a parser the arguments that say in which form a policy is written."""
    parser.add_argument(
        '--format',
        choices=choices,
        default=default,
        required=default is None,
        help='onnx: normalisation, names and units inside; c: a C99 file and its header',
    )
    parser.add_argument(
        '--recipe', default='', help='recipe that --format c writes: float32, or one in 8 bits'
    )


def add_import(parser: argparse.ArgumentParser) -> None:
    """Give a parser the arguments of `import`."""
    parser.add_argument(
        'file', type=Path, nargs='?', help='.onnx, .zip of SB3, .pt of rsl_rl, or .keras'
    )
    parser.add_argument(
        '--environment', default='', metavar='ID', help='Gymnasium id, or module:ID'
    )
    parser.add_argument(
        '--environment-arguments',
        default='',
        metavar='YAML',
        help='e.g. "{xml_file: ./robot.xml}"',
    )
    parser.add_argument(
        '--spec', type=Path, metavar='FILE', help='file of names, units, limits and order'
    )
    parser.add_argument(
        '--normalization', type=Path, metavar='FILE', help="statistics of SB3's VecNormalize"
    )
    parser.add_argument(
        '--name', default='', help='name in the manifest (default: that of the folder)'
    )
    parser.add_argument('--out', type=user_path, metavar='DIR', help='artifact folder to write')
    parser.add_argument('--template', action='store_true', help='print a file for --spec')
    parser.set_defaults(run=_runs('import_policy', check=_check_import, tensorflow=True))


def _add_compress(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('model', type=named_model, help='artifact folder with policy.keras')
    parser.add_argument('--recipes', default='all', help='comma-separated names, or all')
    parser.add_argument(
        '--out', type=output_folder, required=True, help='artifact folder to write'
    )
    parser.add_argument('--calibration', type=Path, help='.npy file of visited observations')
    parser.add_argument(
        '--set',
        action='append',
        default=[],
        metavar='KEY=VALUE',
        help='a setting of ImitationConfig',
    )
    add_cluster_argument(parser, 'run the episodes that are learned from')
    parser.set_defaults(run=_runs('compress', check=_check_compress, tensorflow=True))


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('folder', type=Path, help='folder that compress wrote')
    parser.add_argument(
        '--episodes', type=int, default=50, help='episodes per recipe for the choice (50)'
    )
    parser.add_argument(
        '--confirm', type=int, default=400, help='further episodes of the chosen recipe (400)'
    )
    parser.add_argument('--processes', type=int, default=2, help='processes that run episodes (2)')
    parser.add_argument('--recipes', default='', help='report these alone, comma-separated')
    parser.add_argument(
        '--timing-only', action='store_true', help='take times and memory alone, and keep them'
    )
    add_cluster_argument(parser, 'run the episodes')
    parser.set_defaults(run=_runs('report', check=_check_recipes))


def _add_publish(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('folder', type=Path, help='folder that compress wrote and report measured')
    parser.add_argument('model', type=named_model, help='policy folder to put the actors into')
    parser.add_argument('--recipes', required=True, help='comma-separated names')
    parser.add_argument(
        '--default', help='recipe of `compressed` (default: what the report chose)'
    )
    parser.set_defaults(run=_runs('publish', check=_check_recipes))


def _add_arm64(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('models', type=named_model, nargs='+', help='policy folders')
    parser.add_argument(
        '--out', type=output_folder, default='results/arm64', help='folder to write'
    )
    parser.set_defaults(run=_runs('arm64'))


def export(options: argparse.Namespace) -> None:
    """Write the actor of an artifact as ONNX or C; see `add_export_format`."""
    files = load_model_files(options.folder)
    if options.recipe:
        files.entry(options.recipe)
    if options.out.is_dir() or not options.out.suffix:
        raise ConfigurationError(
            f'--out is {options.out}, must be a file such as policy.{options.format}'
        )
    check_file(options.out)
    set_up_tensorflow()
    from rl_edge_compress.export_formats import run

    run(options)


def _check_import(options: argparse.Namespace) -> None:
    source: Path | None = options.file
    if not options.template and (source is None or options.out is None):
        raise ConfigurationError('give FILE and --out FOLDER; --template alone needs neither')
    if options.out is not None:
        check_folder(options.out, known_by=MANIFEST_NAME)
    if source is None:
        return
    kinds = 'give a .onnx, .zip, .pt or .keras file'
    if not source.is_file():
        raise ArtifactError(f'{source} is not a file: {kinds}')
    with source.open('rb') as file:
        start = file.read(200)
    if not start:
        raise ArtifactError(f'{source} is empty: {kinds}')
    if start.startswith(b'\x80') and b'vec_normalize' in start:
        raise ArtifactError(
            f'{source}: these are VecNormalize statistics: give the .zip, and this file as '
            f'--normalization'
        )
    # All but ONNX begin in a way of their own, whatever the file is called.
    if source.suffix.lower() != '.onnx' and not start.startswith((b'PK', b'\x80', b'\x89HDF')):
        raise ArtifactError(f'{source} is none of the files that are read: {kinds}')


def _check_compress(options: argparse.Namespace) -> None:
    load_model_files(options.model).entry(FULL_RECIPE)
    chosen_recipes(options.recipes)
    if options.calibration is not None and not options.calibration.is_file():
        raise ConfigurationError(f'--calibration {options.calibration} is not a file')


def _check_recipes(options: argparse.Namespace) -> None:
    files = load_model_files(options.folder)
    for recipe in filter(None, options.recipes.split(',')):
        files.entry(recipe)


def _runs(
    module: str,
    *,
    check: Callable[[argparse.Namespace], None] = lambda options: None,
    tensorflow: bool = False,
) -> Callable[[argparse.Namespace], Any]:
    """Return what imports a module when its command is given, and calls its function ``run``.

    ``check`` raises for arguments that are wrong, before that takes seconds or installs an extra.
    """

    def run(options: argparse.Namespace) -> Any:
        check(options)
        if tensorflow:
            load_tensorflow(announced=True)
        return import_module(f'rl_edge_compress.{module}').run(options)

    return run


if __name__ == '__main__':
    run_alone(main)
