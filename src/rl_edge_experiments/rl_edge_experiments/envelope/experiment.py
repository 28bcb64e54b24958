"""The low-spec envelope: how small a computer may be for the policy still to walk."""

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rl_edge_bringup.locations import results_folder
from rl_edge_bringup.models import CONFIGURATIONS, ModelRequest, choose_model
from rl_edge_bringup.running_system import RunningSystem
from rl_edge_bringup.systems import policy_arguments, sim_arguments
from rl_edge_core.parameters import Setting, Values, to_text
from rl_edge_core.results import describe_machine, result_folder, write_json
from rl_edge_eval.output.columns import make_console
from rl_edge_experiments.cpu_quota import held_to, make_group, quota_of
from rl_edge_experiments.envelope.cells import (
    WHOLE,
    Cell,
    Judged,
    cell_of,
    judge,
    next_share,
    smallest_that_walks,
)
from rl_edge_experiments.experiment import Experiment
from rl_edge_experiments.lists import numbers_of, words_of
from rl_edge_experiments.recorded_run import (
    Conditions,
    Measured,
    RunRequest,
    record_run,
)

_FROM_SIM = ('environment_id', 'environment_arguments', 'seed')
_FROM_POLICY = ('model', 'recipe')


def run_envelope(values: Values) -> int:
    """Run all cells, search, write envelope.json, print the table; return 0."""
    console = make_console(data_on_stdout=False)
    configurations = words_of('configurations', str(values['configurations']), CONFIGURATIONS)
    factors = numbers_of(
        'real_time_factors', str(values['real_time_factors']), above=0.0, most=100.0
    )
    shares = numbers_of('shares', str(values['shares']), above=0.0, most=WHOLE)
    for share in shares:
        quota_of(share)
    make_group('rl_edge-probe').close()  # said now, and not after the first runs
    for configuration in configurations:
        choose_model(_request(configuration, values))
    folder = result_folder(Path(str(values['output'] or results_folder())).expanduser())
    groups = []
    for configuration, factor in itertools.product(configurations, factors):
        measure = _Measure(values, folder / 'envelope', configuration, factor, console)
        group = explore(measure, shares, values)
        groups.append(group)
        console.print(_table(group, values))
    write_json(folder / 'envelope.json', _content(groups, values))
    for group in groups:
        console.print(_verdict(group), soft_wrap=True)
    console.print(f'written: {folder / "envelope.json"}', soft_wrap=True)
    return 0


def explore(measure: '_Measure', shares: Sequence[float], values: Values) -> list[Judged]:
    """Measure the unlimited run, the shares, and what the search asks for."""
    keep = float(values['keep'])
    reference = measure(WHOLE)
    found = {WHOLE: judge(reference, reference, keep=keep)}
    waiting = [share for share in sorted(shares, reverse=True) if share != WHOLE]
    searches = int(values['search'])
    while waiting or searches > 0:
        if not waiting:
            share = next_share({key: one.walks for key, one in found.items()})
            if share is None:
                break
            waiting.append(float(f'{share:.2g}'))
            searches -= 1
            if waiting[0] in found:
                break
        share = waiting.pop(0)
        found[share] = judge(measure(share), reference, keep=keep)
    return [found[share] for share in sorted(found, reverse=True)]


class _Measure:
    """Measure cells of one configuration at one factor."""

    def __init__(
        self, values: Values, folder: Path, configuration: str, factor: float, console: Console
    ) -> None:
        self._values, self._folder, self._console = values, folder, console
        self._configuration, self._factor = configuration, factor

    def __call__(self, share: float) -> Cell:
        name = f'{self._configuration}, real-time factor {self._factor:g}, {_share_text(share)}'
        with self._console.status(name):
            run = record_run(
                self._request(share),
                conditions=_limited(share),
                reuse=bool(self._values['reuse']),
            )
        cell = cell_of(
            run,
            configuration=self._configuration,
            real_time_factor=self._factor,
            core_percent=share,
        )
        self._console.print(f'{name}: return {cell.return_mean:.0f}')
        return cell

    def _request(self, share: float) -> RunRequest:
        values = self._values
        arguments = {key: to_text(values[key]) for key in _FROM_SIM}
        arguments |= {
            'configuration': self._configuration,
            'model': str(values['model']),
            'recipe': str(values['recipe']) if self._configuration == CONFIGURATIONS[0] else '',
            'mode': 'realtime',
            'real_time_factor': str(self._factor),
            'episodes': str(values['episodes']),
        }
        folder = self._folder / f'{self._configuration}-x{self._factor:g}-{share:g}'
        return RunRequest(folder, arguments, settings={'core_percent': share})


def _limited(share: float) -> Conditions:
    @contextlib.contextmanager
    def limit(running: RunningSystem, measured: Measured) -> Iterator[None]:
        if share >= WHOLE:
            yield
            return
        with held_to(running.pid('policy'), share) as group:
            yield
            measured['throttling'] = group.read().to_mapping()

    return limit


def _request(configuration: str, values: Values) -> ModelRequest:
    return ModelRequest(
        configuration=configuration,
        model=str(values['model']),
        recipe=str(values['recipe']) if configuration == CONFIGURATIONS[0] else '',
        environment_id=str(values['environment_id']),
        environment_arguments=str(values['environment_arguments']),
    )


def _share_text(share: float) -> str:
    return 'no quota' if share >= WHOLE else f'{share:g} % of a core'


def _content(groups: Sequence[Sequence[Judged]], values: Values) -> dict[str, Any]:
    return {
        'groups': [
            {
                'configuration': group[0].cell.configuration,
                'real_time_factor': group[0].cell.real_time_factor,
                'smallest_core_percent': _smallest(group),
                'runs': [
                    {
                        **asdict(one.cell),
                        'return_kept': one.return_kept,
                        'speed_kept': one.speed_kept,
                        'walks': one.walks,
                    }
                    for one in group
                ],
            }
            for group in groups
        ],
        'arguments': dict(values),
        'machine': describe_machine(),
    }


def _smallest(group: Sequence[Judged]) -> float | None:
    return smallest_that_walks({one.cell.core_percent: one.walks for one in group})


def _verdict(group: Sequence[Judged]) -> str:
    cell, smallest = group[0].cell, _smallest(group)
    where = f'{cell.configuration} at real-time factor {cell.real_time_factor:g}'
    if smallest is None:
        return f'{where}: does not walk here even without a quota, so nothing can be said'
    failing = [one.cell.core_percent for one in group if one.cell.core_percent < smallest]
    below = (
        f'{_share_text(max(failing))} is too little' if failing else 'nothing smaller was tried'
    )
    return f'{where}: still walks with {_share_text(smallest)}; {below}'


def _table(group: Sequence[Judged], values: Values) -> Table:
    cell = group[0].cell
    table = Table(
        title=f'{cell.configuration}, real-time factor {cell.real_time_factor:g}',
        caption=f'walks: keeps {float(values["keep"]):.0%} of the speed without a quota, upright',
    )
    for heading in (
        *('quota', 'CPU ms an action', 'missed', 'safe', 'response ms p50 / p99'),
        *('throttled', 'return', 'kept', 'speed m/s', 'falls', 'walks'),
    ):
        table.add_column(heading, justify='right')
    for one in group:
        cell = one.cell
        held = cell.throttling
        table.add_row(
            '-' if held is None else f'{cell.core_percent:g} %, {held["period_us"] / 1e3:g} ms',
            f'{cell.cpu_ms_per_action:.2f}',
            f'{cell.missed_share:.1%}',
            f'{cell.safe_share:.1%}',
            f'{cell.response_ms_p50:.1f} / {cell.response_ms_p99:.1f}',
            '-'
            if held is None
            else f'{held["throttled_share"]:.0%}, {held["throttled_sec"]:.1f} s',
            f'{cell.return_mean:.0f}',
            f'{one.return_kept:.0%}',
            f'{cell.mean_speed_m_per_s:.2f}',
            f'{cell.falls} of {len(cell.returns)}',
            'yes' if one.walks else 'no',
        )
    return table


ENVELOPE = Experiment(
    name='envelope',
    description='the policy held to shares of a core: the smallest computer that still walks',
    arguments=(
        Setting('shares', '50,10,2', 'shares of a core to try, in percent'),
        Setting('real_time_factors', '1,5', 'real-time factors to run each at'),
        Setting('configurations', ','.join(CONFIGURATIONS), 'which of both to run'),
        Setting('search', 3, 'further shares to try, to find the smallest one', minimum=0),
        Setting(
            'keep', 0.9, 'share of the speed without a quota that counts as walking', minimum=0.0
        ),
        Setting('episodes', 2, 'episodes of each run', minimum=1),
        *(argument for argument in sim_arguments() if argument.name in _FROM_SIM),
        *(argument for argument in policy_arguments() if argument.name in _FROM_POLICY),
        Setting('reuse', False, 'take equal runs from the bags of an earlier call'),
        Setting('output', '', 'folder for the results; empty for results/'),
    ),
    run=run_envelope,
)
