"""The low-spec envelope: how small a computer may be for the policy still to walk."""

import contextlib
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from rl_edge_bringup.arguments import Argument, Values, to_text
from rl_edge_bringup.experiments import Experiment
from rl_edge_bringup.experiments.cpu_quota import held_to, make_group, quota_of
from rl_edge_bringup.experiments.lists import numbers_of, words_of
from rl_edge_bringup.experiments.recorded_run import (
    Measured,
    RecordedRun,
    RunRequest,
    record_run,
)
from rl_edge_bringup.experiments.report.figures import mean_speed
from rl_edge_bringup.experiments.result_files import describe_machine, result_folder, write_json
from rl_edge_bringup.locations import results_folder
from rl_edge_bringup.models import CONFIGURATIONS, ModelRequest, choose_model
from rl_edge_bringup.running_system import RunningSystem
from rl_edge_bringup.systems.common import POLICY_ARGUMENTS, SIM_ARGUMENTS
from rl_edge_eval.output.tables import make_console

WHOLE = 100.0
"""Of a core, in percent: stands for no quota."""
SMALLEST_SHARE = 0.2
CLOSE_ENOUGH = 1.25
"""The search ends when the smallest share that walks is less than so many times one that does
not."""
_FROM_SIM = ('environment_id', 'environment_arguments', 'seed')
_FROM_POLICY = ('model', 'recipe')


@dataclass(frozen=True)
class Cell:
    """One run: a configuration at a real-time factor on a share of a core."""

    configuration: str
    real_time_factor: float
    core_percent: float
    """The quota; `WHOLE` for none."""
    returns: tuple[float, ...]
    return_mean: float
    forward_distance_m: float
    """Mean of the episodes; NaN where the environment has none."""
    mean_speed_m_per_s: float
    """Distance over simulated time."""
    falls: int
    steps: int
    cpu_ms_per_action: float
    """CPU time of the policy's process over the actions that it answered with."""
    missed_share: float
    """Control periods without the action that answers them."""
    safe_share: float
    """Steps on which the safe action stood in."""
    response_ms_p50: float
    response_ms_p99: float
    throttling: Mapping[str, Any] | None
    """What the kernel says of the quota; None without one."""


@dataclass(frozen=True)
class Judged:
    """A cell beside the unlimited one."""

    cell: Cell
    return_kept: float
    speed_kept: float
    """NaN where the environment has no distance."""
    walks: bool


def judge(cell: Cell, reference: Cell, *, keep: float) -> Judged:
    """Say whether a cell walks: it keeps ``keep`` of the reference's speed, and stays upright.

    That is: of its episodes at most half fall that do not fall in the reference, since single
    falls happen to policies without any quota. Where there is no distance the return decides.
    """
    kept = share_kept(cell.return_mean, reference.return_mean)
    speed = share_kept(cell.mean_speed_m_per_s, reference.mean_speed_m_per_s)
    upright = cell.falls - reference.falls <= len(cell.returns) / 2
    walks = kept >= keep if math.isnan(speed) else speed >= keep and upright
    return Judged(cell, kept, speed, walks)


def share_kept(value: float, reference: float) -> float:
    """Return how much of ``reference`` is left: 1 for all, also of a negative return."""
    if not math.isfinite(value) or not math.isfinite(reference) or reference == 0.0:
        return math.nan
    return 1.0 - (reference - value) / abs(reference)


def smallest_that_walks(judged: Mapping[float, bool]) -> float:
    """Return the smallest share from which on all larger ones walk; `WHOLE` without any."""
    smallest = WHOLE
    for share in sorted(judged, reverse=True):
        if not judged[share]:
            break
        smallest = share
    return smallest


def next_share(judged: Mapping[float, bool]) -> float | None:
    """Return the share to try next, None when the smallest that walks is known well enough.

    Half of it while nothing smaller was tried; else between it and the largest that does not,
    in the geometric middle.
    """
    walks = smallest_that_walks(judged)
    failing = [share for share, fine in judged.items() if not fine and share < walks]
    if not failing:
        half = walks / 2.0
        return half if half >= SMALLEST_SHARE else None
    largest = max(failing)
    return math.sqrt(walks * largest) if walks / largest > CLOSE_ENOUGH else None


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


def _limited(share: float):  # type: ignore[no-untyped-def]  # a context manager's maker
    @contextlib.contextmanager
    def limit(running: RunningSystem, measured: Measured) -> Iterator[None]:
        if share >= WHOLE:
            yield
            return
        with held_to(running.pid('policy'), share) as group:
            yield
            measured['throttling'] = group.read().to_mapping()

    return limit


def cell_of(
    run: RecordedRun, *, configuration: str, real_time_factor: float, core_percent: float
) -> Cell:
    """Return the figures of a run."""
    robot = run.robot
    episodes = [episode for episode in robot.episodes if episode.counts]
    steps = sum(episode.length for episode in episodes)
    missed = sum(episode.actions.missed for episode in episodes)
    late = sum(episode.actions.late for episode in episodes)
    answered = max(steps - missed + late, 1)
    return Cell(
        configuration=configuration,
        real_time_factor=real_time_factor,
        core_percent=core_percent,
        returns=tuple(episode.episode_return for episode in episodes),
        return_mean=float(np.mean([episode.episode_return for episode in episodes])),
        forward_distance_m=float(np.mean([episode.forward_distance_m for episode in episodes])),
        mean_speed_m_per_s=mean_speed(tuple(episodes), robot.control_period_sec),
        falls=sum(episode.ended_by == 'termination' for episode in episodes),
        steps=steps,
        cpu_ms_per_action=run.policy_cpu_ms_per_step * steps / answered,
        missed_share=missed / max(steps, 1),
        safe_share=sum(episode.actions.safe for episode in episodes) / max(steps, 1),
        response_ms_p50=robot.response_us.p50 / 1e3,
        response_ms_p99=robot.response_us.p99 / 1e3,
        throttling=run.measured.get('throttling'),
    )


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


def _smallest(group: Sequence[Judged]) -> float:
    return smallest_that_walks({one.cell.core_percent: one.walks for one in group})


def _verdict(group: Sequence[Judged]) -> str:
    cell, smallest = group[0].cell, _smallest(group)
    failing = [one.cell.core_percent for one in group if not one.walks]
    where = f'{cell.configuration} at real-time factor {cell.real_time_factor:g}'
    if smallest >= WHOLE:
        return f'{where}: of the shares tried none walks, {_share_text(max(failing))} included'
    below = f'{_share_text(max(failing))} is too little' if failing else 'nothing smaller failed'
    return f'{where}: {_share_text(smallest)} still walks; {below}'


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
        Argument('shares', '50,10,2', 'shares of a core to try, in percent'),
        Argument('real_time_factors', '1,5', 'real-time factors to run each at'),
        Argument('configurations', ','.join(CONFIGURATIONS), 'which of both to run'),
        Argument('search', 3, 'further shares to try, to find the smallest one', minimum=0),
        Argument(
            'keep', 0.9, 'share of the speed without a quota that counts as walking', minimum=0.0
        ),
        Argument('episodes', 2, 'episodes of each run', minimum=1),
        *(argument for argument in SIM_ARGUMENTS if argument.name in _FROM_SIM),
        *(argument for argument in POLICY_ARGUMENTS if argument.name in _FROM_POLICY),
        Argument('reuse', False, 'take equal runs from the bags of an earlier call'),
        Argument('output', '', 'folder for the results; empty for results/'),
    ),
    run=run_envelope,
)
