"""Run the study's experiment and write it as a page and as figures."""

import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rl_edge_bringup.locations import models_folder, results_folder
from rl_edge_bringup.models import (
    CONFIGURATIONS,
    DEFAULT_MODEL,
    ChosenModel,
    ModelRequest,
    choose_model,
    model_names,
)
from rl_edge_bringup.systems import policy_arguments, sim_arguments
from rl_edge_core.artifact import Manifest, load_manifest
from rl_edge_core.errors import ConfigurationError
from rl_edge_core.files import write_atomically
from rl_edge_core.parameters import Setting, Values, to_text
from rl_edge_core.results import describe_machine, result_folder, write_json
from rl_edge_eval.output.columns import make_console
from rl_edge_experiments.experiment import Experiment
from rl_edge_experiments.lists import words_of
from rl_edge_experiments.recorded_run import RecordedRun, RunRequest, record_run
from rl_edge_experiments.report.claims import Claim, judge_claims
from rl_edge_experiments.report.figures import (
    ALONE,
    LOADED,
    Pair,
    Side,
    acting_figures,
)
from rl_edge_experiments.report.page import render_page, rows_of
from rl_edge_experiments.report.pictures import write_clip, write_picture

PAGE_FILE, SUMMARY_FILE = 'index.html', 'summary.json'
STUDY_MODELS = ('actor_critic', 'ppo', 'best')
COMPRESSED, FULL = CONFIGURATIONS
_FLOAT_RECIPE = 'float32'
_FOLDER = DEFAULT_MODEL.split('/', maxsplit=1)[0]
_CLIP_SEC = 5.0
_FROM_SIM = ('environment_id', 'environment_arguments', 'seed')


def run_report(values: Values) -> int:
    """Run everything that was asked for, write the page and the summary; return 0."""
    console = make_console(data_on_stdout=False)
    names, missing = models_of(str(values['models']))
    chosen = {
        (name, configuration): _choose(name, configuration, values)
        for name, configuration in itertools.product(names, (FULL, COMPRESSED))
    }
    folder = result_folder(Path(str(values['output'] or results_folder() / 'report')).expanduser())
    for line in missing:
        console.print(f'note: {line}')
    pairs = []
    for name in names:
        run = _Runs(name, values, folder, console)
        full, compressed = (run.side(chosen[name, which]) for which in (FULL, COMPRESSED))
        float_bytes = _float_bytes(full.model)
        pair = Pair(_short(name, names), full, compressed, float_bytes)
        console.print(_table(pair))
        pairs.append(pair)
    claims = judge_claims(pairs, cores=os.cpu_count() or 1)
    _write(folder, pairs, claims, values=values, missing=missing)
    console.print(_claims_table(claims))
    console.print(f'written: {folder / PAGE_FILE}, {folder / SUMMARY_FILE}', soft_wrap=True)
    return 0


def models_of(text: str) -> tuple[tuple[str, ...], list[str]]:
    """Return the models to run and a line for each of the study's that is not there.

    ``text`` names them; empty stands for all that are shipped for Ant-v5, the study's first.
    """
    if text:
        return words_of('models', text), []
    there = [name.partition('/')[2] for name in model_names() if name.startswith(f'{_FOLDER}/')]
    names = [name for name in STUDY_MODELS if name in there]
    names += [name for name in there if name not in names]
    if not names:
        raise ConfigurationError(
            f'{models_folder() / _FOLDER} has no model: name artifacts with models:=A,B'
        )
    missing = [
        f'{_FOLDER}/{name} is missing: there is no such model, so it is left out'
        for name in STUDY_MODELS
        if name not in names
    ]
    return tuple(f'{_FOLDER}/{name}' for name in names), missing


class _Runs:
    """The runs of one model."""

    def __init__(self, name: str, values: Values, folder: Path, console: Console) -> None:
        self._name, self._values, self._console = name, values, console
        self._folder = folder / 'runs' / name.strip('/').replace('/', '-')

    def side(self, model: ChosenModel) -> Side:
        """Run one configuration: whole episodes in lockstep, then in real time."""
        configuration = FULL if model.recipe == 'keras' else COMPRESSED
        quality = self._record(configuration, 'lockstep', self._quality())
        period_sec = _manifest(model).environment.control_period_sec
        acting = self._acting(period_sec)
        runs = {ALONE: self._record(configuration, ALONE, acting)}
        load = int(self._values['load'])
        if load:
            runs[LOADED] = self._record(configuration, LOADED, acting, load=load)
        return Side(
            model=model,
            file_bytes=_manifest(model).entry(model.recipe).bytes,
            quality_run=quality,
            acting_runs=runs,
            acting={
                name: acting_figures(run, picture_period_sec=period_sec)
                for name, run in runs.items()
            },
        )

    def _quality(self) -> dict[str, str]:
        return {'mode': 'lockstep', 'episodes': to_text(self._values['episodes'])}

    def _acting(self, period_sec: float) -> dict[str, str]:
        values = self._values
        arguments = {'mode': 'realtime', 'render': str(values['render'])}
        if values['render'] == 'topic':
            arguments |= {
                'record_topics': 'default,image',
                'render_rate_hz': f'{1.0 / period_sec:g}',  # each step is a picture
                'render_width': to_text(values['picture_width']),
                'render_height': to_text(values['picture_height']),
            }
        return arguments

    def _record(
        self, configuration: str, what: str, arguments: dict[str, str], *, load: int = 0
    ) -> RecordedRun:
        values = self._values
        shared = {key: to_text(values[key]) for key in _FROM_SIM}
        shared |= {
            'configuration': configuration,
            'model': self._name,
            'recipe': str(values['recipe']) if configuration == COMPRESSED else '',
        }
        request = RunRequest(
            self._folder / f'{configuration}-{what}',
            {**shared, **arguments},
            seconds=0.0 if what == 'lockstep' else float(values['seconds']),
            load=load,
        )
        with self._console.status(f'{self._name}, {configuration}, {what}'):
            run = record_run(request, reuse=bool(values['reuse']))
        self._console.print(f'{self._name}, {configuration}, {what}: recorded {run.bag}')
        return run


def _choose(name: str, configuration: str, values: Values) -> ChosenModel:
    return choose_model(
        ModelRequest(
            configuration=configuration,
            model=name,
            recipe=str(values['recipe']) if configuration == COMPRESSED else '',
            environment_id=str(values['environment_id']),
            environment_arguments=str(values['environment_arguments']),
        )
    )


def _manifest(model: ChosenModel) -> Manifest:
    return load_manifest(model.folder)


def _float_bytes(model: ChosenModel) -> int:
    manifest = _manifest(model)
    return manifest.entry(_FLOAT_RECIPE).bytes if _FLOAT_RECIPE in manifest.recipes else 0


def _short(name: str, names: Sequence[str]) -> str:
    short = Path(name).name
    return short if [Path(one).name for one in names].count(short) == 1 else name


def _write(
    folder: Path,
    pairs: Sequence[Pair],
    claims: Sequence[Claim],
    *,
    values: Values,
    missing: Sequence[str],
) -> None:
    machine = describe_machine()
    images = {pair.name: _images(folder, pair) for pair in pairs}
    page = render_page(
        pairs,
        claims,
        missing=missing,
        introduction=_introduction(values),
        machine=machine,
        images=images,
    )
    write_atomically(folder / PAGE_FILE, page)
    content: dict[str, Any] = {
        'models': {pair.name: pair.to_mapping() for pair in pairs},
        'claims': [claim.to_mapping() for claim in claims],
        'missing': list(missing),
        'arguments': dict(values),
        'machine': machine,
    }
    write_json(folder / SUMMARY_FILE, content)


def _images(folder: Path, pair: Pair) -> list[Path]:
    name = pair.name.strip('/').replace('/', '-')
    picture, clip = folder / f'{name}.png', folder / f'{name}.gif'
    write_picture(picture, pair)
    return [picture, clip] if write_clip(clip, pair, seconds=_CLIP_SEC) else [picture]


def _introduction(values: Values) -> list[str]:
    load = int(values['load'])
    beside = f', and again with {load} busy processes beside it' if load else ''
    rendering = 'rendering on' if values['render'] == 'topic' else 'nothing rendered'
    return [
        f'{values["environment_id"]}: returns and distances over {values["episodes"]} episodes in '
        f'lockstep, seeds from {values["seed"]}, the same for all. CPU, memory, latency and '
        f'smoothness while the policy acts for {values["seconds"]} s in real time, {rendering}, '
        f'alone{beside}. Every run was recorded and every figure comes from its bag.',
        'The pictures of the clips are those that were rendered during the runs, shown when they '
        'arrived. Full is the Keras actor-critic, compressed its TFLite actor.',
    ]


def _table(pair: Pair) -> Table:
    table = Table(title=pair.name, title_justify='left')
    for heading in ('', 'full', 'compressed', 'full / compressed'):
        table.add_column(heading, justify='right' if heading else 'left')
    for row in rows_of(pair):
        table.add_row(*row.cells)
    return table


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


REPORT = Experiment(
    name='report',
    description="the study's experiment, recorded and evaluated from bags: a page and figures",
    arguments=(
        Setting(
            'models',
            '',
            f'artifacts, or names under models/, separated by commas; empty for all of '
            f'models/{_FOLDER}',
        ),
        Setting('episodes', 10, 'whole episodes of each policy, in lockstep', minimum=1),
        *(argument for argument in sim_arguments() if argument.name in _FROM_SIM),
        *(argument for argument in policy_arguments() if argument.name == 'recipe'),
        Setting('seconds', 20.0, 'how long each acts in real time', minimum=4.0),
        Setting('load', 2, 'busy processes beside it in the second run; 0 for none', minimum=0),
        Setting('render', 'topic', 'whether pictures are drawn', choices=('topic', 'none')),
        Setting('picture_width', 240, 'of the pictures, in pixels', minimum=16),
        Setting('picture_height', 180, 'of the pictures, in pixels', minimum=16),
        Setting('reuse', False, 'take equal runs from the bags of an earlier call'),
        Setting('output', '', 'folder for the results; empty for results/report'),
    ),
    run=run_report,
)
