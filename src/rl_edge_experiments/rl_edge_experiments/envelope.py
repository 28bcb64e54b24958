"""The low-spec envelope: how small a computer may be for the policy still to walk."""

import contextlib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

from rich.console import Console

from rl_edge_bringup.running_system import RunningSystem
from rl_edge_bringup.systems import CONFIGURATIONS
from rl_edge_core.errors import RlEdgeError
from rl_edge_core.parameters import Setting, Values, to_text
from rl_edge_core.results import describe_machine, write_json
from rl_edge_core.statistics import share_kept
from rl_edge_core.wording import counted
from rl_edge_eval.metrics.series import ratio
from rl_edge_eval.output.columns import Column, make_console, rows_table
from rl_edge_experiments import experiment
from rl_edge_experiments.cpu_quota import held_to, make_group, quota_of
from rl_edge_experiments.observer import Observer
from rl_edge_experiments.record_run import RunRequest, record_run

NO_QUOTA = 100.0
"""Of a core, in percent: stands for no quota."""
SMALLEST_SHARE = 0.2
CLOSE_ENOUGH = 1.25
"""The search ends when the smallest share that walks is less than so many times one that does
not."""
_FROM_SIM = ('environment_id', 'environment_arguments', 'seed')


Run = dict[str, Any]
"""One run, a configuration at a real-time factor on a share of a core: its values by their keys
in envelope.json."""


def run_envelope(values: Values) -> None:
    """Run all budgets, search, write envelope.json, print the table."""
    console = make_console(data_on_stdout=False)
    configurations = experiment.words_of(
        'configurations', str(values['configurations']), CONFIGURATIONS
    )
    factors = experiment.numbers_of(
        'real_time_factors', str(values['real_time_factors']), above=0.0, most=100.0
    )
    shares = experiment.numbers_of('shares', str(values['shares']), above=0.0, most=NO_QUOTA)
    for share in shares:
        quota_of(share)
    make_group('rl_edge-probe').close()  # an error now, and not after the first runs
    for configuration in configurations:
        values = experiment.with_environment_of(experiment.choose(configuration, values), values)
    folder = experiment.output_folder(values)
    groups, verdicts = [], []
    for configuration, factor in itertools.product(configurations, factors):
        measure = partial(_measure, values, folder / 'envelope', console, configuration, factor)
        runs = explore(measure, shares, keep=float(values['keep']), search=int(values['search']))
        smallest = smallest_that_walks({one['core_percent']: one['walks'] for one in runs})
        groups.append(
            {
                'configuration': configuration,
                'real_time_factor': factor,
                'smallest_core_percent': smallest,
                'runs': runs,
            }
        )
        verdicts.append(_verdict(runs, smallest))
        _print_table(console, runs, keep=float(values['keep']))
    content = {'groups': groups, 'arguments': values, 'machine': describe_machine()}
    write_json(folder / 'envelope.json', content)
    for verdict in verdicts:
        console.print(verdict, soft_wrap=True)
    console.print(f'wrote {folder / "envelope.json"}', soft_wrap=True)


def explore(
    measure: Callable[[float], Run], shares: Sequence[float], *, keep: float, search: int
) -> list[Run]:
    """Measure the run without a quota, the shares, and what the search asks for.

    ``measure`` runs the policy on a share of a core, in percent.
    """
    reference = measure(NO_QUOTA)
    found = {NO_QUOTA: compare(reference, reference, keep=keep)}
    for share in sorted(set(shares) - {NO_QUOTA}, reverse=True):
        found[share] = compare(measure(share), reference, keep=keep)
    for _ in range(search):
        wanted = next_share({share: one['walks'] for share, one in found.items()})
        if wanted is None or (share := float(f'{wanted:.2g}')) in found:
            break
        found[share] = compare(measure(share), reference, keep=keep)
    return [found[share] for share in sorted(found, reverse=True)]


def _measure(
    values: Values, folder: Path, console: Console, configuration: str, factor: float, share: float
) -> Run:
    name = f'{configuration}, real-time factor {factor:g}, {_share_text(share)}'
    arguments = {key: to_text(values[key]) for key in _FROM_SIM} | {
        'configuration': configuration,
        'model': str(values['model']),
        'recipe': experiment.recipe_of(configuration, values),
        'mode': 'realtime',
        'real_time_factor': str(factor),
        'episodes': to_text(values['episodes']),
    }
    request = RunRequest(
        folder / f'{configuration}-x{factor:g}-{share:g}',
        arguments,
        settings={'core_percent': share},
    )
    conditions = partial(_limited, share=share)
    with console.status(name):
        run = record_run(request, conditions=conditions, reuse=bool(values['reuse']))
    robot, acting = run.robot, run.acting
    if robot.summary is None:
        raise RlEdgeError(f'{run.bag} has no whole episode: {"; ".join(run.metrics.notes)}')
    console.print(f'{name}: return {robot.summary.episode_return.estimate:.0f}')
    # Too late actions were answered as well.
    answered_steps = robot.steps - robot.actions.missed + robot.actions.late
    cpu_ms_per_step = acting.node('policy').cpu_ms_per_step
    return {
        'configuration': configuration,
        'real_time_factor': factor,
        'core_percent': share,
        'returns': [episode.episode_return for episode in robot.counted],
        'return_mean': robot.summary.episode_return.estimate,
        'forward_distance_m': robot.summary.forward_distance_m.estimate,
        'mean_speed_m_per_s': robot.mean_speed_m_per_s,
        'falls': robot.falls,
        'steps': robot.steps,
        'cpu_ms_per_action': cpu_ms_per_step * ratio(robot.steps, answered_steps),
        'missed_share': robot.missed_share,
        'safe_share': robot.safe_share,
        'response_ms_p50': acting.response_us.p50 / 1e3,
        'response_ms_p99': acting.response_us.p99 / 1e3,
        'throttling': run.conditions.get('throttling'),
    }


@contextlib.contextmanager
def _limited(policy: RunningSystem, _: Observer, *, share: float) -> Iterator[dict[str, Any]]:
    """Hold the policy to a share of a core; keep what the kernel did to it."""
    found: dict[str, Any] = {}
    if share >= NO_QUOTA:
        yield found
        return
    with held_to(policy.pid('policy'), share) as group:
        yield found
        found['throttling'] = group.read().to_mapping()


def compare(run: Run, reference: Run, *, keep: float) -> Run:
    """Add what a run keeps of one without a quota, and whether it walks.

    It does when it keeps ``keep`` of the speed, and at most half of its episodes end early. Where
    there is no distance the return decides. The reference itself may not walk, on a computer that
    misses deadlines anyway.
    """
    kept, speed = (
        float(share_kept(run[key], reference[key]))
        for key in ('return_mean', 'mean_speed_m_per_s')
    )
    upright = run['falls'] <= len(run['returns']) / 2
    walks = kept >= keep if math.isnan(speed) else speed >= keep and upright
    return {**run, 'return_kept': kept, 'speed_kept': speed, 'walks': walks}


def smallest_that_walks(walks_at: Mapping[float, bool]) -> float | None:
    """Return the smallest share that walks, None when none does.

    A larger one that does not is taken for chance: episodes end early now and then on any
    computer, but no policy walks on one that is too small.
    """
    return min((share for share, walks in walks_at.items() if walks), default=None)


def next_share(walks_at: Mapping[float, bool]) -> float | None:
    """Return the share to try next, None when the smallest that walks is known well enough.

    Half of it while nothing smaller was tried; else between it and the largest that does not,
    in the geometric middle. None also when nothing walks at all.
    """
    walks = smallest_that_walks(walks_at)
    if walks is None:
        return None
    failing = [share for share, fine in walks_at.items() if not fine and share < walks]
    if not failing:
        half = walks / 2.0
        return half if half >= SMALLEST_SHARE else None
    largest = max(failing)
    return math.sqrt(walks * largest) if walks / largest > CLOSE_ENOUGH else None


def _share_text(share: float) -> str:
    return 'no quota' if share >= NO_QUOTA else f'{share:g} % of a core'


def _verdict(runs: Sequence[Run], smallest: float | None) -> str:
    first = runs[0]
    where = f'{first["configuration"]} at real-time factor {first["real_time_factor"]:g}'
    if smallest is None:
        return f'{where}: does not walk here even without a quota, so nothing can be said'
    failing = [one['core_percent'] for one in runs if one['core_percent'] < smallest]
    below = (
        f'{_share_text(max(failing))} is too little' if failing else 'nothing smaller was tried'
    )
    return f'{where}: still walks with {_share_text(smallest)}; {below}'


def _throttled_sec(run: Run) -> float:
    return run['throttling']['throttled_sec'] if run['throttling'] else math.nan


COLUMNS: tuple[Column[Run], ...] = (
    Column('CPU per action', 'ms', itemgetter('cpu_ms_per_action'), digits=2),
    Column('missed', '%', lambda one: 100 * one['missed_share'], digits=1),
    Column('safe', '%', lambda one: 100 * one['safe_share'], digits=1),
    Column('response p50', 'ms', itemgetter('response_ms_p50'), digits=1),
    Column('p99', 'ms', itemgetter('response_ms_p99'), digits=1),
    Column('throttled', 's', _throttled_sec, digits=1),
    Column('return', '', itemgetter('return_mean'), digits=0),
    Column('kept', '%', lambda one: 100 * one['return_kept'], digits=0),
    Column('speed', 'm/s', itemgetter('mean_speed_m_per_s'), digits=2),
    Column('ended early', '', itemgetter('falls'), digits=0),
)


def _print_table(console: Console, runs: Sequence[Run], *, keep: float) -> None:
    first = runs[0]
    names = [
        f'{_share_text(one["core_percent"])}: {"walks" if one["walks"] else "does not walk"}'
        for one in runs
    ]
    title = (
        f'{first["configuration"]}, real-time factor {first["real_time_factor"]:g}, '
        f'{counted(len(first["returns"]), "episode")}'
    )
    note = (
        f'walks: keeps {keep:.0%} of the speed without a quota, and at most half of the '
        f'episodes end early'
    )
    console.print(rows_table(runs, COLUMNS, names=names, title=title, note=note))


EXPERIMENT = experiment.Experiment(
    arguments=(
        Setting('shares', '50,10,2', 'shares of a core to try, in percent'),
        Setting('real_time_factors', '1,5', 'real-time factors to run each at'),
        Setting('configurations', ','.join(CONFIGURATIONS), 'which of both to run'),
        Setting('search', 3, 'further shares to try, to find the smallest one', minimum=0),
        Setting(
            'keep', 0.9, 'share of the speed without a quota that counts as walking', minimum=0.0
        ),
        Setting('episodes', 2, 'episodes of each run', minimum=1),
        *experiment.system_arguments(*_FROM_SIM, 'model', 'recipe'),
        Setting('reuse', False, 'take equal runs from the bags of an earlier call'),
        experiment.OUTPUT,
    ),
    run=run_envelope,
)
