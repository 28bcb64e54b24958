"""The closed loop of real processes, in both modes, undisturbed and disturbed."""

import itertools
import signal
import time

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus

from rl_edge_core.ros import qos
from rl_edge_interfaces.msg import Action, EpisodeSummary, PolicyStatus

LENGTH = 200
FAST = 10.0
"""Real-time factor: 200 control periods of the pendulum a second."""


def faults_of(episode):
    """Return what must not happen; a busy machine has answers repeated, which is no fault."""
    return (episode.foreign_actions, episode.rejected_actions, episode.safe_actions)


@pytest.mark.parametrize('configuration', ['compressed', 'uncompressed'])
def test_lockstep_completes_its_episodes(watched_loop, configuration):
    desktop, _, observer = watched_loop(
        configuration=configuration, episodes=3, first_action_timeout_sec=200
    )

    assert desktop.wait(300).exit_code == 0

    observer.wait_for(lambda: len(observer.episodes) == 3)
    assert [episode.seed for episode in observer.episodes] == [0, 1, 2]
    for episode in observer.episodes:
        assert episode.length == LENGTH
        assert episode.ended_by == EpisodeSummary.ENDED_BY_TIME_LIMIT
        assert episode.missed_actions == 0
        assert faults_of(episode) == (0, 0, 0)


def test_realtime_completes_its_episodes(watched_loop):
    desktop, _, observer = watched_loop(mode='realtime', real_time_factor=FAST, episodes=2)

    assert desktop.wait(300).exit_code == 0

    observer.wait_for(lambda: len(observer.episodes) == 2)
    assert [episode.length for episode in observer.episodes] == [LENGTH, LENGTH]
    assert all(episode.rejected_actions == 0 for episode in observer.episodes)


def transitions_of(observer):
    return [
        (
            transition.episode,
            transition.step,
            transition.observation.tobytes(),
            transition.action.tobytes(),
            transition.reward,
            transition.next_observation.tobytes(),
        )
        for transition in observer.transitions()
    ]


def test_two_lockstep_runs_with_the_same_seeds_are_the_same_bit_for_bit(watched_loop, namespace):
    runs = []
    for run in ('first', 'second'):
        desktop, _, observer = watched_loop(f'{namespace}/{run}', episodes=2, seed=7)
        assert desktop.wait(300).exit_code == 0
        observer.wait_for(lambda observer=observer: observer.transition_count == 2 * LENGTH)
        runs.append(transitions_of(observer))

    assert runs[0] == runs[1]
    assert len({reward for *_, reward, _ in runs[0]}) > LENGTH


def test_lockstep_goes_on_where_it_was_when_a_killed_policy_is_back(watched_loop):
    episodes = 20
    desktop, edge, observer = watched_loop(
        episodes=episodes,
        on_node_exit='respawn',
        on_policy_timeout='wait',
        policy_timeout_sec=0.5,
    )
    observer.wait_for(lambda: observer.transition_count > 50)
    first = edge.pid('policy')
    edge.send('policy', signal.SIGKILL)
    edge.pid('policy', other_than=first)

    assert desktop.wait(300).exit_code == 0

    observer.wait_for(lambda: observer.transition_count == episodes * LENGTH)
    # Every step was made once and in order, and none by a safe action.
    addresses = [(t.episode, t.step) for t in observer.transitions()]
    assert addresses == list(itertools.product(range(episodes), range(LENGTH)))
    observer.wait_for(lambda: len(observer.episodes) == episodes)
    assert sum(episode.safe_actions for episode in observer.episodes) == 0


def test_a_simulator_that_stood_still_does_not_take_that_for_the_policys_silence(watched_loop):
    desktop, _, observer = watched_loop(episodes=10, policy_timeout_sec=5.0)
    observer.wait_for(lambda: observer.transition_count > 50)
    desktop.send('sim', signal.SIGSTOP)
    time.sleep(7.0)  # longer than the policy may be silent
    desktop.send('sim', signal.SIGCONT)
    assert desktop.wait(300).exit_code == 0
    observer.wait_for(lambda: len(observer.episodes) == 10)


def test_realtime_gives_way_to_the_safe_action_until_a_killed_policy_is_back(system, observe):
    observer = observe()
    run = system(
        'sim',
        mode='realtime',
        real_time_factor=2.0,
        on_node_exit='respawn',
        on_policy_timeout='wait',
        action_max_age_sec=0.1,
    )
    observer.wait_for(lambda: observer.transition_count > 50)
    first = run.pid('policy')
    run.send('policy', signal.SIGKILL)
    run.pid('policy', other_than=first)

    def safe_then_policy():
        safe = [t.safe_action for t in observer.transitions()[50:]]
        return True in safe and False in safe[safe.index(True) :]

    observer.wait_for(safe_then_policy)
    run.stop()
    assert run.wait(60).exit_code == 0
    assert all(np.isfinite(t.action).all() for t in observer.transitions())


def test_a_second_policy_on_the_topic_is_reported(system, observe, namespace):
    observer = observe()
    reports = []

    def reported():
        return [
            status.message
            for report in list(reports)
            for status in report.status
            if status.level == DiagnosticStatus.ERROR and status.name == f'/{namespace}/sim'
        ]

    with observer.subscribed(DiagnosticArray, '/diagnostics', reports.append, 10):
        system('sim', mode='realtime')
        observer.wait_for(lambda: observer.transition_count > 10)

        with observer.publisher(Action, 'action', qos.action()):
            (message, *_) = observer.wait_for(reported)
        assert message.startswith('two policies act: ')


def test_a_second_policy_of_the_same_name_is_refused(system, observe, namespace):
    observer = observe()
    system('sim', mode='realtime', real_time_factor=5)
    observer.wait_for(lambda: observer.transition_count > 10)

    outcome = system('edge', on_node_exit='shutdown').wait(120)

    assert outcome.exit_code == 1
    assert 'policy' in outcome.reason
    (episode, *_) = observer.wait_for(lambda: observer.episodes)
    assert faults_of(episode) == (0, 0, 0)


def test_a_policy_of_another_environment_refuses_and_says_what_differs(system, observe):
    observer = observe()
    run = system('desktop', environment_id='InvertedPendulum-v5', first_action_timeout_sec=20)
    system('edge')

    def refusing():
        return [s.reason for s in observer.statuses if s.state == PolicyStatus.REFUSING]

    (reason, *_) = observer.wait_for(refusing)
    outcome = run.wait(120)

    assert reason.endswith(
        'was made for Pendulum-v1, and the simulator runs InvertedPendulum-v5: give the simulator '
        'environment_id:=Pendulum-v1, or the policy a model of InvertedPendulum-v5'
    )
    assert outcome.exit_code == 1
    assert 'sim' in outcome.reason


def test_a_tflite_policy_maps_no_tensorflow_gymnasium_or_mujoco(system, observe):
    observer = observe(transitions=False)
    run = system('edge')
    observer.wait_for(lambda: any(s.state == PolicyStatus.ACTIVE for s in observer.statuses))

    with open(f'/proc/{run.pid("policy")}/maps') as file:
        maps = file.read()

    assert 'litert' in maps
    for name in ('/tensorflow/', '/gymnasium/', '/mujoco/', 'libtensorflow'):
        assert name not in maps
