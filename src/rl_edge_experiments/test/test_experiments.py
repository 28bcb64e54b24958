"""The arithmetic of the experiments, and the files they write."""

import dataclasses
import json
import math
import re
import subprocess

import numpy as np
import pytest

from rl_edge_bringup.models import ChosenModel
from rl_edge_core.errors import StorageError
from rl_edge_core.results import result_folder, write_json
from rl_edge_experiments import clip
from rl_edge_experiments.demo import verdict
from rl_edge_experiments.experiment import with_environment_of


class Run:
    """What the verdict reads of a recorded run."""

    def __init__(self, *returns):
        self.robot = self
        self.counted = [Episode(value) for value in returns]


class Episode:
    def __init__(self, episode_return):
        self.episode_return = episode_return


@pytest.fixture
def model(tmp_path):
    return ChosenModel(tmp_path, 'int8', 'litert', 'best/actor_int8.tflite', 'abc')


def test_a_verdict_needs_more_than_a_few_episodes(model):
    (line,) = verdict(Run(100.0, 110.0), Run(90.0, 99.0), model)

    assert line == (
        'Return, compressed minus uncompressed, same seeds: -10.5, 90 % kept; 2 episodes are too '
        'few for an interval.'
    )


def test_a_verdict_says_when_the_episodes_cannot_tell(model):
    noise = np.random.default_rng(0).normal(0.0, 50.0, 10)

    (line,) = verdict(Run(*[500.0] * 10), Run(*(500.0 + noise)), model)

    assert re.fullmatch(
        r'Return, compressed minus uncompressed, same seeds: [+-]\d+\.\d \[-\d+, \+\d+\] '
        r'\(95 %, 10 episodes\), \d+ % kept\. They show no difference\.',
        line,
    )


@pytest.mark.parametrize(
    ('count', 'says'),
    [(10, 'So few episodes are an indication only.'), (30, 'They differ by more than chance.')],
)
@pytest.mark.parametrize(('full', 'share'), [(-100.0, ', 80 % kept'), (0.0, '')])
def test_a_verdict_has_a_share_of_negative_returns_and_none_of_nothing(
    model, full, share, count, says
):
    (line,) = verdict(Run(*[full] * count), Run(*[full - 20.0] * count), model)

    assert line == (
        'Return, compressed minus uncompressed, same seeds: -20.0 [-20, -20] '
        f'(95 %, {count} episodes){share}. {says}'
    )


def test_a_verdict_names_the_report_of_the_model(model):
    report = {'recipes': [{'recipe': 'int8', 'chosen_by': None, 'confirmed': {
        'return_kept': {'estimate': 0.99, 'low': 0.973, 'high': 1.008, 'count': 1000},
    }}]}  # fmt: skip
    (model.folder / 'report').mkdir()
    (model.folder / 'report' / 'report.json').write_text(json.dumps(report))

    *_, line = verdict(Run(1.0), Run(1.0), model)

    assert line == 'Over 1,000 episodes it keeps 99.0 % [97.3 %, 100.8 %] of the return.'


def test_a_verdict_has_the_evaluation_of_the_models_card(model, monkeypatch):
    monkeypatch.chdir(model.folder)
    card = model.folder / 'card.md'
    card.write_text(
        '| evaluation episodes | return | speed |\n|---|---|---|\n'
        '| `actor_float32.tflite`, 1,000 | 7,528 [7,497, 7,554] | 7.12 m/s |\n'
        '| `actor_int8.tflite`, 1,000 | 7,516 [7,484, 7,543] | 7.11 m/s |\n'
    )
    *_, line = verdict(Run(1.0), Run(1.0), model)
    assert line == (
        'Over 1,000 episodes (card.md): uncompressed 7,528 [7,497, 7,554], '
        'compressed 7,516 [7,484, 7,543].'
    )

    card.write_text(card.read_text().replace('int8', 'int4'))
    *_, line = verdict(Run(1.0), Run(1.0), model)
    assert line == 'card.md has more episodes.'


def test_experiments_run_in_the_environment_of_the_model(model):
    made_for = dataclasses.replace(
        model, environment_id='Pendulum-v1', environment_arguments='{"g": 9.0}'
    )
    values = {argument.name: argument.default for argument in clip.EXPERIMENT.arguments}
    assert with_environment_of(made_for, values)['environment_id'] == 'Pendulum-v1'
    assert with_environment_of(made_for, values)['environment_arguments'] == '{"g": 9.0}'
    asked = {**values, 'environment_id': 'mine:Pendulum-v2'}
    assert with_environment_of(made_for, asked)['environment_id'] == 'mine:Pendulum-v2'


def test_a_verdict_says_what_cannot_be_compared(model):
    (line,) = verdict(Run(1.0, 2.0), Run(1.0), model)

    assert line == '2 and 1 whole episodes: returns cannot be compared'


def test_json_has_null_where_a_value_is_not_finite(tmp_path):
    path = tmp_path / 'summary.json'

    write_json(path, {'a': math.nan, 'b': [1.0, math.inf], 'c': {'d': 2}})

    assert json.loads(path.read_text()) == {'a': None, 'b': [1.0, None], 'c': {'d': 2}}


def test_a_results_folder_below_a_file_is_an_error(tmp_path):
    (tmp_path / 'results').write_text('')

    with pytest.raises(StorageError, match='a file'):
        result_folder(tmp_path / 'results' / 'demo')


def test_a_full_disk_is_an_error(tmp_path):
    mount = ['mount', '-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip('mounting a small disk needs root')
    try:
        with pytest.raises(StorageError, match='the disk is full'):
            result_folder(tmp_path / 'demo')
    finally:
        subprocess.run(['umount', str(tmp_path)], check=True)
