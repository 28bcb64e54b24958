"""``python -m rl_edge_eval bag``: the metrics of bags as tables, JSON, CSV and plots."""

import argparse
import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from rl_edge_core.results import json_types
from rl_edge_core.wording import counted
from rl_edge_eval.metrics.comparison import Comparison, compare
from rl_edge_eval.metrics.run_metrics import EpisodeMetrics, NodeMetrics, RobotMetrics, RunMetrics
from rl_edge_eval.metrics_of_bag import metrics_of_bag
from rl_edge_eval.output.columns import (
    MISSING,
    STANDARD_OUTPUT,
    Column,
    make_console,
    number,
    rows_table,
    text_table,
    write_json,
    write_text,
)
from rl_edge_eval.output.plots import names_of, write_plots

_MOST_EPISODES = 40
"""Rows that fit on a screen; the files have all of them."""
_EPISODE_COLUMNS: tuple[Column[EpisodeMetrics], ...] = (
    Column('episode', '', lambda episode: str(episode.episode)),
    Column('seed', '', lambda episode: '-' if episode.seed is None else str(episode.seed)),
    Column('return', '', lambda episode: episode.episode_return),
    Column('length', '', lambda episode: str(episode.length)),
    Column('distance m', '', lambda episode: episode.forward_distance_m),
    Column('mean speed m/s', '', lambda episode: episode.mean_speed_m_per_s),
    Column('ended by', '', lambda episode: episode.ended_by_reason),
    Column('response us p50/p99/max', '', lambda episode: str(episode.response_us)),
    Column('inference us p50/p99/max', '', lambda episode: str(episode.inference_us)),
    Column('steps/s', '', lambda episode: episode.steps_per_sec),
)
_NODE_COLUMNS: tuple[Column[NodeMetrics], ...] = (
    Column('CPU % mean', '', lambda node: node.cpu_percent_mean),
    Column('CPU % max', '', lambda node: node.cpu_percent_max),
    Column('CPU ms per step', '', lambda node: node.cpu_ms_per_step),
    Column('resident MB mean', '', lambda node: node.resident_memory_mb_mean),
    Column('max', '', lambda node: node.resident_memory_mb_max),
    Column('peak MB', '', lambda node: node.peak_memory_mb),
    Column('unique MB', '', lambda node: node.unique_memory_mb_mean),
    Column('threads', '', lambda node: str(node.threads_max)),
)
_PROCESSES: Column[NodeMetrics] = Column('processes', '', lambda node: str(node.processes))


def run(arguments: argparse.Namespace) -> None:
    """Evaluate the bags; what of them could not be read is said, and is no error."""
    bags = [metrics_of_bag(path) for path in arguments.bags]
    comparisons = compare(bags)
    console = make_console(data_on_stdout=STANDARD_OUTPUT in (arguments.json, arguments.csv))
    for bag in bags:
        console.print(
            f'[bold]{bag.path}[/bold]: {bag.storage}, {counted(bag.messages, "message")} in '
            f'{bag.duration_sec:.1f} s on {counted(len(bag.topics), "topic")}',
            highlight=False,
        )
        for robot in bag.robots:
            _print_robot(console, robot)
        for note in bag.notes:
            console.print(f'  [yellow]note[/yellow] {note}', highlight=False)
    bag_paths = [bag.path for bag in bags]
    names = dict(zip(bag_paths, names_of(bag_paths), strict=True))
    for comparison in comparisons:
        _print_comparison(console, comparison, names)
    if arguments.json:
        compared = [
            {'baseline': one.baseline, 'other': one.other, 'figures': one.metrics}
            for one in comparisons
        ]
        write_json(arguments.json, {'bags': bags, 'comparisons': compared})
    if arguments.csv:
        write_text(arguments.csv, to_csv(bags))
    if arguments.plots:
        paths = write_plots(arguments.plots, bags)
        for path in paths:
            console.print(f'wrote {path}', highlight=False)
        if not paths:
            console.print('nothing was recorded that could be plotted')


def _print_comparison(console: Console, comparison: Comparison, names: Mapping[str, str]) -> None:
    first, other = (names[path] for path in comparison.bags)
    rows = [
        (
            metric.name,
            number(metric.baseline),
            number(metric.other),
            str(metric.difference or number(metric.other - metric.baseline)),
            metric.method or '-',
        )
        for metric in comparison.metrics
        if not math.isnan(metric.other)
    ]
    headings = ('metric', first, other, 'difference [95 %]', 'interval')
    console.print(f'{comparison.other} against {comparison.baseline}', soft_wrap=True)
    console.print(text_table(headings, rows))
    if comparison.note:
        console.print(f'  [yellow]note[/yellow] {comparison.note}', highlight=False)


def _print_robot(console: Console, robot: RobotMetrics) -> None:
    console.print(
        f'robot [bold]{robot.namespace or "/"}[/bold] {robot.environment_id} {robot.mode} '
        f'spec {robot.spec_hash[:12] or "unknown"}',
        highlight=False,
    )
    if robot.episodes:
        count = len(robot.episodes)
        few = count <= _MOST_EPISODES
        title = 'episodes' if few else f'episodes (the first {_MOST_EPISODES} of {count})'
        shown = robot.episodes[:_MOST_EPISODES]
        known = [c for c in _EPISODE_COLUMNS if any(c.cell(one) != MISSING for one in shown)]
        console.print(rows_table(shown, known, title=title))
    table = Table(title='all episodes', title_justify='left', show_header=False)
    for name, value in _robot_rows(robot):
        table.add_row(name, value)
    console.print(table)
    if robot.nodes:
        names = [node.node.removeprefix(f'{robot.namespace}/') for node in robot.nodes]
        restarted = any(node.processes > 1 for node in robot.nodes)
        columns = (*_NODE_COLUMNS, _PROCESSES) if restarted else _NODE_COLUMNS
        console.print(rows_table(robot.nodes, columns, title='nodes', names=names))


def _robot_rows(robot: RobotMetrics) -> Iterable[tuple[str, str]]:
    if robot.summary is not None:
        yield from ((name.replace('_', ' '), value) for name, value in robot.summary.rows())
        yield 'episodes in the means', str(robot.summary.episode_return.count)
        for name in dict.fromkeys(name for e in robot.counted for name in e.reward_terms):
            terms = [episode.reward_terms.get(name, math.nan) for episode in robot.counted]
            yield f'reward term {name}, mean per episode', number(sum(terms) / len(terms))
    yield 'response us p50/p99/max', str(robot.response_us)
    yield 'inference us p50/p99/max', str(robot.inference_us)
    yield 'transitions', str(robot.transitions)
    yield 'steps/s', number(robot.steps_per_sec)
    yield (
        'transitions lost / duplicate / reordered',
        f'{robot.lost_transitions} / {robot.duplicate_transitions} / '
        f'{robot.reordered_transitions}',
    )
    if robot.steps_before_recording:
        yield 'steps before recording began', str(robot.steps_before_recording)
    actions = vars(robot.actions)
    yield 'actions ' + ' / '.join(actions), ' / '.join(map(str, actions.values()))
    states: dict[str, list[str]] = {}
    for policy in robot.policies:
        model = f'{policy.model_id} {policy.model_hash[:12]} {policy.runtime}'.strip()
        reason = f' ({policy.reason})' if policy.reason else ''
        if model or reason or len(robot.policies) == 1:
            states.setdefault(model or 'no model', []).append(policy.state + reason)
    for model, names in states.items():
        yield 'policy', f'{model}; states: {", ".join(dict.fromkeys(names))}'
    if robot.policies:
        waited = number(robot.first_action_sec)
        yield 'policy start to first action s (waiting included)', waited


def to_csv(bags: Sequence[RunMetrics]) -> str:
    """Return one row per episode, of all bags and robots; what is missing is empty."""
    rows = []
    for bag in bags:
        for robot in bag.robots:
            for episode in robot.episodes:
                row: dict[str, Any] = {'bag': bag.path, 'robot': robot.namespace}
                for name, value in json_types(episode).items():
                    if isinstance(value, dict):
                        row |= {f'{name}.{key}': item for key, item in value.items()}
                    else:
                        row[name] = value
                rows.append(row)
    names = dict.fromkeys(name for row in rows for name in row) or {'bag': None, 'robot': None}
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=list(names), restval='', lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)  # None is written as nothing
    return stream.getvalue()
