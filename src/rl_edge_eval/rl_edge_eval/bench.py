"""``python -m rl_edge_eval bench``: how fast and how large an evaluation is.

Beside it the same file is read by `mcap` and decoded by `mcap-ros2-support`, and nothing is done
with the messages: no evaluation can be faster.
"""

import argparse
import multiprocessing
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from rich.table import Table

from rl_edge_core.errors import ConfigurationError
from rl_edge_core.resources import sample_resources
from rl_edge_core.signals import blocked
from rl_edge_eval.output.columns import STANDARD_OUTPUT, make_console, write_json

_STEP_NS = 50_000_000
_EPISODE_STEPS = 1000


def run(arguments: argparse.Namespace) -> None:
    """Measure and print; the metrics say nothing about other machines."""
    if arguments.repeats < 1 or arguments.steps < 1:
        raise ConfigurationError('--repeats and --steps must be 1 or more')
    with tempfile.TemporaryDirectory(prefix='rl_edge_eval-') as folder:
        bag = write_walk(Path(folder), steps=arguments.steps)
        passes = np.array(
            [
                (*_in_own_process(bare_pass, bag), *_in_own_process(evaluation_pass, bag))
                for _ in range(arguments.repeats)
            ]
        )
    messages, bare_sec, bare_cpu_sec, bare_mb, _, our_sec, our_cpu_sec, our_mb = passes.T
    metrics = {
        'messages': int(messages[0]),
        'bare_mcap_messages_per_sec': float(np.median(messages / bare_sec)),
        'evaluation_messages_per_sec': float(np.median(messages / our_sec)),
        'evaluation_over_bare': float(np.median(bare_sec / our_sec)),
        'evaluation_over_bare_by_cpu_time': float(np.median(bare_cpu_sec / our_cpu_sec)),
        'bare_mcap_peak_mb': float(bare_mb.max()),
        'evaluation_peak_mb': float(our_mb.max()),
        'passes_of_each': arguments.repeats,
    }
    table = Table(show_header=False)
    for name, value in metrics.items():
        table.add_row(name.replace('_', ' '), f'{value:,.2f}' if value < 10 else f'{value:,.0f}')
    make_console(data_on_stdout=arguments.json == STANDARD_OUTPUT).print(table)
    if arguments.json:
        write_json(arguments.json, metrics)


def bare_pass(bag: Path) -> int:
    """Decode every message, do nothing with it, and return how many there were."""
    # Late, as below: each process loads what its own pass needs, and counts that memory.
    from mcap.reader import make_reader
    from mcap_ros2.decoder import DecoderFactory

    with bag.open('rb') as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        return sum(1 for _ in reader.iter_decoded_messages())


def evaluation_pass(bag: Path) -> int:
    """Evaluate the bag and return how many messages it has."""
    from rl_edge_eval.metrics_of_bag import metrics_of_bag

    return metrics_of_bag(bag).messages


def _in_own_process(work: Callable[[Path], int], bag: Path) -> tuple[float, ...]:
    """Return messages, seconds, CPU seconds and peak memory in MB, of a process of its own.

    What other processes do to it is mostly left out of its CPU seconds.
    """
    with blocked(signal.SIGINT):  # Ctrl-C is for the process that waits
        pool = multiprocessing.get_context('spawn').Pool(1)
    with pool:
        return pool.apply(_measured, (work, bag))


def _measured(work: Callable[[Path], int], bag: Path) -> tuple[float, ...]:
    begin_sec, cpu_begin_sec = time.perf_counter(), time.process_time()
    count = work(bag)
    seconds, cpu_seconds = time.perf_counter() - begin_sec, time.process_time() - cpu_begin_sec
    return count, seconds, cpu_seconds, sample_resources(psutil.Process()).peak_memory_mb


def write_walk(folder: Path, *, steps: int) -> Path:
    """Write a bag as the default topics of an Ant-v5 run of ``steps`` steps at 20 Hz fill it."""
    from mcap_ros2.writer import Writer

    from rl_edge_eval.recording.message_definitions import message_definition

    bag, generator = folder / 'walk_0.mcap', np.random.default_rng(0)
    with bag.open('wb') as file, Writer(file) as writer:
        schemas = {
            kind: writer.register_msgdef(name, message_definition(name).text)
            for kind in ('Transition', 'ResourceUsage', 'EpisodeSummary')
            for name in [f'rl_edge_interfaces/msg/{kind}']
        }
        for step in range(steps):
            for topic, kind, values in _walk(step, generator):
                time_ns = (step + 1) * _STEP_NS
                writer.write_message(f'/ant0/{topic}', schemas[kind], values, time_ns)
    return bag


def _walk(step: int, generator: np.random.Generator) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield topic, type and values of what a step publishes; what is left out is 0."""
    episode, in_episode = divmod(step, _EPISODE_STEPS)
    is_last = in_episode == _EPISODE_STEPS - 1
    address = {'run_id': 1, 'episode': episode}
    transition = {
        **address,
        'step': in_episode,
        'observation': generator.standard_normal(105).tolist(),
        'action': generator.standard_normal(8).tolist(),
        'reward': 1.0,
        'reward_terms': [0.25] * 4,
        'next_observation': generator.standard_normal(105).tolist(),
        'truncated': is_last,
        'model_hash': 'ab' * 32,
        'forward_position': 0.05 * in_episode,
        'response_time_us': float(generator.gamma(4.0, 60.0)),
        'inference_time_us': float(generator.gamma(4.0, 2.0)),
    }
    yield 'transition', 'Transition', transition
    if step % 20 == 0:
        usage = {'node': '/ant0/sim', 'pid': 1, 'cpu_seconds': 0.025 * step}
        yield 'resource_usage/sim', 'ResourceUsage', usage
    if is_last:
        length = _EPISODE_STEPS
        sums = {'episode_return': 1.0 * length, 'reward_terms': [0.25 * length] * 4}
        summary = {**address, 'seed': episode, 'length': length, 'ended_by': 1, **sums}
        yield 'episode', 'EpisodeSummary', summary
