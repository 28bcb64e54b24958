"""``python -m rl_edge_eval bench``: how fast and how large an evaluation is.

Beside it the same file is read by `mcap` and decoded by `mcap-ros2-support`, and nothing is done
with the messages: no evaluation can be faster.
"""

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
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
        'bench', help='messages per second and memory, against bare mcap and mcap-ros2-support'
    )
    parser.add_argument('--bag', type=Path, help='bag to read; without it one is made')
    parser.add_argument('--steps', type=int, default=72_000, help='of the bag made (72000: 1 h)')
    parser.add_argument('--repeats', type=int, default=3, help='passes of each kind, in turns (3)')
    parser.add_argument('--json', metavar='FILE', help='write the metrics; - for standard output')
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; the metrics say nothing about other machines."""
    if arguments.repeats < 1 or arguments.steps < 1:
        raise ConfigurationError('--repeats and --steps must be 1 or more')
    with tempfile.TemporaryDirectory(prefix='rl_edge_eval-') as folder:
        bag = arguments.bag
        if bag is None:
            bag = Path(folder) / 'walk'
            write_walk(bag, steps=arguments.steps)
        elif not [path for path in mcap_files(bag) if path.is_file()]:
            raise ConfigurationError(f'{bag} has no .mcap file: there is nothing to compare with')
        bare, ours = [], []
        for _ in range(arguments.repeats):
            bare.append(_in_own_process(bare_pass, bag))
            ours.append(_in_own_process(evaluation_pass, bag))
    _report(bare, ours, arguments.json)
    return 0


def bare_pass(bag: Path) -> Measurement:
    """Decode every message and do nothing with it."""
    from mcap.reader import make_reader
    from mcap_ros2.decoder import DecoderFactory

    begin = _now()
    count = 0
    for path in mcap_files(bag):
        with path.open('rb') as file:
            reader = make_reader(file, decoder_factories=[DecoderFactory()])
            count += sum(1 for _ in reader.iter_decoded_messages())
    return _measured(count, begin)


def mcap_files(bag: Path) -> list[Path]:
    """Return the MCAP files of a bag."""
    return sorted(bag.glob('*.mcap')) if bag.is_dir() else [bag]


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
    metrics = {
        'messages': ours[0].messages,
        'bare_mcap_messages_per_sec': statistics.median(m.messages / m.seconds for m in bare),
        'evaluation_messages_per_sec': statistics.median(m.messages / m.seconds for m in ours),
        'evaluation_over_bare': statistics.median(b.seconds / o.seconds for b, o in pairs),
        'evaluation_over_bare_by_cpu_time': statistics.median(
            b.cpu_seconds / o.cpu_seconds for b, o in pairs
        ),
        'bare_mcap_peak_mb': max(m.peak_mb for m in bare),
        'evaluation_peak_mb': max(m.peak_mb for m in ours),
        'passes_of_each': len(ours),
    }
    table = Table(show_header=False)
    for name, value in metrics.items():
        table.add_row(name.replace('_', ' '), f'{value:,.2f}' if value < 10 else f'{value:,.0f}')
    make_console(data_on_stdout=target == STANDARD_OUTPUT).print(table)
    if target:
        write_text(target, json.dumps(metrics, indent=1) + '\n')


def write_walk(folder: Path, *, steps: int, episode_steps: int = 1000) -> None:
    """Write a bag as the default topics of an Ant-v5 run of ``steps`` steps at 20 Hz fill it."""
    from mcap_ros2.writer import Writer

    from rl_edge_eval.recording.message_definitions import message_definition

    folder.mkdir()
    generator = np.random.default_rng(0)
    with (folder / 'walk_0.mcap').open('wb') as file, Writer(file) as writer:
        schemas = {
            kind: writer.register_msgdef(
                f'rl_edge_interfaces/msg/{kind}',
                message_definition(f'rl_edge_interfaces/msg/{kind}').text,
            )
            for kind in ('Transition', 'EpisodeSummary', 'ResourceUsage')
        }
        for step in range(steps):
            for topic, kind, values in _walk(step, episode_steps, generator):
                writer.write_message(
                    f'/ant0/{topic}', schemas[kind], values, (step + 1) * 50_000_000
                )


def _walk(
    step: int, episode_steps: int, generator: np.random.Generator
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    episode, in_episode = divmod(step, episode_steps)
    is_last = in_episode == episode_steps - 1
    nanosec = (step + 1) * 50_000_000
    header = {'stamp': {'sec': nanosec // 10**9, 'nanosec': nanosec % 10**9}, 'frame_id': ''}
    terms = [0.25] * 4
    yield (
        'transition',
        'Transition',
        {
            'header': header,
            'run_id': 1,
            'episode': episode,
            'step': in_episode,
            'observation': generator.standard_normal(105).tolist(),
            'action': generator.standard_normal(8).tolist(),
            'reward': 1.0,
            'reward_terms': terms,
            'next_observation': generator.standard_normal(105).tolist(),
            'truncated': is_last,
            'model_hash': 'ab' * 32,
            'forward_position': 0.05 * in_episode,
            'response_time_us': float(generator.gamma(4.0, 60.0)),
            'inference_time_us': float(generator.gamma(4.0, 2.0)),
        },
    )
    if step % 20 == 0:
        usage = {'header': header, 'node': '/ant0/sim', 'pid': 1, 'cpu_seconds': 0.025 * step}
        yield 'resource_usage/sim', 'ResourceUsage', usage
    if is_last:
        yield (
            'episode',
            'EpisodeSummary',
            {
                'header': header,
                'run_id': 1,
                'episode': episode,
                'seed': episode,
                'length': episode_steps,
                'ended_by': 1,
                'episode_return': float(episode_steps),
                'reward_terms': [episode_steps * term for term in terms],
            },
        )
