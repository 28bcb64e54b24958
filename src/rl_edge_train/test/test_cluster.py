"""Collecting on a Ray cluster: workers alone, then Ray's own cluster of several nodes."""

import dataclasses
import importlib.util
import itertools
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from rl_edge_compress.closed_loop import packed_policies, run_episodes
from rl_edge_compress.export import export_artifact
from rl_edge_compress.imitation import visit
from rl_edge_compress.numpy_graph import numpy_graph
from rl_edge_core import cluster
from rl_edge_core.errors import ConfigurationError
from rl_edge_train import checkpoint
from rl_edge_train.algorithms.registry import make_agent
from rl_edge_train.assembly import assemble
from rl_edge_train.cluster.ray_collector import (
    FRAGMENTS_AHEAD,
    LATE_FRAGMENTS,
    Cluster,
    RayCollector,
    fragment_steps,
)
from rl_edge_train.cluster.worker import CollectWorker, WorkerTask
from rl_edge_train.environments import EnvironmentConfig, spec_of
from rl_edge_train.evaluate_command import play_all
from rl_edge_train.loops import OffPolicyConfig, OffPolicyLoop
from rl_edge_train.metrics import CsvLog
from rl_edge_train.run_config import load_preset
from rl_edge_train.selection import SelectionConfig
from rl_edge_train.vector_environment import SimulationError

# Starting nodes and compiling take their time on a machine with other work to do.
pytestmark = pytest.mark.timeout(900)

PENDULUM = EnvironmentConfig('InvertedPendulum-v5')
SMALL = {'actor': {'widths': [8]}, 'critic': {'widths': [8]}}
SETTINGS = {
    'sac': {**SMALL, 'normalize_observations': True},
    'td3': SMALL,
    'ddpg': SMALL,
    'actor_critic': SMALL,
    'ppo': {**SMALL, 'minibatches': 2, 'policy_epochs': 2, 'value_epochs': 2, 'action_scale': 0.9},
}


def agent_for(algorithm):
    return make_agent(algorithm, spec_of(PENDULUM), SETTINGS[algorithm], seed=3)


def task_for(agent, config=PENDULUM, *, environments=2, steps=20):
    return WorkerTask.of(agent, config, environments=environments, steps=steps, seed=3)


@pytest.mark.parametrize('algorithm', SETTINGS)
def test_a_copy_that_was_sent_acts_as_the_agent_does(algorithm):
    agent = agent_for(algorithm)
    observation = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    agent.observe(observation)
    noise = np.random.default_rng(1).normal(size=(5, 1)).astype(np.float32)
    agent.acting_noise = lambda shape: noise
    sent = pickle.loads(pickle.dumps(agent.acting_copy()))
    theirs, ours = agent.act(observation, explore=True), sent.act(observation, noise)
    np.testing.assert_array_equal(ours.action, theirs.action)
    assert set(ours.extras) == set(theirs.extras)
    for name, values in theirs.extras.items():
        np.testing.assert_array_equal(ours.extras[name], values)


def test_a_worker_hands_over_successive_transitions_in_the_order_of_time():
    agent = agent_for('ppo')
    worker = CollectWorker(task_for(agent))
    worker.begin(cluster.versions())
    first = worker.collect(agent.acting_copy(), 7)
    second = worker.collect(agent.acting_copy(), 8)
    column = agent.layout.column
    rows = np.concatenate([first.rows, second.rows])
    assert rows.shape == (40, 2, agent.layout.width)
    assert (first.version, second.version) == (7, 8)
    goes_on = column(rows, 'terminated')[:-1] == 0
    np.testing.assert_array_equal(
        column(rows, 'next_observation')[:-1][goes_on], column(rows, 'observation')[1:][goes_on]
    )
    episodes = first.episodes + second.episodes
    assert column(rows, 'terminated').sum() == len(episodes) > 0
    # Each step is worth 1 but the one that ends the episode.
    assert all(e.episode_return in (e.length, e.length - 1) for e in episodes)


def test_a_worker_without_weights_acts_at_random_within_the_limits():
    agent = agent_for('sac')
    worker = CollectWorker(task_for(agent))
    worker.begin(cluster.versions())
    action = agent.layout.column(worker.collect(None, -1).rows, 'action')
    assert action.min() < -1.0
    assert action.max() > 1.0
    assert np.abs(action).max() <= 3.0


def test_a_broken_environment_is_named_with_worker_seed_and_step(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    config = EnvironmentConfig('broken_environments:TurnsToNan-v0')
    agent = make_agent('sac', spec_of(config), SMALL, seed=3)
    worker = CollectWorker(task_for(agent, config))
    worker.begin(cluster.versions())
    with pytest.raises(
        SimulationError, match=r'worker 0 on .* \(seed \d+, episode 0 since, step 20\): .*reward'
    ):
        worker.collect(None, -1)


def test_another_version_is_refused_by_name():
    theirs = cluster.versions() | {'mujoco': '1.0'}
    with pytest.raises(ConfigurationError, match=r'node n1 is refused: mujoco is 1\.0 there'):
        cluster.check_versions(theirs, cluster.versions(), node='n1')


@pytest.mark.parametrize(
    ('imported', 'absent'),
    [
        ('rl_edge_train.cluster.worker', 'tensorflow'),
        ('rl_edge_train.assembly', 'ray'),
        ('rl_edge_train.sweep_command', 'ray'),
        ('rl_edge_train.evaluate_command', 'ray'),
    ],
)
def test_what_is_not_needed_is_not_imported(imported, absent):
    program = f'import sys, {imported}; sys.exit({absent!r} in sys.modules)'
    assert subprocess.run([sys.executable, '-c', program], check=False).returncode == 0


def test_fragments_are_small_where_runs_and_buffers_are():
    sizes = {'total_steps': 2_000_000, 'capacity': 1_000_000, 'sequence_length': 1}
    assert fragment_steps(16, **sizes) == 62  # 992 of 1,000 transitions
    assert fragment_steps(4, **sizes | {'total_steps': 20_000}) == 25  # 100 of 20,000
    assert fragment_steps(16, **sizes | {'capacity': 2048}) == 16  # an eighth of the buffer
    assert fragment_steps(16, **sizes | {'capacity': 2048, 'sequence_length': 16}) == 64


# On Ray's own cluster of several nodes ---------------------------------------------------------


@pytest.fixture(scope='module')
def start_cluster():
    """Give a function that starts a cluster of one node with some settings."""
    cluster.secure_environment(starts=True)  # Ray reads it when it is imported
    pytest.importorskip('ray', reason='the extra ray is not installed: tools/env --with ray')
    from ray.cluster_utils import Cluster

    started = []

    def start(**settings):
        for attempt in range(cluster.STARTS):
            started.append(Cluster())
            try:
                started[-1].add_node(**settings)
                return started[-1]
            except Exception:  # a busy machine needs longer than Ray waits for its processes
                if attempt == cluster.STARTS - 1:
                    raise
        return None

    yield start
    for each in started:
        each.shutdown()


@pytest.fixture(scope='module')
def nodes(start_cluster):
    import ray

    started = start_cluster(num_cpus=2)
    ray.init(address=started.address, log_to_driver=False, logging_level='error')
    yield started
    ray.shutdown()


@pytest.fixture
def collector(nodes, request):
    import ray

    algorithm, workers = request.param
    agent = agent_for(algorithm)
    said = []
    collector = RayCollector(
        ray,
        agent,
        task_for(agent),
        workers=workers,
        rollouts=algorithm == 'ppo',
        say=said.append,
    )
    collector.said = said
    yield collector
    collector.close()


def worker_processes():
    names = ('ray::CollectWorker',)
    return [
        process
        for process in psutil.Process().children(recursive=True)
        if any(name in ' '.join(process.cmdline()) for name in names)
    ]


@pytest.mark.parametrize('collector', [('ppo', 2)], indirect=True)
def test_a_rollout_is_of_one_version_and_survives_a_killed_worker(collector):
    shape = (20, 4, collector.agent.layout.width)
    for _ in range(2):
        collector.start()
        rollout = collector.finish()
        assert rollout.rows.shape == shape
        collector.agent.update(rollout.rows)
    metrics = collector.metrics()
    assert (metrics['weights_age_updates'], metrics['lost_fragments']) == (0.0, 0.0)
    os.kill(worker_processes()[0].pid, signal.SIGKILL)
    while not collector.lost_fragments:
        collector.start()
        assert collector.finish().rows.shape == shape
    assert 'another takes its place' in collector.said[0]
    while collector.metrics()['workers'] < 2:
        collector.start()
        assert collector.finish().rows.shape == shape


@pytest.mark.parametrize('collector', [('sac', 3)], indirect=True)
def test_a_killed_node_costs_its_fragments_and_a_new_node_is_taken_into_use(
    collector, nodes, tmp_path
):
    node = nodes.add_node(num_cpus=1)
    loop = OffPolicyLoop(
        collector.agent,
        collector,
        OffPolicyConfig(environments=2, updates_per_iteration=1, batch_size=8, warmup_steps=50),
        total_steps=10**6,
        seed=3,
        folder=tmp_path,
    )
    while collector.metrics()['workers'] < 3:
        loop.iterate()
    nodes.remove_node(node, allow_graceful=False)
    while not collector.lost_fragments:
        loop.iterate()
    before = loop.steps
    nodes.add_node(num_cpus=1)
    while collector.metrics()['workers'] < 3:
        loop.iterate()
    assert loop.steps > before
    # One update per transition pair since the warm-up, but for the last fragment's.
    assert 0 <= (loop.steps - 50) / 2 - int(collector.agent.updates.numpy()) <= 60
    loop.close()


@pytest.mark.parametrize('collector', [('sac', 2)], indirect=True)
def test_the_oldest_fragment_is_taken_first_and_one_that_is_late_is_waited_for(collector):
    import ray

    while collector.metrics()['workers'] < 2:
        collector.start()
        collector.finish()
    collector.start()
    asked = list(collector._in_flight)
    ray.wait(asked, num_returns=len(asked))
    for taken in range(1, len(asked)):
        collector.finish()
        assert list(collector._in_flight) == asked[taken:]

    stopped = worker_processes()[0]
    stopped.suspend()
    try:
        while True:  # until what is asked for is of the stopped worker alone
            collector.start()
            if len({worker.index for worker, *_ in collector._in_flight.values()}) == 1:
                break
            collector.finish()
            collector.agent.updates.assign_add(1)
        collector.metrics()
    finally:
        stopped.resume()
    collector.finish()
    oldest = (LATE_FRAGMENTS + FRAGMENTS_AHEAD) * 2
    assert LATE_FRAGMENTS * 2 <= collector.metrics()['weights_age_updates'] <= oldest


CONNECTS = (
    'import sys; from rl_edge_core import cluster; cluster.connected(sys.argv[1]).__enter__()'
)


@pytest.mark.parametrize(
    ('settings', 'address', 'said'),
    [
        ({'RAY_AUTH_TOKEN': 'ab' * 32}, None, 'has another token'),
        ({'RAY_py_gcs_connect_timeout_s': '1'}, '127.0.0.1:1', 'no Ray cluster answers at'),
    ],
)
def test_an_address_is_tried_once_and_another_token_named(nodes, settings, address, said):
    done = subprocess.run(
        [sys.executable, '-c', CONNECTS, address or nodes.address],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,  # tried as often as Ray does it would take ten minutes
    )
    assert said in done.stderr


def test_a_node_with_other_versions_is_refused(nodes, monkeypatch):
    import ray

    agent = agent_for('sac')
    monkeypatch.setattr(cluster, 'versions', lambda: {'mujoco': '0.1'})
    with pytest.raises(ConfigurationError, match=r'node .* is refused: mujoco is .* 0\.1 here'):
        RayCollector(
            ray,
            agent,
            task_for(agent),
            workers=1,
            rollouts=False,
            say=lambda _: None,
        )


@pytest.fixture(scope='module')
def policy_folder(tmp_path_factory):
    agent, out = agent_for('ddpg'), tmp_path_factory.mktemp('policy')
    export_artifact(agent.policy_model(), spec=agent.spec, name='x', out=out, recipes=('float32',))
    return out


def test_an_evaluation_spread_out_gives_the_results_of_one_machine(nodes, policy_folder):
    policies = packed_policies(policy_folder, ['keras'])
    seeds = range(2_000_000, 2_000_012)
    together = play_all(policies, 'keras', seeds, cluster=nodes.address)
    assert [result.seed for result in together] == list(seeds)
    # As text: distances are NaN here, which equal nothing.
    assert repr(together) == repr(play_all(policies, 'keras', seeds))


def test_episodes_of_a_report_are_the_same_wherever_they_run(nodes, policy_folder, tmp_path):
    wanted = {'keras': range(40_000, 40_007), 'float32': range(40_000, 40_011)}
    places = {'here': {}, 'processes': {'processes': 2}, 'cluster': {'cluster': nodes.address}}
    here, *others = (
        repr(run_episodes(policy_folder, wanted, kept=tmp_path / n, **{'processes': 1} | how))
        for n, how in places.items()
    )
    assert [other == here for other in others] == [True, True]


def test_a_student_visits_the_same_states_wherever_it_drives(nodes, policy_folder):
    driver = numpy_graph((policy_folder / 'actor_float32.tflite').read_bytes())
    spec = spec_of(PENDULUM)
    here, spread_out = (
        visit(spec, driver, driver, seeds=itertools.count(7), least_steps=60, cluster=cluster)
        for cluster in ('', nodes.address)
    )
    np.testing.assert_array_equal(spread_out[0].observations, here[0].observations)
    np.testing.assert_array_equal(spread_out[0].actions, here[0].actions)
    assert [result.seed for result in spread_out[1]] == [7 + i for i in range(len(here[1]))]
    assert len(here[0].observations) - here[1][-1].length < 60 <= len(here[0].observations)


def test_train_on_a_cluster_of_its_own_saves_and_ends_everything(tmp_path):
    if importlib.util.find_spec('ray') is None:  # not imported: it reads the environment then
        pytest.skip('the extra ray is not installed: tools/env --with ray')
    run = tmp_path / 'run'
    command = [sys.executable, '-m', 'rl_edge_train', 'train']
    start = ['--preset', 'sac_small', '--out', str(run), '--set', 'log_every_steps=200']
    process = subprocess.Popen(
        [*command, *start, '--cluster', 'local', '--workers', '1'],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    said = ''
    while 'workers' not in said or 'steps/s' not in said:
        line = process.stdout.readline()
        assert line, said
        said += line
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    rest = process.communicate(timeout=600)[0]
    assert process.returncode == 128 + signal.SIGINT, said + rest
    assert 'continue with' in rest
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive
    columns = (run / 'metrics.csv').read_text().splitlines()[0].split(',')
    assert {'workers', 'weights_age_updates', 'lost_fragments'} <= set(columns)
    assert json.loads((run / 'run.json').read_text())['seed'] == 1


def test_a_run_whose_head_was_killed_says_so_and_goes_on_from_its_checkpoint(
    start_cluster, tmp_path
):
    run = tmp_path / 'run'
    command = [sys.executable, '-m', 'rl_edge_train', 'train']
    settings = ['--set', 'checkpoint_period_sec=1', '--set', 'log_every_steps=200']
    head = start_cluster(num_cpus=1)
    on_cluster = ['--cluster', head.address, '--workers', '1']
    process = subprocess.Popen(
        [*command, '--preset', 'sac_small', '--out', str(run), *settings, *on_cluster],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    while not checkpoint.paths(run / 'checkpoints'):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.2)
    for processes in head.head_node.all_processes.values():
        for info in processes:
            os.kill(info.process.pid, signal.SIGKILL)
    said = process.communicate(timeout=600)[0]
    assert process.returncode not in (0, None), said
    assert f'the Ray cluster at {head.address} was lost' in said

    saved = checkpoint.steps_of(checkpoint.paths(run / 'checkpoints')[-1])
    resume = ['--resume', str(run), '--set', f'total_steps={saved + 100}', '--cluster', 'local']
    done = subprocess.run(
        [*command, *resume, '--workers', '1'], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f'finished {saved + 100:,} steps' in done.stdout
    steps = [int(row['steps']) for row in CsvLog(run / 'metrics.csv').rows()]
    assert steps == sorted(set(steps))


def test_on_a_cluster_as_much_is_learned_in_as_many_steps(nodes, tmp_path):
    import ray

    config = dataclasses.replace(
        load_preset('sac_small'),
        total_steps=4500,  # at 2,500 one run of seven does not balance yet, either way
        selection=SelectionConfig(every_steps=500, episodes=5, confirmations=0),
    )

    def best_return(seed, place):
        folder = tmp_path / f'{seed}-{place is None}'
        with assemble(config, folder, seed=seed, cluster=place) as runner:
            runner.run()
            assert runner.loop.steps >= config.total_steps
            return runner.progress.best_return

    local, spread_out = (
        [best_return(seed, place) for seed in (1, 2, 3)] for place in (None, Cluster(ray, 2, 2))
    )
    # An untrained policy lets it fall within some 30 steps, one that balances goes on for 1,000.
    assert np.mean(local) > 500
    assert np.mean(spread_out) >= 0.8 * np.mean(local)
