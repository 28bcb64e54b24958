"""What the comparison with Stable-Baselines3 makes of its runs."""

import dataclasses
import json
import os

import numpy as np
import pytest

from rl_edge_train.__main__ import main
from rl_edge_train.algorithms.registry import agent_config
from rl_edge_train.bench import ours
from rl_edge_train.bench.comparison import compare_learning, median_time_to, summarize_learning
from rl_edge_train.bench.task import LEARNING_TASKS, TASKS, LearningCurve, Task

TASK = Task('ppo', total_steps=30, evaluate_every=10, compared_at=(10, 30))


def curve(*returns, seconds=1.0):
    steps = [10 * (index + 1) for index in range(len(returns))]
    return LearningCurve(steps, [seconds * (i + 1) for i in range(len(returns))], list(returns))


def test_returns_are_compared_at_equal_steps_with_their_intervals():
    curves = {'ours': [curve(1, 2, 7), curve(3, 2, 7)], 'sb3': [curve(0, 0, 4), curve(0, 0, 6)]}
    first, last = summarize_learning(TASK, curves)['parity']
    assert (first['steps'], first['seeds'], first['ours']['mean'], first['sb3']['mean']) == (
        10,
        2,
        2.0,
        0.0,
    )
    assert last['ours'] == {'mean': 7.0, 'low': 7.0, 'high': 7.0}
    assert last['sb3'] == {'mean': 5.0, 'low': 4.0, 'high': 6.0}


def test_the_time_to_a_return_is_the_median_of_the_seeds():
    curves = [curve(900, 1000), curve(1100, 0, seconds=5.0), curve(0, 1500, seconds=2.0)]
    assert median_time_to(curves, 1000.0) == 4.0  # of 2, 5 and 4 s
    assert median_time_to(curves[:2], 1000.0) == 3.5
    assert median_time_to([curve(0, 0), *curves[:1]], 1000.0) is None  # half never got there


def test_a_comparison_goes_on_with_the_runs_that_are_missing(tmp_path):
    runs = []

    def run_side(side, task):
        runs.append((side, task.seed))
        if len(runs) == 4:
            raise KeyboardInterrupt
        return dataclasses.asdict(curve(1, 2, task.seed + 10 * (side == 'ours')))

    def compare(task=TASK, seeds=2):
        return list(compare_learning(task, seeds=seeds, folder=tmp_path, run_side=run_side))

    with pytest.raises(KeyboardInterrupt):
        compare()
    assert runs == [('ours', 1), ('sb3', 1), ('ours', 2), ('sb3', 2)]
    del runs[:3]
    results = compare()
    assert runs == [('sb3', 2), ('sb3', 2)]  # the one that broke off, and the same again
    assert [len(result['parity']) for result in results] == [2, 2, 2, 2]
    assert results[-1]['parity'][1]['ours']['mean'] == 11.5
    assert results[-1]['parity'][1]['sb3']['mean'] == 1.5
    # A file of other settings, or a damaged one, is no run of this comparison.
    (tmp_path / 'ppo_seed1_sb3.json').write_text('{')
    runs.clear()
    compare(dataclasses.replace(TASK, epochs=3), seeds=1)
    assert runs == [('ours', 1), ('sb3', 1)]


def test_a_seed_that_one_side_lacks_yet_does_not_count(tmp_path):
    def run_side(side, task):
        return dataclasses.asdict(curve(1, 2, 3))

    results = compare_learning(TASK, seeds=2, folder=tmp_path, run_side=run_side)
    counts = [[row['seeds'] for row in result['parity']] for result in results]
    assert counts == [[], [1, 1], [1, 1], [2, 2]]


@pytest.mark.parametrize('task', [*TASKS.values(), *LEARNING_TASKS.values()])
def test_the_task_is_said_in_the_words_of_our_configuration(task):
    config = ours.run_config(task)
    agent = agent_config(config.algorithm, config.agent)
    assert agent.actor.widths == agent.critic.widths == (256, 256)
    assert agent.contact_forces
    assert agent.observation_inputs == 0
    for steps in task.compared_at:
        assert steps % task.evaluate_every == 0
    if task.algorithm == 'sac':
        assert agent.initial_temperature == 1.0  # as theirs begins


SMALL = Task(
    'ppo',
    environment_id='InvertedPendulum-v5',
    environments=2,
    widths=(8,),
    batch_size=20,
    rollout_length=50,
    epochs=2,
    evaluation_episodes=2,
    total_steps=300,
    evaluate_every=100,
    compared_at=(100, 300),
    normalize=True,
)


@pytest.mark.parametrize(('cores', 'expected'), [(1, (1, 1)), (2, (2, 2)), (16, (2, 2))])
def test_our_side_uses_no_more_processes_or_threads_than_cores(cores, expected, monkeypatch):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda process: set(range(cores)))
    ppo, sac = (ours.run_config(LEARNING_TASKS[name]) for name in ('ppo', 'sac'))
    assert (ppo.simulation_processes, sac.learner_threads) == expected
    assert (ppo.learner_threads, sac.simulation_processes) == (1, 1)


@pytest.mark.timeout(900)
def test_our_side_learns_with_the_clock_stopped_at_evaluations():
    learned = ours.learn(SMALL)
    assert learned.steps == [100, 200, 300]
    assert all(np.isfinite(learned.returns))
    assert 0.0 < learned.seconds[0] < learned.seconds[1] < learned.seconds[2]


@pytest.mark.timeout(900)
@pytest.mark.parametrize('algorithm', ['ppo', 'sac', 'td3'])
def test_the_other_side_learns_likewise(algorithm):
    pytest.importorskip('stable_baselines3', reason='tools/env --with bench-train has it')
    from rl_edge_train.bench import stable_baselines

    task = dataclasses.replace(SMALL, algorithm=algorithm, warmup_steps=20)
    learned = stable_baselines.learn(task, 'dummy', 1)
    assert learned.steps == [100, 200, 300]
    assert all(np.isfinite(learned.returns))


@pytest.mark.parametrize(
    ('arguments', 'message'), [(['--parts', 'size'], 'speed'), (['--algorithms', 'a2c'], 'td3')]
)
def test_what_is_not_compared_is_named(arguments, message, tmp_path, capsys):
    assert main(['bench', *arguments, '--out', str(tmp_path / 'bench.json')]) == 1
    assert message in capsys.readouterr().err


def test_a_part_leaves_what_the_file_holds_of_others(tmp_path, monkeypatch):
    out = tmp_path / 'bench_train.json'
    out.write_text(json.dumps({'sac': {'steps_over_sb3': 1.5}, 'parity': {'sac': []}}))
    monkeypatch.setattr('rl_edge_train.bench.comparison.LEARNING_TASKS', {'ppo': TASK})
    monkeypatch.setattr(
        'rl_edge_train.bench.comparison._run_learning',
        lambda side, task: dataclasses.asdict(curve(1, 2, 3)),
    )
    assert main(['bench', '--parts', 'learning', '--seeds', '1', '--out', str(out)]) == 0
    report = json.loads(out.read_text())
    assert report['sac'] == {'steps_over_sb3': 1.5}
    assert report['parity']['sac'] == []
    assert report['parity']['ppo'][1]['ours']['mean'] == 3.0
    assert report['time_to']['ppo']['1000'] == {'ours_s': None, 'sb3_s': None}
    assert report['curves']['ppo']['sb3'] == [dataclasses.asdict(curve(1, 2, 3))]
    assert (tmp_path / 'bench_train' / 'ppo_seed1_ours.json').exists()
