"""Both configurations on the same seeds, side by side: what compression costs and saves."""

import json
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from operator import attrgetter
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from rl_edge_bringup.models import ChosenModel
from rl_edge_core.configuration import to_mapping
from rl_edge_core.parameters import Setting, Values, to_text
from rl_edge_core.results import describe_machine, write_json
from rl_edge_core.statistics import difference_interval, kept_interval
from rl_edge_core.wording import counted
from rl_edge_eval.output.columns import (
    HIGHER,
    LOWER,
    Column,
    comparison_table,
    ratios_of,
    values_of,
)
from rl_edge_experiments.experiment import (
    COMPRESSED,
    FEWEST_EPISODES,
    FULL,
    Experiment,
    choose,
    output_folder,
    system_arguments,
    with_environment_of,
)
from rl_edge_experiments.plots import write_demo_plot
from rl_edge_experiments.record_run import RecordedRun, RunRequest, record_run

SUMMARY_FILE, PLOT_FILE = 'summary.json', 'comparison.png'
_FROM_SIM = ('environment_id', 'environment_arguments', 'seed', 'reward_shaping')
_ENOUGH_EPISODES = 30
"""From which on a bootstrap interval of a difference is about as wide as it should be."""
_FULL_FILES = ('policy.keras', 'actor_float32.tflite')
"""The full policy in a card's table, or the actor of it with which it agrees to rounding."""
_FIRST_ACTION_TIMEOUT_SEC = 300.0
"""A slow start is a result here, and no failure."""


def _mean(attribute: str) -> Callable[[RecordedRun], float]:
    def value_of(run: RecordedRun) -> float:
        summary = run.robot.summary
        return float(getattr(summary, attribute).estimate) if summary else float('nan')

    return value_of


_distance_m, _length = _mean('forward_distance_m'), _mean('episode_length')
_inference_p50, _inference_p99 = (attrgetter(f'robot.inference_us.{p}') for p in ('p50', 'p99'))
_response_p50, _response_p99 = (attrgetter(f'robot.response_us.{p}') for p in ('p50', 'p99'))
_first_action_sec = attrgetter('robot.first_action_sec')


def _peak_memory_mb(run: RecordedRun) -> float:
    return run.robot.node('policy').peak_memory_mb


def _cpu_ms(run: RecordedRun) -> float:
    return run.acting.node('policy').cpu_ms_per_step


QUALITY_COLUMNS: tuple[Column[RecordedRun], ...] = (
    Column('return', '', _mean('episode_return'), HIGHER, 1, 'return_mean', True),
    Column('forward distance', 'm', _distance_m, HIGHER, 2, 'forward_distance_m', True),
    Column('episode length', 'steps', _length, HIGHER, 0, 'episode_length_mean', True),
)
POLICY_COLUMNS: tuple[Column[RecordedRun], ...] = (
    Column('peak memory', 'MB', _peak_memory_mb, LOWER, 1, 'policy_memory_mb'),
    Column('CPU per action', 'ms', _cpu_ms, LOWER, 3, 'policy_cpu_ms_per_action'),
    Column('start to first action', 's', _first_action_sec, LOWER, 2, 'first_action_s'),
    Column('inference p50', 'us', _inference_p50, LOWER, 1, 'inference_us_p50'),
    Column('inference p99', 'us', _inference_p99, LOWER, 1, 'inference_us_p99'),
    Column('response p50', 'us', _response_p50, LOWER, 0, 'response_us_p50'),
    Column('response p99', 'us', _response_p99, LOWER, 0, 'response_us_p99'),
    Column('steps', '1/s', attrgetter('robot.steps_per_sec'), HIGHER, 0, 'steps_per_s'),
)
COLUMNS = (*QUALITY_COLUMNS, *POLICY_COLUMNS)


def run_demo(values: Values) -> None:
    """Run both configurations, print the table, write the summary and the plot.

    Raise StorageError, ConfigurationError or ArtifactError before anything runs when the folder
    can't be written or a model is not there; RlEdgeError when a node exits.
    """
    console = Console()
    folder = output_folder(values, 'demo')
    models = {name: choose(name, values) for name in (FULL, COMPRESSED)}
    values = with_environment_of(models[FULL], values)
    for name, model in models.items():
        console.print(f'{name}: {model.model_id}')
    if note := models[COMPRESSED].note:
        console.print(f'note: the model is {note}')
    episodes = counted(int(values['episodes']), 'episode')
    console.print(f'{episodes} each, seeds from {values["seed"]}, lockstep')
    runs = {name: _run(name, model, values, folder, console) for name, model in models.items()}
    summary = {
        'configurations': values_of(runs, COLUMNS),
        'ratios': ratios_of(runs[FULL], runs[COMPRESSED], COLUMNS),
        'ratios_are': f'{FULL} over {COMPRESSED}',
        # The share of the full policy's mean return, seeds paired.
        'return_kept': kept_interval(returns_of(runs[COMPRESSED]), returns_of(runs[FULL])),
        'early_ends': {name: early_ends(run) for name, run in runs.items()},
        'note': models[COMPRESSED].note,
        'arguments': values,
        'models': {name: model.to_mapping() for name, model in models.items()},
        'episodes': {
            name: [to_mapping(episode.result) for episode in run.robot.counted]
            for name, run in runs.items()
        },
        'lost_transitions': {name: run.robot.lost_transitions for name, run in runs.items()},
        'machine': describe_machine(),
    }
    write_json(folder / SUMMARY_FILE, summary)
    write_demo_plot(folder / PLOT_FILE, runs, note=note)
    columns = (*QUALITY_COLUMNS, *_early_end_columns(runs), *POLICY_COLUMNS)
    title = f'{values["environment_id"]}, {episodes}, the same seeds'
    console.print(
        comparison_table(runs, columns, title=title, note='↑ higher is better, ↓ lower is better')
    )
    for line in (note, *verdict(runs[FULL], runs[COMPRESSED], models[COMPRESSED])):
        if line:
            console.print(line, soft_wrap=True, highlight=False)
    console.print(f'wrote {folder / SUMMARY_FILE}, {folder / PLOT_FILE}', soft_wrap=True)


EXPERIMENT = Experiment(
    arguments=(
        Setting('episodes', 10, 'episodes of each configuration', minimum=1),
        *system_arguments(*_FROM_SIM, 'model', 'recipe'),
        Setting('output', '', 'folder for the results; empty for results/demo'),
    ),
    run=run_demo,
)


def _run(
    configuration: str, model: ChosenModel, values: Values, folder: Path, console: Console
) -> RecordedRun:
    arguments = {name: to_text(values[name]) for name in _FROM_SIM} | {
        'configuration': configuration,
        'model': str(model.folder),
        'recipe': model.recipe if configuration == COMPRESSED else '',
        'episodes': to_text(values['episodes']),
        'first_action_timeout_sec': str(_FIRST_ACTION_TIMEOUT_SEC),
    }
    bar = Progress(
        TextColumn(f'{configuration:<13}'),
        BarColumn(),
        TextColumn('episode {task.completed:.0f}/{task.total:.0f}'),
        TimeElapsedColumn(),
        console=console,
    )
    with bar:
        task = bar.add_task('', total=int(values['episodes']))
        return record_run(
            RunRequest(folder / configuration, arguments),
            on_episodes=lambda episodes: bar.update(task, completed=episodes),
        )


def returns_of(run: RecordedRun) -> list[float]:
    """Return the return of each episode, by seed."""
    return [episode.episode_return for episode in run.robot.counted]


def early_ends(run: RecordedRun) -> Counter[str]:
    """Return how many episodes the environment ended before their time limit, by reason."""
    return Counter(
        episode.termination_reason for episode in run.robot.counted if episode.result.ended_early
    )


def _early_end_columns(runs: Mapping[str, RecordedRun]) -> list[Column[RecordedRun]]:
    """Return a column for all early ends and one for each reason that there was."""

    def by(reason: str, run: RecordedRun) -> float:
        return float(early_ends(run)[reason])

    names = {'episodes ended early': lambda run: float(early_ends(run).total())}
    for run in runs.values():
        names |= {f'  {reason}': partial(by, reason) for reason in early_ends(run)}
    return [
        Column(name, '', value_of, LOWER, digits=0, is_difference=True)
        for name, value_of in names.items()
    ]


def verdict(full: RecordedRun, compressed: RecordedRun, model: ChosenModel) -> list[str]:
    """Return what the returns say about compression, in sentences."""
    before, after = returns_of(full), returns_of(compressed)
    count = len(before)
    if count != len(after) or not count:
        return [f'{len(before)} and {len(after)} whole episodes: returns cannot be compared']
    difference = difference_interval(after, before)
    change = f'{difference.estimate:+.1f}'
    kept = kept_interval(after, before)
    share = f', {100 * kept.estimate:.0f} % kept' if math.isfinite(kept.estimate) else ''
    text = f'Return, compressed minus uncompressed, same seeds: {change}'
    if count < FEWEST_EPISODES:
        text += f'{share}; {counted(count, "episode")} are too few for an interval.'
    else:
        text += (
            f' [{difference.low:+.0f}, {difference.high:+.0f}] (95 %, {count} episodes){share}. '
        )
        if difference.low <= 0.0 <= difference.high:
            text += 'They show no difference.'
        elif count < _ENOUGH_EPISODES:
            text += 'So few episodes are an indication only.'
        else:
            text += 'They differ by more than chance.'
    return [text, *_more_episodes(model)]


def _more_episodes(model: ChosenModel) -> list[str]:
    """Return what the files beside the model say about more episodes than a demo runs."""
    try:
        content = json.loads((model.folder / 'report' / 'report.json').read_text())
        (recipe,) = (one for one in content['recipes'] if one['recipe'] == model.recipe)
        kept = (recipe['confirmed'] or recipe['chosen_by'])['return_kept']
        share, low, high = (f'{100 * kept[key]:.1f} %' for key in ('estimate', 'low', 'high'))
        return [f'Over {kept["count"]:,} episodes it keeps {share} [{low}, {high}] of the return.']
    except (OSError, ValueError, KeyError, TypeError):
        card = model.folder / 'card.md'
        return _figures_of_card(card, Path(model.model_id).name) if card.is_file() else []


def _figures_of_card(card: Path, file: str) -> list[str]:
    """Return the evaluation that the model's card has of ``file`` and of the full policy."""
    text = card.read_text()
    rows = re.findall(r'^\| `([^`]+)`, ([\d,]+) \| ([^|]+?) \|', text, re.MULTILINE)
    returns = {name: (count, found) for name, count, found in rows}
    full = next((name for name in _FULL_FILES if name in returns), '')
    where = os.path.relpath(card)
    where = str(card) if where.startswith('..') else where
    if file not in returns or not full or returns[file][0] != returns[full][0]:
        return [f'{where} has more episodes.']
    return [
        f'Over {returns[full][0]} episodes ({where}): uncompressed {returns[full][1]}, '
        f'compressed {returns[file][1]}.'
    ]
