"""Seeds and settings side by side: which trials there are, when one ends, and what is left."""

import argparse
import importlib.util
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rl_edge_core.errors import ConfigurationError
from rl_edge_train import sweep_command, sweep_trial
from rl_edge_train.__main__ import main
from rl_edge_train.metrics import CsvLog

# Trials are processes that load TensorFlow.
pytestmark = pytest.mark.timeout(900)


def arguments(out, **changes):
    given = {'preset': 'sac_small', 'seeds': '1,2', 'set': [], 'out': out, 'cluster': ''}
    return argparse.Namespace(**given | changes)


def evaluated(folder, *returns):
    log = CsvLog(folder / 'evaluations.csv')
    folder.mkdir(parents=True, exist_ok=True)
    for index, value in enumerate(returns, 1):
        log.append({'steps': 100 * index, 'episode_return': float(value)})
    return folder


def test_a_trial_per_seed_and_combination_of_values(tmp_path):
    given = ['agent.discount=0.97,0.98', 'agent.actor={widths: [8, 8]}', 'total_steps=1e3']
    trials = sweep_command._trials(arguments(tmp_path, set=given), tmp_path)
    assert [trial.setting for trial in trials] == [
        'agent.discount=0.97',
        'agent.discount=0.97',
        'agent.discount=0.98',
        'agent.discount=0.98',
    ]
    assert {Path(trial.folder).name for trial in trials} == {'seed_1', 'seed_2'}
    assert trials[0].command == (
        *('--preset', 'sac_small', '--seed', '1', '--set', 'agent.discount=0.97'),
        *('--set', 'agent.actor={"widths": [8, 8]}', '--set', 'total_steps="1e3"'),
    )


def test_a_folder_of_another_sweep_is_refused(tmp_path):
    sweep_command._check_same_sweep(
        tmp_path, sweep_command._trials(arguments(tmp_path, set=['total_steps=100']), tmp_path)
    )
    more = sweep_command._trials(
        arguments(tmp_path, seeds='1,2,3', set=['total_steps=100']), tmp_path
    )
    sweep_command._check_same_sweep(tmp_path, more)  # further seeds are no other sweep
    with pytest.raises(ConfigurationError, match='holds another sweep'):
        sweep_command._check_same_sweep(
            tmp_path, sweep_command._trials(arguments(tmp_path, set=['total_steps=200']), tmp_path)
        )


def test_a_trial_below_the_median_of_those_that_got_as_far_ends(tmp_path):
    others = [
        evaluated(tmp_path / 'a', 10, 50, 500),
        evaluated(tmp_path / 'b', 20, 30, 40),
        evaluated(tmp_path / 'c', 5, 40),
        evaluated(tmp_path / 'd', 99),  # has not got to step 200
    ]
    # Best returns of the others up to step 200 are 50, 30 and 40: the median is 40.
    assert 'median 3 others' in sweep_trial.below_median(
        evaluated(tmp_path / 'low', 39, 10), others
    )
    assert not sweep_trial.below_median(evaluated(tmp_path / 'high', 41, 10), others)
    assert not sweep_trial.below_median(evaluated(tmp_path / 'alone', 1), others[:1])


def test_a_folder_comes_back_from_a_node_without_its_replay(tmp_path):
    run = evaluated(tmp_path / 'run', 1.0)
    (run / 'checkpoints' / 'step_000000000100').mkdir(parents=True)
    (run / 'checkpoints' / 'step_000000000100' / 'state.json').write_text('{}')
    (run / 'replay').mkdir()
    (run / 'replay' / '000000.rows').write_bytes(b'large')
    sweep_trial.unpack_run(sweep_trial.pack_run(run), tmp_path / 'back')
    assert (tmp_path / 'back' / 'evaluations.csv').exists()
    assert (tmp_path / 'back' / 'checkpoints' / 'step_000000000100' / 'state.json').exists()
    assert not (tmp_path / 'back' / 'replay').exists()


def test_a_sweep_leaves_run_folders_a_table_and_a_picture_and_goes_on(tmp_path, capsys):
    out = tmp_path / 'sweep'
    settings = ['total_steps=240', 'selection.every_steps=120', 'selection.episodes=1']
    settings += ['selection.confirmations=0', 'loop.warmup_steps=100', 'log_every_steps=120']
    words = ['sweep', '--preset', 'sac_small', '--seeds', '1,2', '--out', str(out), '--slots', '2']
    words += [word for setting in settings for word in ('--set', setting)]
    assert main(words) == 0
    said = capsys.readouterr().out
    for seed in (1, 2):
        run = out / 'sac_small' / f'seed_{seed}'
        assert json.loads((run / 'run.json').read_text())['seed'] == seed
        assert f'{run}: finished' in said
    rows = CsvLog(out / 'sweep.csv').rows()
    assert (rows[0]['setting'], rows[0]['seeds'], rows[0]['steps']) == ('sac_small', '2', '240')
    assert (out / 'curves.png').read_bytes().startswith(b'\x89PNG')
    assert main(words) == 0
    assert '2 trials, 2 of them over already' in capsys.readouterr().out


def test_a_trial_that_fails_is_named_with_what_it_said(tmp_path, capsys):
    words = ['sweep', '--preset', 'sac_small', '--out', str(tmp_path), '--set', 'agent.discont=1']
    assert main(words) == 1
    said = capsys.readouterr().out
    assert 'failed' in said
    assert 'unknown discont' in said


@pytest.mark.parametrize('place', [[], ['--cluster', 'local']], ids=['processes', 'cluster'])
def test_ctrl_c_saves_the_trials_and_says_how_to_go_on(tmp_path, place):
    if place and importlib.util.find_spec('ray') is None:
        pytest.skip('the extra ray is not installed: tools/env --with ray')
    out = tmp_path / 'sweep'
    words = ['sweep', '--preset', 'sac_small', '--seeds', '1,2', '--slots', '1', *place]
    words += ['--set', 'selection.every_steps=400']  # its first evaluation comes early
    process = subprocess.Popen(
        [sys.executable, '-m', 'rl_edge_train', *words, '--out', str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    log = out / 'sac_small' / 'seed_1.log'
    while not (log.exists() and 'evaluation at' in log.read_text()):
        assert process.poll() is None
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 130, said
    assert 'go on with the same command' in said
    assert 'continue with' in log.read_text()
    assert not (out / 'sac_small' / 'seed_2').exists()


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (('--set', 'agent.discount.x=5'), 'discount is 0.98, has no fields'),
        (('--set', '=5'), "--set is '=5', must be KEY=VALUE"),
        (('--set', 'total_steps'), "--set is 'total_steps', must be KEY=VALUE"),
        (('--set', 'total_steps=-5'), 'total_steps is -5, must be 1 or more'),
        (('--set', 'selection.every_steps=0'), 'selection.every_steps is 0, must be 1 or more'),
        (('--preset', 'sacc'), "unknown preset 'sacc' (did you mean sac?)"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_before_anything_is_made(
    tmp_path, capsys, words, message
):
    out = tmp_path / 'run'
    assert main(['train', '--preset', 'sac_small', '--out', str(out), *words]) == 1
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_seeds_of_a_sweep_are_numbers_and_each_is_one_trial(tmp_path, capsys):
    words = ['sweep', '--preset', 'sac_small', '--out', str(tmp_path / 'sweep')]
    assert main([*words, '--seeds', '1,a']) == 1
    assert "--seeds has 'a', must be whole numbers" in capsys.readouterr().err
    assert main([*words, '--seeds', '1,1', '--set', 'total_steps=0']) == 1
    assert capsys.readouterr().out.startswith('1 trial, ')
