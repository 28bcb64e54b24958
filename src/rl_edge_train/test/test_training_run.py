"""Whole runs of the trainer with real simulation processes: resuming, stopping, failing."""

import dataclasses
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from rl_edge_core.configuration import from_mapping, to_mapping, to_yaml
from rl_edge_core.errors import ConfigurationError, StorageError
from rl_edge_train import checkpoint
from rl_edge_train.__main__ import main
from rl_edge_train.algorithms.registry import agent_config, make_agent
from rl_edge_train.assembly import assemble
from rl_edge_train.environments import EnvironmentConfig, spec_of
from rl_edge_train.metrics import CsvLog
from rl_edge_train.run_config import RunConfig, load_preset, preset_names
from rl_edge_train.runner import TrainingError
from rl_edge_train.train_command import _overridden

# Compiling and starting processes take their time on a machine with other work to do.
pytestmark = pytest.mark.timeout(900)

SETTINGS = {
    'sac': {
        'loop': {
            'environments': 2,
            'updates_per_iteration': 1,
            'batch_size': 8,
            'warmup_steps': 100,
            'replay_capacity': 300,
        },
        'agent': {'actor': {'widths': [8]}, 'critic': {'widths': [8]}},
    },
    'ppo': {
        'loop': {'environments': 2, 'rollout_length': 50},
        'agent': {
            'actor': {'widths': [8]},
            'critic': {'widths': [8]},
            'minibatches': 2,
            'policy_epochs': 2,
            'value_epochs': 2,
            'final_learning_rate_share': 0.1,
        },
    },
}


def config_for(algorithm, **changes):
    mapping = {
        'algorithm': algorithm,
        'total_steps': 800,
        'environment': {'environment_id': 'InvertedPendulum-v5'},
        'selection': {'every_steps': 300, 'episodes': 2, 'confirmations': 0},
        'checkpoint_period_sec': 1e9,
        'log_every_steps': 200,
        **SETTINGS.get(algorithm, {}),
        **changes,
    }
    return from_mapping(RunConfig, mapping)


def run(config, folder, *, resume=False, stop_at=None):
    runner = assemble(config, folder, seed=3)
    try:
        if resume:
            runner.resume()
        if stop_at:
            iterate = runner.loop.iterate

            def iterate_and_stop():
                report = iterate()
                if runner.loop.steps >= stop_at:
                    runner.request_stop()
                return report

            runner.loop.iterate = iterate_and_stop
        runner.run()
    finally:
        runner.close()


@pytest.fixture(scope='module')
def copy_of_run(tmp_path_factory):
    """Return what copies a run, whole or stopped, to a new folder; each run is made once."""

    @functools.cache
    def made(algorithm, stop_at):
        folder = tmp_path_factory.mktemp('runs') / 'run'
        run(config_for(algorithm), folder, stop_at=stop_at)
        return folder

    def copy_of_run(algorithm, folder, *, stop_at=None):
        shutil.copytree(made(algorithm, stop_at), folder)

    return copy_of_run


def figures(folder, *, without=('seconds', 'steps_per_second')):
    return [
        {name: value for name, value in row.items() if name not in without}
        for log in ('metrics.csv', 'evaluations.csv')
        for row in CsvLog(folder / log).rows()
    ]


@pytest.mark.parametrize('algorithm', SETTINGS)
def test_a_resumed_run_equals_one_that_was_never_stopped(algorithm, copy_of_run, tmp_path, capsys):
    copy_of_run(algorithm, tmp_path / 'whole')
    copy_of_run(algorithm, tmp_path / 'parts', stop_at=500)
    assert checkpoint.read_newest(tmp_path / 'parts' / 'checkpoints')[0].steps == 500
    run(config_for(algorithm), tmp_path / 'parts', resume=True)
    whole, parts = (
        checkpoint.read_newest(tmp_path / name / 'checkpoints')[0] for name in ('whole', 'parts')
    )
    assert whole.steps == parts.steps == 800
    for name, values in whole.arrays.items():
        np.testing.assert_array_equal(values, parts.arrays[name], err_msg=name)
    assert figures(tmp_path / 'whole') == figures(tmp_path / 'parts')
    assert (tmp_path / 'whole' / 'best' / 'policy.keras').exists()
    assert (tmp_path / 'whole' / 'learning_curve.png').exists()
    assert list((tmp_path / 'whole' / 'tensorboard').iterdir())
    assert 'resumed at 500 of 800 steps' in capsys.readouterr().out


UPDATED_WEIGHTS = """
if __name__ == '__main__':  # the environments' processes, which read this too, need no TensorFlow
    import hashlib, sys
    from pathlib import Path
    import numpy as np
    from rl_edge_core.configuration import from_mapping
    from rl_edge_train.assembly import assemble
    from rl_edge_train.run_config import RunConfig

    threads = {'learner_threads': int(sys.argv[1])}
    runner = assemble(from_mapping(RunConfig, CONFIG | threads), Path(sys.argv[2]), seed=3)
    width = runner.agent.layout.width
    rows = np.random.default_rng(0).normal(size=(4, 256, width)).astype(np.float32)
    runner.agent.update(rows)
    weights = b''.join(weight.numpy().tobytes() for weight in runner.agent.actor.weights)
    runner.close()
    print(hashlib.sha256(weights).hexdigest())
"""


def test_threads_change_nothing_of_what_is_learned(tmp_path):
    """Wide enough that TensorFlow shares the work out."""
    wide = {'actor': {'widths': [256, 256]}, 'critic': {'widths': [256, 256]}}
    settings = {'loop': SETTINGS['sac']['loop'], 'agent': wide}
    config = to_mapping(config_for('ddpg', **settings))  # compiled in half the time of sac
    program = tmp_path / 'update.py'
    program.write_text(f'CONFIG = {config!r}\n{UPDATED_WEIGHTS}')
    weights = {
        subprocess.run(
            [sys.executable, str(program), threads, str(tmp_path / threads)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ('1', '2')
    }
    assert len(weights) == 1


def test_threads_that_cannot_be_had_are_an_error(tmp_path):
    with pytest.raises(ConfigurationError, match='learner_threads is 0, must be at least 1'):
        assemble(config_for('sac', learner_threads=0), tmp_path, seed=3)
    tf.constant(1.0)  # TensorFlow has started
    with pytest.raises(ConfigurationError, match='TensorFlow has started in this process'):
        assemble(config_for('sac', learner_threads=3), tmp_path, seed=3)


def test_without_its_replay_file_a_run_resumes_and_says_so(copy_of_run, tmp_path, capsys):
    folder = tmp_path / 'run'
    copy_of_run('sac', folder, stop_at=500)
    shutil.rmtree(folder / 'replay')
    run(config_for('sac', total_steps=620), folder, resume=True)
    assert 'only 0 of 300 transitions of replay are left' in capsys.readouterr().out
    assert checkpoint.read_newest(folder / 'checkpoints')[0].steps == 620


def test_losses_that_explode_end_the_run_and_keep_the_last_checkpoint(copy_of_run, tmp_path):
    folder = tmp_path / 'run'
    copy_of_run('sac', folder, stop_at=500)
    runner = assemble(config_for('sac'), folder, seed=3)
    try:
        runner.resume()
        runner.agent.critic_variables[0].assign(runner.agent.critic_variables[0] * np.inf)
        with pytest.raises(TrainingError, match='became nan'):
            runner.run()
        with pytest.raises(TrainingError, match='not finite'):
            runner.checkpoint()
    finally:
        runner.close()
    assert checkpoint.read_newest(folder / 'checkpoints')[0].steps == 500


def test_a_changed_total_says_what_it_does_to_learning_rates(copy_of_run, tmp_path, capsys):
    folder = tmp_path / 'run'
    copy_of_run('ppo', folder)
    # At the end a tenth is left of 3e-4; of twice the steps half are to come: 0.55 of it.
    run(config_for('ppo', total_steps=1600), folder, resume=True, stop_at=900)
    said = capsys.readouterr().out
    assert 'policy_learning_rate goes from 3e-05 to 0.000165 (5.5 times)' in said
    rates = [float(row['policy_learning_rate']) for row in CsvLog(folder / 'metrics.csv').rows()]
    assert rates[3] == pytest.approx(3e-5)


def test_a_part_that_cannot_be_closed_leaves_no_other_open(tmp_path):
    runner = assemble(config_for('sac'), tmp_path, seed=3)
    workers = [
        *runner.loop.collector.environments._workers,
        *runner.evaluation_environments._workers,
    ]

    def full_disk():
        raise StorageError('the disk is full')

    runner.loop.close = full_disk
    with pytest.raises(TrainingError, match='what ended it'), runner:
        raise TrainingError('what ended it')
    assert not any(worker.is_alive() for worker in workers)
    with pytest.raises(StorageError, match='the disk is full'), runner:
        pass


def test_a_run_killed_before_its_first_checkpoint_starts_from_the_beginning(tmp_path, capsys):
    config = config_for('sac', total_steps=300)
    folder = tmp_path / 'run'
    (folder / 'replay').mkdir(parents=True)
    (folder / 'replay' / '000000.rows').write_bytes(b'left by a killed run')
    CsvLog(folder / 'metrics.csv').append({'steps': 200, 'episode_return': 9.0})
    (folder / 'config.yaml').write_text(to_yaml(config))
    (folder / 'run.json').write_text(json.dumps({'seed': 3, 'command': []}))
    assert main(['train', '--resume', str(folder)]) == 0
    assert 'starts from the beginning' in capsys.readouterr().out
    assert [row['steps'] for row in CsvLog(folder / 'metrics.csv').rows()] == ['200']
    assert 'finished' not in (folder / 'metrics.csv').read_text()
    run(config_for('sac', total_steps=320), folder, resume=True)
    assert '300 transitions of replay' in capsys.readouterr().out

    assert main(['train', '--resume', str(folder)]) == 0
    said = capsys.readouterr().out
    assert 'is finished' in said
    assert '--set total_steps=' in said


def started(folder, config):
    preset = folder.parent / 'preset.yaml'
    preset.write_text(to_yaml(config))
    command = [sys.executable, '-m', 'rl_edge_train', 'train', '--preset', str(preset)]
    return subprocess.Popen(
        [*command, '--seed', '3', '--out', str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_for_checkpoint(process, folder, *, timeout_sec=600.0):
    deadline = time.monotonic() + timeout_sec
    while not checkpoint.paths(folder / 'checkpoints'):
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline, 'no checkpoint appeared'
        time.sleep(0.05)


def test_a_killed_run_resumes_from_a_whole_checkpoint_and_hanging_up_writes_one(tmp_path):
    folder = tmp_path / 'run'
    config = config_for('sac', total_steps=10**7, checkpoint_period_sec=0.0)
    process = started(folder, config)
    wait_for_checkpoint(process, folder)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    killed_at = checkpoint.read_newest(folder / 'checkpoints')[0].steps
    run(config, folder, resume=True, stop_at=killed_at + 40)
    assert checkpoint.read_newest(folder / 'checkpoints')[0].steps == killed_at + 40
    steps = [int(row['steps']) for row in CsvLog(folder / 'metrics.csv').rows()]
    assert steps == sorted(set(steps))

    command = [sys.executable, '-m', 'rl_edge_train', 'train', '--resume', str(folder)]
    process = subprocess.Popen(
        [*command, '--set', 'checkpoint_period_sec=1e9'],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # also under nohup
    )
    said = ''
    while 'resumed at' not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    process.send_signal(signal.SIGHUP)
    rest = process.communicate(timeout=600)[0]
    assert process.returncode == 128 + signal.SIGHUP, said + rest
    assert f'continue with: rl_edge train --resume {folder}' in rest
    assert checkpoint.read_newest(folder / 'checkpoints')[0].steps >= killed_at + 40


STOPS = """
import os, signal
from rl_edge_train.train_command import _stop_on_signals

class Run:
    stopped = False
    def request_stop(self):
        self.stopped = True

run = Run()
received = _stop_on_signals(run)
for _ in range(2):
    os.kill(os.getpid(), signal.SIGTERM)
print(run.stopped, received)
"""


def test_the_two_signals_of_timeout_are_one_request_to_stop():
    done = subprocess.run(
        [sys.executable, '-c', STOPS], capture_output=True, text=True, check=True
    )

    assert done.stdout == 'True [15, 15]\n'


@pytest.mark.parametrize('preset', preset_names())
@pytest.mark.parametrize(
    ('environment_id', 'inputs'), [('Ant-v5', 27), ('InvertedPendulum-v5', 4), ('Reacher-v5', 10)]
)
def test_presets_fit_any_environment(preset, environment_id, inputs):
    config = load_preset(preset)
    spec = spec_of(EnvironmentConfig(environment_id))
    agent = make_agent(config.algorithm, spec, config.agent, seed=0)
    observation = np.zeros((1, spec.observation_size), np.float32)
    assert agent.act(observation, explore=False).action.shape == (1, spec.action_size)
    if config.agent.get('contact_forces') is False:
        assert agent.inputs == inputs


def test_contact_forces_are_left_out_by_their_names():
    config = agent_config('ppo', {'contact_forces': False})
    spec = dataclasses.replace(
        spec_of(EnvironmentConfig('InvertedPendulum-v5')),
        observation_names=('slider.position', 'hinge.angle', 'contact.a', 'contact.b'),
    )
    assert config.inputs_of(spec) == 2
    only = dataclasses.replace(spec, observation_names=tuple(f'contact.{i}' for i in range(4)))
    assert config.inputs_of(only) == 4
    assert agent_config('ppo', {}).inputs_of(spec) == 4


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--preset', 'sack', '--out', 'OUT'], 'study_ppo'),
        (['--preset', 'sac', '--out', 'OUT', '--set', 'agent.discont=1'], 'discount'),
        (['--preset', 'sac', '--out', 'OUT', '--set', 'totalsteps=1'], 'total_steps'),
        (['--preset', 'sac'], '--out'),
        (['--resume', 'OUT'], 'config.yaml'),
    ],
)
def test_wrong_arguments_are_errors_of_one_line(arguments, message, tmp_path, capsys):
    out = str(tmp_path / 'run')
    status = main(['train', *[out if a == 'OUT' else a for a in arguments]])
    error = capsys.readouterr().err
    assert status == 1
    assert message in error
    assert error.count('\n') == 1


def test_numbers_on_the_command_line_may_have_an_exponent():
    config = _overridden(config_for('sac'), ['agent.discount=9e-1', 'total_steps=7'])
    assert config.agent['discount'] == 0.9
    assert config.total_steps == 7


def test_a_folder_with_a_run_in_it_is_not_overwritten(tmp_path, capsys):
    (tmp_path / 'config.yaml').write_text('algorithm: sac\n')
    assert main(['train', '--preset', 'sac', '--out', str(tmp_path)]) == 1
    assert '--resume' in capsys.readouterr().err


def test_export_and_evaluate_the_policy_of_a_run(copy_of_run, tmp_path, capsys):
    folder, artifact = tmp_path / 'run', tmp_path / 'models' / 'pendulum'
    copy_of_run('ppo', folder)
    (folder / 'config.yaml').write_text(to_yaml(config_for('ppo')))
    (folder / 'run.json').write_text(json.dumps({'seed': 3, 'command': []}))
    assert main(['export', str(folder), '--out', str(artifact)]) == 0
    manifest = json.loads((artifact / 'manifest.json').read_text())
    assert manifest['name'] == 'models/pendulum'
    assert manifest['algorithm'] == 'ppo'
    assert manifest['network']['action_distribution'] == 'gaussian'
    assert {entry['recipe'] for entry in manifest['files']} == {'keras', 'float32', 'int8'}
    report = tmp_path / 'evaluation.json'
    model = str(artifact / 'actor_float32.tflite')
    assert main(['evaluate', model, '--episodes', '3', '--json', str(report)]) == 0
    printed = capsys.readouterr().out
    assert 'early_end_share' in printed
    assert 'models/pendulum/actor_float32.tflite (float32 on ' in printed
    assert '3 episodes, seeds 2000000 to 2000002' in printed
    figures_ = json.loads(report.read_text())
    assert figures_['first_seed'] == 2_000_000
    early = round(figures_['early_end_share']['estimate'] * 3)
    assert sum(figures_['termination_reasons'].values()) == early
    assert ('termination_reasons' in printed) == (early > 0)
    assert figures_['episode_return']['count'] == 3


def test_evaluating_nothing_is_a_clear_error(tmp_path: Path, capsys):
    assert main(['evaluate', str(tmp_path)]) == 1
    assert 'manifest.json' in capsys.readouterr().err
    with pytest.raises(ConfigurationError):
        load_preset('none')
