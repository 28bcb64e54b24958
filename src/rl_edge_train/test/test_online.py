"""Learning from transitions that robots send, without ROS."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest

from rl_edge_core.configuration import from_mapping
from rl_edge_core.episode_result import EndedBy, EpisodeResult
from rl_edge_core.errors import ConfigurationError
from rl_edge_train.online.learner import (
    MOST_UPDATES_BEHIND,
    ExportedPolicy,
    check_algorithm,
    make_learner,
)
from rl_edge_train.online.learner_thread import LearnerThread
from rl_edge_train.online.robot_feed import RobotFeed, fields_of
from rl_edge_train.run_config import RunConfig

RUN = from_mapping(
    RunConfig,
    {
        'algorithm': 'ddpg',
        'total_steps': 1000,
        'loop': {
            'environments': 2,
            'updates_per_iteration': 2,
            'batch_size': 4,
            'warmup_steps': 6,
            'replay_capacity': 50,
        },
        'agent': {'actor': {'widths': [8]}, 'critic': {'widths': [8]}},
    },
)


def received(step, *, episode=0, **changes):
    fields = {
        'run_id': 1,
        'episode': episode,
        'step': step,
        'observation': np.array([0.1 * step, 0.0], np.float32),
        'action': np.array([0.5], np.float32),
        'reward': 1.0,
        'next_observation': np.array([0.1 * step + 0.1, 0.0], np.float32),
        'terminated': False,
        'truncated': False,
    }
    return SimpleNamespace(**{**fields, **changes})


def batch(count, *, first=0):
    transitions = [fields_of(received(first + index)) for index in range(count)]
    return {name: np.stack([one[name] for one in transitions]) for name in transitions[0]}


@pytest.fixture
def make(spec, tmp_path):
    return lambda: make_learner(RUN, spec, seed=0, folder=tmp_path)


def test_updates_follow_the_transitions_after_the_warm_up(make):
    learner = make()
    learner.add(batch(6))
    assert not learner.is_due
    learner.add(batch(4, first=6))
    # 2 updates for 2 environments: one update a transition, made in rounds of two.
    rounds = 0
    while learner.is_due:
        assert np.isfinite(list(learner.learn().values())).all()
        rounds += 1
    assert (rounds, learner.updates, learner.transitions) == (2, 4, 10)


def test_warming_up_compiles_and_changes_nothing(make):
    learner = make()
    before = learner.agent.arrays()
    learner.warm_up()
    assert learner.agent._update.experimental_get_tracing_count() == 1
    for name, values in learner.agent.arrays().items():
        np.testing.assert_array_equal(values, before[name], err_msg=name)
    learner.add(batch(10))
    learner.learn()
    assert learner.agent._update.experimental_get_tracing_count() == 1


def test_updates_that_nobody_can_keep_up_with_are_forgone(make):
    learner = make()
    for first in range(0, 2000, 100):
        learner.add(batch(100, first=first))
    rounds = 0
    while learner.is_due:
        learner._owed -= RUN.loop['updates_per_iteration']
        rounds += 1
    assert rounds == MOST_UPDATES_BEHIND // 2


def test_a_resumed_learner_goes_on_where_it_stopped(make):
    straight = make()
    straight.add(batch(10))
    straight.learn()
    expected = straight.agent.arrays()
    straight.save_checkpoint()
    following = straight.learn()
    resumed = make()
    said = resumed.resume()
    assert 'resumed after 10 transitions with 10 transitions of replay' in said
    for name, values in resumed.agent.arrays().items():
        np.testing.assert_array_equal(values, expected[name])
    assert resumed.learn() == following


@pytest.mark.parametrize('algorithm', ['ppo', 'actor_critic'])
def test_algorithms_that_need_more_than_transitions_are_refused(algorithm):
    with pytest.raises(ConfigurationError, match='use sac, td3 or ddpg'):
        check_algorithm(algorithm)


def test_a_feed_hands_each_transition_on_once(spec):
    feed = RobotFeed(spec)
    assert feed.take(received(0)) is not None
    assert feed.take(received(2)) is not None
    assert feed.take(received(2)) is None
    assert feed.take(received(1)) is not None
    assert (feed.sequence.lost, feed.sequence.duplicates, feed.sequence.reordered) == (0, 1, 1)
    feed.end_episode(1, 0, EpisodeResult(0, 4.0, 5, 1.0, 0.1, EndedBy.TERMINATION))
    assert feed.sequence.lost == 2


@pytest.mark.parametrize(
    ('changes', 'fault'),
    [
        ({'reward': float('nan')}, 'reward is nan'),
        ({'observation': np.array([1.0], np.float32)}, 'observation has shape'),
        ({'action': np.array([np.inf], np.float32)}, r'action[0] is inf'),
        ({'next_observation': np.array([0.0, np.nan], np.float32)}, 'observation[1] is nan'),
    ],
)
def test_malformed_transitions_are_counted_and_dropped(spec, changes, fault):
    feed = RobotFeed(spec)
    assert feed.take(received(0, **changes)) is None
    assert feed.rejected == 1
    assert feed.fault.startswith(fault)
    assert feed.sequence.received == 0


def start_thread(make, *, export=None, failures=None):
    return LearnerThread(
        make,
        export=export or (lambda learner: ExportedPolicy(str(learner.updates), b'')),
        export_period_sec=0.0,
        checkpoint_period_sec=1e9,
        on_failure=(failures if failures is not None else []).append,
    )


def test_the_thread_learns_exports_and_leaves_a_checkpoint(make, tmp_path):
    exported = threading.Event()

    def export(learner):
        if learner.updates >= 4:
            exported.set()
        return ExportedPolicy(str(learner.updates), b'')

    thread = start_thread(make, export=export)
    for step in range(10):
        thread.put(fields_of(received(step)))
    assert exported.wait(timeout=120)
    path = thread.request_checkpoint().result(timeout=60)
    assert path.is_dir()
    thread.close()
    assert (thread.metrics.transitions, thread.metrics.updates) == (10, 4)
    resumed = make()
    resumed.resume()
    assert resumed.transitions == 10


def test_a_failing_update_ends_the_thread_with_the_last_good_checkpoint_kept(make):
    failures = []
    failed = threading.Event()

    class Recorder(list):
        def append(self, error):
            failures.append(error)
            failed.set()

    thread = start_thread(make, failures=Recorder())
    for step in range(10):
        thread.put(fields_of(received(step)))
    path = thread.request_checkpoint().result(timeout=120)
    for step in range(10, 60):
        thread.put(fields_of(received(step, reward=1e38)))
    assert failed.wait(timeout=120)
    assert 'lower the learning rates' in str(failures[0])
    with pytest.raises(RuntimeError, match='has ended'):
        thread.request_checkpoint().result(timeout=10)
    thread.close()
    resumed = make()
    assert 'resumed after 10 transitions' in resumed.resume()
    assert path.is_dir()
