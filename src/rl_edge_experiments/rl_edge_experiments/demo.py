"""Both configurations on the same seeds, side by side: what compression cost and saved."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from rl_edge_bringup.locations import results_folder
from rl_edge_bringup.models import CONFIGURATIONS, ChosenModel, ModelRequest, choose_model
from rl_edge_bringup.systems import policy_arguments, sim_arguments
from rl_edge_core.configuration import to_mapping
from rl_edge_core.parameters import Setting, Values, to_text
from rl_edge_core.results import (
    describe_machine,
    result_folder,
    write_json,
)
from rl_edge_core.statistics import Interval, ratio_interval
from rl_edge_experiments.demo_picture import write_picture
from rl_edge_experiments.experiment import Experiment
from rl_edge_experiments.figures import comparison_table, ratios
from rl_edge_experiments.measured_run import MeasuredRun, measure_run

SUMMARY_FILE, PICTURE_FILE = 'summary.json', 'comparison.png'
COMPRESSED, FULL = CONFIGURATIONS
_FROM_SIM = ('environment_id', 'environment_arguments', 'seed', 'reward_shaping')
_FROM_POLICY = ('model', 'recipe')
_FIRST_ACTION_TIMEOUT_SEC = 300.0
"""A slow start is a result here, and no failure."""


def run_demo(values: Values) -> int:
    """Run both configurations, print the table, write the summary and the picture.

    Raise StorageError, ConfigurationError or ArtifactError before anything runs when the folder
    can't be written or a model is not there; RunFailedError when a node dies.
    """
    console = Console()
    folder = result_folder(Path(str(values['output'] or results_folder() / 'demo')).expanduser())
    models = {name: _model(name, values) for name in (FULL, COMPRESSED)}
    console.print(_announcement(models, values))
    runs = {
        name: _run(name, model, values, folder=folder, console=console)
        for name, model in models.items()
    }
    figures = {name: figures_of(run) for name, run in runs.items()}
    kept = return_kept(runs[FULL], runs[COMPRESSED])
    write_json(folder / SUMMARY_FILE, _summary(values, models, runs, figures, kept))
    note = models[COMPRESSED].note
    write_picture(folder / PICTURE_FILE, runs[FULL], runs[COMPRESSED], note=note)
    title = f'{values["environment_id"]}, {values["episodes"]} episodes, the same seeds'
    chance = (
        f'return kept {kept}, 95 % interval: falls weigh much in {kept.count} episodes, '
        f'docs/results.md has more of them'
    )
    captions = [line for line in (note, chance) if line]
    table = comparison_table(
        figures[FULL], figures[COMPRESSED], title=title, note='\n'.join(captions)
    )
    console.print(table)
    console.print(f'written: {folder / SUMMARY_FILE}, {folder / PICTURE_FILE}', soft_wrap=True)
    return 0


DEMO = Experiment(
    name='demo',
    description='full and compressed policy on the same seeds: what compression cost and saved',
    arguments=(
        Setting('episodes', 10, 'episodes of each configuration', minimum=1),
        *(argument for argument in sim_arguments() if argument.name in _FROM_SIM),
        *(argument for argument in policy_arguments() if argument.name in _FROM_POLICY),
        Setting('output', '', 'folder for the results; empty for results/demo'),
    ),
    run=run_demo,
)


def figures_of(run: MeasuredRun) -> dict[str, float]:
    """Return the figures of one configuration, keyed as in summary.json."""
    episodes = run.episodes
    return {
        'return_mean': float(np.mean([episode.episode_return for episode in episodes])),
        'forward_distance_m': float(np.mean([episode.forward_distance for episode in episodes])),
        'episode_length_mean': float(np.mean([episode.length for episode in episodes])),
        'policy_memory_mb': run.policy_memory_mb,
        'policy_cpu_ms_per_action': run.policy_cpu_ms_per_action,
        'first_action_s': run.first_action_sec,
        'inference_us_p50': float(np.nanquantile(run.inference_us, 0.5)),
        'inference_us_p99': float(np.nanquantile(run.inference_us, 0.99)),
        'response_us_p50': float(np.nanquantile(run.response_us, 0.5)),
        'response_us_p99': float(np.nanquantile(run.response_us, 0.99)),
        'steps_per_s': run.steps_per_sec,
    }


def return_kept(full: MeasuredRun, compressed: MeasuredRun) -> Interval:
    """Return the compressed policy's mean return over the full one's, seeds paired."""
    return ratio_interval(
        *([episode.episode_return for episode in run.episodes] for run in (compressed, full))
    )


def _model(configuration: str, values: Values) -> ChosenModel:
    recipe = str(values['recipe']) if configuration == COMPRESSED else ''
    return choose_model(
        ModelRequest(
            configuration=configuration,
            model=str(values['model']),
            recipe=recipe,
            environment_id=str(values['environment_id']),
            environment_arguments=str(values['environment_arguments']),
        )
    )


def _announcement(models: Mapping[str, ChosenModel], values: Values) -> str:
    lines = [f'{name}: {model.model_id}' for name, model in models.items()]
    if note := models[COMPRESSED].note:
        lines.append(f'note: the model is {note}')
    lines.append(f'{values["episodes"]} episodes each, seeds from {values["seed"]}, lockstep')
    return '\n'.join(lines)


def _run(
    configuration: str, model: ChosenModel, values: Values, *, folder: Path, console: Console
) -> MeasuredRun:
    episodes = int(values['episodes'])
    shared = {'namespace': f'demo{os.getpid()}', 'log_level': 'warn'}
    desktop = {name: to_text(values[name]) for name in _FROM_SIM}
    desktop |= {
        'episodes': str(episodes),
        'first_action_timeout_sec': str(_FIRST_ACTION_TIMEOUT_SEC),
        'output': str(folder / configuration / 'desktop'),
    }
    edge = {
        'configuration': configuration,
        'model': str(model.folder),
        'recipe': model.recipe if configuration == COMPRESSED else '',
        'output': str(folder / configuration / 'edge'),
    }
    bar = Progress(
        TextColumn(f'{configuration:<13}'),
        BarColumn(),
        TextColumn('episode {task.completed:.0f}/{task.total:.0f}, {task.fields[steps]} steps'),
        TimeElapsedColumn(),
        console=console,
    )
    with bar:
        task = bar.add_task('', total=episodes, steps=0)
        return measure_run(
            desktop={**desktop, **shared},
            edge={**edge, **shared},
            on_progress=lambda steps, done: bar.update(task, completed=done, steps=steps),
        )


def _summary(
    values: Values,
    models: Mapping[str, ChosenModel],
    runs: Mapping[str, MeasuredRun],
    figures: Mapping[str, Mapping[str, float]],
    kept: Interval,
) -> dict[str, Any]:
    return {
        'configurations': dict(figures),
        'ratios': ratios(figures[FULL], figures[COMPRESSED]),
        'ratios_are': f'{FULL} over {COMPRESSED}',
        'return_kept': kept.to_dict(),
        'note': models[COMPRESSED].note,
        'arguments': dict(values),
        'models': {name: model.to_mapping() for name, model in models.items()},
        'episodes': {
            name: [to_mapping(episode) for episode in run.episodes] for name, run in runs.items()
        },
        'lost_transitions': {name: run.lost_transitions for name, run in runs.items()},
        'machine': describe_machine(),
    }
