"""``python -m rl_edge_eval bag``: evaluate bags, side by side."""

import argparse
from pathlib import Path

from rl_edge_eval.metrics.comparison import compare
from rl_edge_eval.metrics_of_bag import metrics_of_bag
from rl_edge_eval.output.columns import make_console
from rl_edge_eval.output.files import STANDARD_OUTPUT, to_csv, to_json, write_text
from rl_edge_eval.output.tables import print_bag, print_comparisons


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Describe the command's arguments."""
    parser = commands.add_parser('bag', help='metrics of one or more bags, side by side')
    parser.add_argument('bags', nargs='+', type=Path, metavar='BAG', help='bag folder or file')
    parser.add_argument('--json', metavar='FILE', help='write all metrics; - for standard output')
    parser.add_argument('--csv', metavar='FILE', help='write a row per episode; - as above')
    parser.add_argument('--plots', type=Path, metavar='DIR', help='write plots')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate the bags; return 0 even when parts of them could not be read, which is said."""
    bags = [metrics_of_bag(path) for path in arguments.bags]
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

        for path in write_plots(arguments.plots, bags):
            console.print(f'wrote {path}', highlight=False)
    return 0
