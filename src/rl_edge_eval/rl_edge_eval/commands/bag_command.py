"""``python -m rl_edge_eval bag``: evaluate bags, side by side."""

import argparse
from pathlib import Path

from rl_edge_eval.evaluate import BagEvaluation
from rl_edge_eval.figures.comparison import compare
from rl_edge_eval.output.files import STANDARD_OUTPUT, to_csv, to_json, write_text
from rl_edge_eval.output.tables import make_console, print_bag, print_comparisons


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Describe the command's arguments."""
    parser = commands.add_parser('bag', help='figures of one or more bags, side by side')
    parser.add_argument('bags', nargs='+', type=Path, metavar='BAG', help='bag folder or file')
    parser.add_argument('--json', metavar='FILE', help='write all figures; - for standard output')
    parser.add_argument('--csv', metavar='FILE', help='write a row an episode; - as above')
    parser.add_argument('--plots', type=Path, metavar='DIR', help='write pictures')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate the bags; return 0 even when parts of them could not be read, which is said."""
    evaluations = [BagEvaluation(path) for path in arguments.bags]
    bags = [evaluation.run() for evaluation in evaluations]
    comparisons = compare(bags)
    console = make_console(data_on_stdout=STANDARD_OUTPUT in (arguments.json, arguments.csv))
    for bag in bags:
        print_bag(console, bag)
    print_comparisons(console, comparisons)
    if arguments.json:
        write_text(arguments.json, to_json(bags, comparisons))
    if arguments.csv:
        write_text(arguments.csv, to_csv(bags))
    if arguments.plots:
        from rl_edge_eval.output.plots import write_plots

        for path in write_plots(arguments.plots, evaluations, bags):
            console.print(f'wrote {path}', highlight=False)
    return 0
