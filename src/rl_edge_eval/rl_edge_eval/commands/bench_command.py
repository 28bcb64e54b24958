"""``python -m rl_edge_eval bench``: how fast and how large an evaluation is."""

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psutil
from rich.table import Table

from rl_edge_core.errors import ConfigurationError
from rl_edge_core.resources import sample_resources
from rl_edge_eval.output.columns import make_console
from rl_edge_eval.output.files import STANDARD_OUTPUT, write_text


class Measurement(NamedTuple):
    """One pass over a bag, in a process of its own."""

    messages: int
    seconds: float
    """From opening the bag on; imports are left out."""
    cpu_seconds: float
    """Of the process in the same span: what other processes do to it is mostly left out."""
    peak_mb: float
    """Highest resident memory of the process, imports included."""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Describe the command's arguments."""
    parser = commands.add_parser(
        'bench', help='messages a second and memory, against bare rosbags deserialization'
    )
    parser.add_argument('--bag', type=Path, help='bag to read; without it one is made')
    parser.add_argument('--steps', type=int, default=72_000, help='of the bag made (72000: 1 h)')
    parser.add_argument('--storage', choices=('mcap', 'sqlite3'), default='mcap')
    parser.add_argument('--repeats', type=int, default=3, help='passes of each kind, in turns (3)')
    parser.add_argument('--json', metavar='FILE', help='write the figures; - for standard output')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; the figures say nothing about other machines."""
    if arguments.repeats < 1 or arguments.steps < 1:
        raise ConfigurationError('--repeats and --steps must be 1 or more')
    with tempfile.TemporaryDirectory(prefix='rl_edge_eval-') as folder:
        bag = arguments.bag
        if bag is None:
            from rl_edge_eval.synthetic_bag import write_walk

            bag = Path(folder) / 'walk'
            write_walk(bag, steps=arguments.steps, storage=arguments.storage)
        bare, ours = [], []
        for _ in range(arguments.repeats):
            bare.append(_in_own_process(bare_pass, bag))
            ours.append(_in_own_process(evaluation_pass, bag))
    _report(bare, ours, arguments.json)
    return 0


def bare_pass(bag: Path) -> Measurement:
    """Deserialize every message with rosbags and do nothing with it."""
    from rosbags.highlevel import AnyReader

    begin = _now()
    count = 0
    with AnyReader([bag]) as reader:
        for connection, _, data in reader.messages():
            reader.deserialize(data, connection.msgtype)
            count += 1
    return _measured(count, begin)


def evaluation_pass(bag: Path) -> Measurement:
    """Evaluate the bag."""
    from rl_edge_eval.metrics_of_bag import metrics_of_bag

    begin = _now()
    return _measured(metrics_of_bag(bag).messages, begin)


class _Clocks(NamedTuple):
    wall: float
    cpu: float


def _now() -> _Clocks:
    return _Clocks(time.perf_counter(), time.process_time())


def _measured(count: int, begin: _Clocks) -> Measurement:
    end = _now()
    peak_mb = sample_resources(psutil.Process()).peak_memory_mb
    return Measurement(count, end.wall - begin.wall, end.cpu - begin.cpu, peak_mb)


def _in_own_process(measure: Callable[[Path], Measurement], bag: Path) -> Measurement:
    with multiprocessing.get_context('spawn').Pool(1) as pool:
        return pool.apply(measure, (bag,))


def _report(bare: list[Measurement], ours: list[Measurement], target: str | None) -> None:
    pairs = list(zip(bare, ours, strict=True))
    figures = {
        'messages': ours[0].messages,
        'bare_rosbags_messages_per_sec': statistics.median(m.messages / m.seconds for m in bare),
        'evaluation_messages_per_sec': statistics.median(m.messages / m.seconds for m in ours),
        'evaluation_over_bare': statistics.median(b.seconds / o.seconds for b, o in pairs),
        'evaluation_over_bare_by_cpu_time': statistics.median(
            b.cpu_seconds / o.cpu_seconds for b, o in pairs
        ),
        'bare_rosbags_peak_mb': max(m.peak_mb for m in bare),
        'evaluation_peak_mb': max(m.peak_mb for m in ours),
        'passes_of_each': len(ours),
    }
    table = Table(show_header=False)
    for name, value in figures.items():
        table.add_row(name.replace('_', ' '), f'{value:,.2f}' if value < 10 else f'{value:,.0f}')
    make_console(data_on_stdout=target == STANDARD_OUTPUT).print(table)
    if target:
        write_text(target, json.dumps(figures, indent=1) + '\n')
