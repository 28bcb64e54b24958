"""The low-spec envelope: how small a computer may be for the policy still to walk."""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console

from rl_edge_bringup.running_system import RunningSystem
from rl_edge_bringup.systems import CONFIGURATIONS
from rl_edge_core.errors import RlEdgeError
from rl_edge_core.parameters import Setting, Values, to_text
from rl_edge_core.results import describe_machine, write_json
from rl_edge_eval.metrics.series import ratio
from rl_edge_eval.output.columns import Column, make_console, runs_table
from rl_edge_experiments.budget_run import (
    NO_QUOTA,
    BudgetRun,
    compare,
    next_share,
    smallest_that_walks,
)
from rl_edge_experiments.cpu_quota import held_to, make_group, quota_of
from rl_edge_experiments.experiment import (
    Experiment,
    choose,
    numbers_of,
    output_folder,
    recipe_of,
    system_arguments,
    words_of,
)
from rl_edge_experiments.record_run import Conditions, RunRequest, record_run

_FROM_SIM = ('environment_id', 'environment_arguments', 'seed')
_NONE = {'throttled_sec': float('nan')}
Measure = Callable[[float], BudgetRun]
"""Runs the policy on a share of a core, in percent."""


def run_envelope(values: Values) -> int:
    """Run all budgets, search, write envelope.json, print the table; return 0."""
    console = make_console(data_on_stdout=False)
    configurations = words_of('configurations', str(values['configurations']), CONFIGURATIONS)
    factors = numbers_of(
        'real_time_factors', str(values['real_time_factors']), above=0.0, most=100.0
    )
    shares = numbers_of('shares', str(values['shares']), above=0.0, most=NO_QUOTA)
    for share in shares:
        quota_of(share)
    make_group('rl_edge-probe').close()  # an error now, and not after the first runs
    for configuration in configurations:
        choose(configuration, values)
    folder = output_folder(values)
    groups = []
    for configuration, factor in itertools.product(configurations, factors):
        measure = _measure(values, folder / 'envelope', configuration, factor, console)
        group = explore(measure, shares, values)
        groups.append(group)
        _print_table(console, group, keep=float(values['keep']))
    write_json(folder / 'envelope.json', _content(groups, values))
    for group in groups:
        console.print(_verdict(group), soft_wrap=True)
    console.print(f'written: {folder / "envelope.json"}', soft_wrap=True)
    return 0


def explore(measure: Measure, shares: Sequence[float], values: Values) -> list[BudgetRun]:
    """Measure the run without a quota, the shares, and what the search asks for."""
    keep = float(values['keep'])
    reference = measure(NO_QUOTA)
    found = {NO_QUOTA: compare(reference, reference, keep=keep)}
    for share in sorted(set(shares) - {NO_QUOTA}, reverse=True):
        found[share] = compare(measure(share), reference, keep=keep)
    for _ in range(int(values['search'])):
        wanted = next_share({share: one.walks for share, one in found.items()})
        if wanted is None or (share := float(f'{wanted:.2g}')) in found:
            break
        found[share] = compare(measure(share), reference, keep=keep)
    return [found[share] for share in sorted(found, reverse=True)]


def _measure(
    values: Values, folder: Path, configuration: str, factor: float, console: Console
) -> Measure:
    def measure(share: float) -> BudgetRun:
        name = f'{configuration}, real-time factor {factor:g}, {_share_text(share)}'
        arguments = {key: to_text(values[key]) for key in _FROM_SIM} | {
            'configuration': configuration,
            'model': str(values['model']),
            'recipe': recipe_of(configuration, values),
            'mode': 'realtime',
            'real_time_factor': str(factor),
            'episodes': to_text(values['episodes']),
        }
        request = RunRequest(
            folder / f'{configuration}-x{factor:g}-{share:g}',
            arguments,
            settings={'core_percent': share},
        )
        with console.status(name):
            run = record_run(request, conditions=_limited(share), reuse=bool(values['reuse']))
        robot, acting = run.robot, run.acting
        if robot.summary is None:
            raise RlEdgeError(f'{run.bag} has no whole episode: {"; ".join(run.metrics.notes)}')
        console.print(f'{name}: return {robot.summary.episode_return.estimate:.0f}')
        return BudgetRun(
            configuration=configuration,
            real_time_factor=factor,
            core_percent=share,
            returns=tuple(episode.episode_return for episode in robot.counted),
            return_mean=robot.summary.episode_return.estimate,
            forward_distance_m=robot.summary.forward_distance_m.estimate,
            mean_speed_m_per_s=robot.mean_speed_m_per_s,
            falls=robot.falls,
            steps=robot.steps,
            cpu_ms_per_action=acting.node('policy').cpu_ms_per_step
            * ratio(robot.steps, robot.answered_steps),
            missed_share=robot.missed_share,
            safe_share=robot.safe_share,
            response_ms_p50=acting.response_us.p50 / 1e3,
            response_ms_p99=acting.response_us.p99 / 1e3,
            throttling=run.conditions.get('throttling'),
        )

    return measure


def _limited(share: float) -> Conditions:
    @contextlib.contextmanager
    def limit(policy: RunningSystem) -> Iterator[dict[str, Any]]:
        found: dict[str, Any] = {}
        if share >= NO_QUOTA:
            yield found
            return
        with held_to(policy.pid('policy'), share) as group:
            yield found
            found['throttling'] = group.read().to_mapping()

    return limit


def _share_text(share: float) -> str:
    return 'no quota' if share >= NO_QUOTA else f'{share:g} % of a core'


def _content(groups: Sequence[Sequence[BudgetRun]], values: Values) -> dict[str, Any]:
    return {
        'groups': [
            {
                'configuration': group[0].configuration,
                'real_time_factor': group[0].real_time_factor,
                'smallest_core_percent': _smallest(group),
                'runs': [asdict(one) for one in group],
            }
            for group in groups
        ],
        'arguments': dict(values),
        'machine': describe_machine(),
    }


def _smallest(group: Sequence[BudgetRun]) -> float | None:
    return smallest_that_walks({one.core_percent: one.walks for one in group})


def _verdict(group: Sequence[BudgetRun]) -> str:
    run, smallest = group[0], _smallest(group)
    where = f'{run.configuration} at real-time factor {run.real_time_factor:g}'
    if smallest is None:
        return f'{where}: does not walk here even without a quota, so nothing can be said'
    failing = [one.core_percent for one in group if one.core_percent < smallest]
    below = (
        f'{_share_text(max(failing))} is too little' if failing else 'nothing smaller was tried'
    )
    return f'{where}: still walks with {_share_text(smallest)}; {below}'


COLUMNS: tuple[Column[BudgetRun], ...] = (
    Column('CPU per action', 'ms', lambda one: one.cpu_ms_per_action, digits=2),
    Column('missed', '%', lambda one: 100 * one.missed_share, digits=1),
    Column('safe', '%', lambda one: 100 * one.safe_share, digits=1),
    Column('response p50', 'ms', lambda one: one.response_ms_p50, digits=1),
    Column('p99', 'ms', lambda one: one.response_ms_p99, digits=1),
    Column('throttled', 's', lambda one: (one.throttling or _NONE)['throttled_sec'], digits=1),
    Column('return', '', lambda one: one.return_mean, digits=0),
    Column('kept', '%', lambda one: 100 * one.return_kept, digits=0),
    Column('speed', 'm/s', lambda one: one.mean_speed_m_per_s, digits=2),
    Column('ended early', '', lambda one: one.falls, digits=0),
)


def _print_table(console: Console, group: Sequence[BudgetRun], *, keep: float) -> None:
    first = group[0]
    rows = {
        f'{_share_text(one.core_percent)}: {"walks" if one.walks else "does not walk"}': one
        for one in group
    }
    table = runs_table(
        rows,
        COLUMNS,
        title=f'{first.configuration}, real-time factor {first.real_time_factor:g}, '
        f'{len(first.returns)} episodes',
        note=f'walks: keeps {keep:.0%} of the speed without a quota, and at most half of the '
        f'episodes end early',
    )
    console.print(table)


EXPERIMENT = Experiment(
    arguments=(
        Setting('shares', '50,10,2', 'shares of a core to try, in percent'),
        Setting('real_time_factors', '1,5', 'real-time factors to run each at'),
        Setting('configurations', ','.join(CONFIGURATIONS), 'which of both to run'),
        Setting('search', 3, 'further shares to try, to find the smallest one', minimum=0),
        Setting(
            'keep', 0.9, 'share of the speed without a quota that counts as walking', minimum=0.0
        ),
        Setting('episodes', 2, 'episodes of each run', minimum=1),
        *system_arguments(*_FROM_SIM, 'model', 'recipe'),
        Setting('reuse', False, 'take equal runs from the bags of an earlier call'),
        Setting('output', '', 'folder for the results; empty for results/'),
    ),
    run=run_envelope,
)
