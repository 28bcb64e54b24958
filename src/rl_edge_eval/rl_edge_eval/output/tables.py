"""The metrics of bags as tables on the terminal."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import astuple, fields

from rich.console import Console
from rich.table import Table

from rl_edge_eval.metrics.comparison import Comparison
from rl_edge_eval.metrics.run_metrics import ActionCounts, EpisodeMetrics, RobotMetrics, RunMetrics
from rl_edge_eval.output.columns import number

_MOST_EPISODES = 40
"""Rows that fit on a screen; the files have all of them."""


def print_bag(console: Console, bag: RunMetrics) -> None:
    """Print all metrics of one bag."""
    console.print(
        f'[bold]{bag.path}[/bold]: {bag.storage}, {bag.messages} messages in '
        f'{bag.duration_sec:.1f} s on {len(bag.topics)} topics',
        highlight=False,
    )
    for robot in bag.robots:
        _print_robot(console, robot)
    for note in bag.notes:
        console.print(f'  [yellow]note[/yellow] {note}', highlight=False, markup=True)


def print_comparisons(console: Console, comparisons: Sequence[Comparison]) -> None:
    """Print how each bag differs from the first."""
    for comparison in comparisons:
        table = Table(
            title=f'{comparison.other} against {comparison.baseline}', title_justify='left'
        )
        for heading in ('figure', 'first', 'this', 'difference [95 %]', 'interval'):
            table.add_column(heading, justify='left' if heading == 'figure' else 'right')
        for figure in comparison.figures:
            difference = (
                str(figure.difference)
                if figure.difference
                else number(figure.other - figure.baseline)
            )
            table.add_row(
                figure.name,
                number(figure.baseline),
                number(figure.other),
                difference,
                figure.method or '-',
            )
        console.print(table)


def _print_robot(console: Console, robot: RobotMetrics) -> None:
    console.print(
        f'robot [bold]{robot.namespace or "/"}[/bold] {robot.environment_id} {robot.mode} '
        f'spec {robot.spec_hash[:12] or "unknown"}',
        highlight=False,
    )
    if robot.episodes:
        console.print(_episode_table(robot.episodes))
    console.print(_robot_table(robot))
    if robot.nodes:
        console.print(_node_table(robot))


def _episode_table(episodes: Sequence[EpisodeMetrics]) -> Table:
    left_out = len(episodes) - _MOST_EPISODES
    title = (
        f'episodes (the first {_MOST_EPISODES} of {len(episodes)})' if left_out > 0 else 'episodes'
    )
    table = Table(title=title, title_justify='left')
    for heading in (
        *('episode', 'seed', 'return', 'length', 'distance m', 'speed m/s', 'ended by'),
        *('response us p50/p99/max', 'inference us p50/p99/max', 'steps/s'),
    ):
        table.add_column(heading, justify='right')
    for episode in episodes[:_MOST_EPISODES]:
        table.add_row(
            str(episode.episode),
            '-' if episode.seed is None else str(episode.seed),
            number(episode.episode_return),
            str(episode.length),
            number(episode.forward_distance_m),
            number(episode.mean_speed_m_per_s),
            _end_of(episode),
            str(episode.response_us),
            str(episode.inference_us),
            number(episode.steps_per_sec),
        )
    return table


def _end_of(episode: EpisodeMetrics) -> str:
    reason = f': {episode.termination_reason}' if episode.termination_reason else ''
    return episode.ended_by + reason


def _robot_table(robot: RobotMetrics) -> Table:
    table = Table(title='all episodes', title_justify='left', show_header=False)
    for name, value in _robot_rows(robot):
        table.add_row(name, value)
    return table


def _robot_rows(robot: RobotMetrics) -> Iterable[tuple[str, str]]:
    if robot.summary is not None:
        yield from ((name.replace('_', ' '), value) for name, value in robot.summary.rows())
        yield 'episodes in the means', str(robot.summary.episode_return.count)
        yield from _term_rows([episode for episode in robot.episodes if episode.counts])
    yield 'response us p50/p99/max', str(robot.response_us)
    yield 'inference us p50/p99/max', str(robot.inference_us)
    yield 'transitions', str(robot.transitions)
    yield 'steps/s', number(robot.steps_per_sec)
    yield (
        'transitions lost / doubled / reordered',
        f'{robot.lost_transitions} / {robot.duplicate_transitions} / '
        f'{robot.reordered_transitions}',
    )
    if robot.steps_before_recording:
        yield 'steps before recording began', str(robot.steps_before_recording)
    names = [field.name for field in fields(ActionCounts)]
    yield 'actions ' + ' / '.join(names), ' / '.join(str(n) for n in astuple(robot.actions))
    for policy in robot.policies:
        reason = f' ({policy.reason})' if policy.reason else ''
        yield (
            f'policy {policy.state}{reason}',
            f'{policy.model_id} {policy.model_hash[:12]} {policy.runtime}, first action after '
            f'{number(policy.first_action_sec)} s',
        )


def _term_rows(episodes: Sequence[EpisodeMetrics]) -> Iterable[tuple[str, str]]:
    for name in dict.fromkeys(name for episode in episodes for name in episode.reward_terms):
        terms = [episode.reward_terms.get(name, math.nan) for episode in episodes]
        yield f'reward term {name}, mean per episode', number(sum(terms) / len(terms))


def _node_table(robot: RobotMetrics) -> Table:
    table = Table(title='nodes', title_justify='left')
    for heading in (
        *('node', 'CPU % mean', 'CPU % max', 'CPU ms per step', 'resident MB mean', 'max'),
        *('peak MB', 'unique MB', 'threads', 'processes', 'reports'),
    ):
        table.add_column(heading, justify='left' if heading == 'node' else 'right')
    for node in robot.nodes:
        table.add_row(
            node.node,
            number(node.cpu_percent_mean),
            number(node.cpu_percent_max),
            number(node.cpu_ms_per_step),
            number(node.resident_memory_mb_mean),
            number(node.resident_memory_mb_max),
            number(node.peak_memory_mb),
            number(node.unique_memory_mb_mean),
            str(node.threads_max),
            str(node.processes),
            str(node.samples),
        )
    return table
