"""``python -m rl_edge_eval bench-recording``: what recording costs the lockstep loop."""

import argparse
import json
import signal
import tempfile
from pathlib import Path

from rl_edge_core.errors import ConfigurationError
from rl_edge_core.statistics import ratio_interval
from rl_edge_eval.metrics_of_bag import metrics_of_bag
from rl_edge_eval.output.columns import make_console
from rl_edge_eval.output.files import STANDARD_OUTPUT, write_text


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Describe the command's arguments."""
    parser = commands.add_parser(
        'bench-recording', help='lockstep steps per second with and without the recorder'
    )
    parser.add_argument('--model', type=Path, required=True, help='artifact that acts in Ant-v5')
    parser.add_argument('--pairs', type=int, default=5, help='runs of each kind, in turns (5)')
    parser.add_argument('--seconds', type=float, default=10.0, help='measured time of a run (10)')
    parser.add_argument('--storage', choices=('mcap', 'sqlite3'), default='mcap')
    parser.add_argument('--domain', type=int, default=93, help='ROS domain to run in (93)')
    parser.add_argument('--json', metavar='FILE', help='write the metrics; - for standard output')
    parser.set_defaults(run=run)


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
            rate, what = _one_run(arguments, is_recorded=is_recorded)
            (recorded if is_recorded else plain).append(rate)
            console.print(f'pair {pair + 1}: {rate:,.0f} steps/s, {what}', highlight=False)
    kept = ratio_interval(recorded, plain)
    console.print(f'recorded over not recorded: {kept} (95 % over {kept.count} pairs)')
    if arguments.json:
        metrics = {
            'steps_per_sec': plain,
            'steps_per_sec_recorded': recorded,
            'kept': kept.to_dict(),
        }
        write_text(arguments.json, json.dumps(metrics, indent=1) + '\n')
    return 0


def _one_run(arguments: argparse.Namespace, *, is_recorded: bool) -> tuple[float, str]:
    """Return steps per second, and what was recorded."""
    from rl_edge_eval.ros.recording_cost import steps_per_second

    with tempfile.TemporaryDirectory(prefix='rl_edge_eval-') as folder:
        bag = Path(folder) / 'bag'
        rate = steps_per_second(
            arguments.model,
            seconds=arguments.seconds,
            bag=bag if is_recorded else None,
            domain_id=arguments.domain,
            storage=arguments.storage,
        )
        if not is_recorded:
            return rate, 'not recorded'
        (robot,) = metrics_of_bag(bag).robots
        return rate, (
            f'{robot.transitions} transitions recorded, {robot.lost_transitions} lost, '
            f'{robot.steps_before_recording} before the recorder was connected'
        )
