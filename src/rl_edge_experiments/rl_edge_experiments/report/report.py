"""Run the study's experiment and write it as a page and a summary."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rl_edge_bringup.models import DEFAULT_MODEL, ChosenModel
from rl_edge_core.artifact import load_manifest
from rl_edge_core.errors import ConfigurationError
from rl_edge_core.files import write_atomically
from rl_edge_core.model_files import model_names
from rl_edge_core.parameters import Setting, Values, to_text
from rl_edge_core.results import describe_machine, write_json
from rl_edge_core.wording import counted
from rl_edge_eval.output.columns import make_console, text_table
from rl_edge_experiments import experiment
from rl_edge_experiments.plots import write_plot, write_video
from rl_edge_experiments.record_run import RecordedRun, RunRequest, record_run
from rl_edge_experiments.report.claims import Claim, check_claims
from rl_edge_experiments.report.page import HEADINGS, render_page
from rl_edge_experiments.report.sides import ALONE, LOADED, Pair, Side, measure

PAGE_FILE, SUMMARY_FILE = 'index.html', 'summary.json'
STUDY_MODELS = ('actor_critic', 'ppo', 'best')
_FLOAT_RECIPE = 'float32'
_FOLDER = DEFAULT_MODEL.split('/', maxsplit=1)[0]
_VIDEO_SEC = 5.0
_FROM_SIM = ('environment_id', 'environment_arguments', 'seed')


def run_report(values: Values) -> None:
    """Run everything that was asked for, write the page and the summary."""
    console = make_console(data_on_stdout=False)
    names, missing = models_of(str(values['models']))
    chosen = {}
    for name, configuration in itertools.product(names, (experiment.FULL, experiment.COMPRESSED)):
        model = experiment.choose(configuration, values, name)
        chosen[name, configuration] = model
        values = experiment.with_environment_of(model, values)  # the first one's is that of all
    folder = experiment.output_folder(values, 'report')
    for line in missing:
        console.print(f'note: {line}')
    pairs = []
    for name in names:
        full, compressed = (
            _side(configuration, chosen[name, configuration], name, values, folder, console)
            for configuration in (experiment.FULL, experiment.COMPRESSED)
        )
        manifest = load_manifest(full.model.folder)
        has_float = _FLOAT_RECIPE in manifest.recipes
        float_bytes = manifest.entry(_FLOAT_RECIPE).bytes if has_float else 0
        short = Path(name).name
        is_unique = [Path(one).name for one in names].count(short) == 1
        pair = Pair(short if is_unique else name, full, compressed, float_bytes)
        console.print(text_table(HEADINGS, pair.rows(), title=pair.name))
        pairs.append(pair)
    claims = check_claims(pairs)
    machine = describe_machine()
    page = render_page(
        pairs,
        claims,
        missing=missing,
        introduction=_introduction(values),
        machine=machine,
        images={pair.name: _write_images(folder, pair) for pair in pairs},
    )
    write_atomically(folder / PAGE_FILE, page)
    content = {
        'models': {pair.name: pair.to_mapping() for pair in pairs},
        'claims': [claim.to_mapping() for claim in claims],
        'missing': missing,
        'arguments': values,
        'machine': machine,
    }
    write_json(folder / SUMMARY_FILE, content)
    console.print(_claims_table(claims))
    console.print(f'wrote {folder / PAGE_FILE}, {folder / SUMMARY_FILE}', soft_wrap=True)


def models_of(text: str) -> tuple[tuple[str, ...], list[str]]:
    """Return the models to run and a line for each of the study's that is not there.

    ``text`` names them; empty stands for all that are shipped for Ant-v5, the study's first.
    """
    if text:
        return experiment.words_of('models', text), []
    there = [name.partition('/')[2] for name in model_names() if name.startswith(f'{_FOLDER}/')]
    names = [name for name in STUDY_MODELS if name in there]
    names += [name for name in there if name not in names]
    if not names:
        raise ConfigurationError(
            f'no model of {_FOLDER} is shipped here: name artifacts with models:=A,B'
        )
    missing = [
        f'{_FOLDER}/{name} is missing: there is no such model, so it is left out'
        for name in STUDY_MODELS
        if name not in names
    ]
    return tuple(f'{_FOLDER}/{name}' for name in names), missing


def _side(
    configuration: str,
    model: ChosenModel,
    name: str,
    values: Values,
    folder: Path,
    console: Console,
) -> Side:
    """Run one configuration: whole episodes in lockstep, then in real time."""
    manifest = load_manifest(model.folder)
    period_sec = manifest.environment.control_period_sec
    shared = {key: to_text(values[key]) for key in _FROM_SIM} | {
        'configuration': configuration,
        'model': name,
        'recipe': experiment.recipe_of(configuration, values),
    }

    def record(what: str, arguments: dict[str, str], **how: Any) -> RecordedRun:
        runs = folder / 'runs' / name.strip('/').replace('/', '-')
        request = RunRequest(runs / f'{configuration}-{what}', shared | arguments, **how)
        with console.status(f'{name}, {configuration}, {what}'):
            run = record_run(request, reuse=bool(values['reuse']))
        console.print(f'{name}, {configuration}, {what}: recorded {run.bag}')
        return run

    quality = record('lockstep', {'mode': 'lockstep', 'episodes': to_text(values['episodes'])})
    arguments = {'mode': 'realtime', 'render': str(values['render'])}
    if values['render'] == 'topic':
        arguments |= {
            'record_topics': 'default,image',
            'render_rate_hz': f'{1.0 / period_sec:g}',  # an image of each step
            'render_width': to_text(values['picture_width']),
            'render_height': to_text(values['picture_height']),
        }
    seconds, load = float(values['seconds']), int(values['load'])
    runs = {ALONE: record(ALONE, arguments, seconds=seconds)}
    if load:
        runs[LOADED] = record(LOADED, arguments, seconds=seconds, load=load)
    return Side(
        model=model,
        file_bytes=manifest.entry(model.recipe).bytes,
        quality_run=quality,
        runs=runs,
        acting={what: measure(run, image_period_sec=period_sec) for what, run in runs.items()},
    )


def _write_images(folder: Path, pair: Pair) -> list[Path]:
    name = pair.name.strip('/').replace('/', '-')
    plot, video = folder / f'{name}.png', folder / f'{name}.gif'
    write_plot(plot, pair)
    return [plot, video] if write_video(video, pair, seconds=_VIDEO_SEC) else [plot]


def _introduction(values: Values) -> list[str]:
    load = int(values['load'])
    beside = f', and again with {load} busy processes beside it' if load else ''
    rendering = 'rendering on' if values['render'] == 'topic' else 'nothing rendered'
    episodes = counted(int(values['episodes']), 'episode')
    return [
        f'{values["environment_id"]}: returns and distances over {episodes} in '
        f'lockstep, seeds from {values["seed"]}, the same for all. CPU, memory, latency and '
        f'smoothness while the policy acts for {values["seconds"]} s in real time, {rendering}, '
        f'alone{beside}. Every run was recorded, and every number comes from its bag.',
        'The videos show the images that were rendered during the runs, when they arrived. Full '
        'is the Keras actor-critic, compressed its TFLite actor. ↑ higher is better, ↓ lower.',
    ]


def _claims_table(claims: Sequence[Claim]) -> Table:
    table = Table(title="the study's claims", title_justify='left')
    for heading in ('the study says', '', 'measured'):
        table.add_column(heading)
    for claim in claims:
        findings = '\n'.join(
            f'{model}: {finding.verdict}, {finding.figure}'
            for model, finding in claim.findings.items()
        )
        table.add_row(claim.text, claim.verdict, findings)
    return table


EXPERIMENT = experiment.Experiment(
    arguments=(
        Setting(
            'models',
            '',
            f'artifacts, or names under models/, separated by commas; empty for all of '
            f'models/{_FOLDER}',
        ),
        Setting('episodes', 10, 'whole episodes of each policy, in lockstep', minimum=1),
        *experiment.system_arguments(*_FROM_SIM, 'recipe'),
        Setting('seconds', 20.0, 'how long each acts in real time', minimum=4.0),
        Setting('load', 2, 'busy processes beside it in the second run; 0 for none', minimum=0),
        Setting('render', 'topic', 'whether images are rendered', choices=('topic', 'none')),
        Setting('picture_width', 240, 'of the images, in pixels', minimum=16),
        Setting('picture_height', 180, 'of the images, in pixels', minimum=16),
        Setting('reuse', False, 'take equal runs from the bags of an earlier call'),
        Setting('output', '', 'folder for the results; empty for results/report'),
    ),
    run=run_report,
)
