"""The sim node in one process with a peer that plays the policy, on a ROS graph of its own."""

import math
import os
import signal
import subprocess
import sys
from array import array

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image, JointState
from std_srvs.srv import SetBool

from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.errors import ConfigurationError
from rl_edge_core.ros import qos
from rl_edge_core.ros.conversions import to_nanoseconds
from rl_edge_interfaces.msg import (
    Action,
    Environment,
    EpisodeSummary,
    Observation,
    PolicyStatus,
    Transition,
)
from rl_edge_interfaces.srv import Reset
from rl_edge_sim.environment import make_environment, spec_of
from rl_edge_sim.rollout import rollout
from rl_edge_sim.sim_node import SimNode

NAMESPACE = 'ant0'
PENDULUM = {'environment_id': 'InvertedPendulum-v5'}
TOPICS = {
    'environment': (Environment, qos.environment()),
    'transition': (Transition, qos.transition()),
    'episode': (EpisodeSummary, qos.episode()),
    'joint_states': (JointState, qos.joint_states()),
    'image': (Image, qos.image()),
    '/clock': (Clock, QoSProfile(depth=100)),
    '/diagnostics': (DiagnosticArray, QoSProfile(depth=100)),
}


def balance(observation):
    return [3.0 * observation[1] + 0.5 * observation[3]]


class Peer(Node):
    """Answer observations with ``self.act`` (None for silence) and keep all that is published."""

    def __init__(self, context, *, topics=('transition', 'episode', 'environment'), name='policy'):
        super().__init__(name, context=context, namespace=NAMESPACE)
        self.act = balance
        self.before_answer = lambda observation: None
        self.received = {topic: [] for topic in topics}
        self.observations = []
        self.action = self.create_publisher(Action, 'action', qos.action())
        self.create_subscription(Observation, 'observation', self._observe, qos.observation())
        for topic in topics:
            message_type, profile = TOPICS[topic]
            keep = self.received[topic].append
            self.create_subscription(message_type, topic, keep, profile)

    def send(self, observation, values, **changes):
        message = Action(
            header=observation.header,
            run_id=observation.run_id,
            episode=observation.episode,
            step=observation.step,
            model_hash='f' * 64,
            values=array('f', values),
            inference_time_us=5.0,
        )
        for field, value in changes.items():
            setattr(message, field, value)
        self.action.publish(message)

    def _observe(self, message):
        self.observations.append(message)
        self.before_answer(message)
        if self.act is not None:
            self.send(message, self.act(message.values))


class Graph:
    """A ROS graph with a sim node, and a loop that serves it until something has happened."""

    def __init__(self, domain_id):
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain_id)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.nodes = []
        self.sim = None

    def add(self, node):
        self.nodes.append(node)
        self.executor.add_node(node)
        return node

    def start(self, **parameters):
        self.sim = self.add(make_sim(self.context, **parameters))
        return self.sim

    def until(self, condition):
        while not condition():
            self.executor.spin_once(timeout_sec=0.1)

    def finish(self):
        """Serve until the node is finished and all it has published has arrived."""
        self.until(self.sim.finished.done)
        self.close_sim()
        return self.sim.finished.result()

    def close_sim(self):
        sim = self.sim
        self.sim = None
        if sim is None:
            return
        self.nodes.remove(sim)
        self.executor.remove_node(sim)
        sim.close()
        sim.destroy_node()
        self.sim_finished = sim.finished

    def call(self, service_type, service, request):
        client = self.nodes[-1].create_client(service_type, f'/{NAMESPACE}/sim/{service}')
        self.until(client.service_is_ready)
        future = client.call_async(request)
        self.until(future.done)
        return future.result()

    def close(self):
        self.close_sim()
        for node in self.nodes:
            node.destroy_node()
        self.executor.shutdown()
        rclpy.try_shutdown(context=self.context)


def make_sim(context, **parameters):
    overrides = [Parameter(name, value=value) for name, value in parameters.items()]
    return SimNode(context=context, namespace=NAMESPACE, parameter_overrides=overrides)


@pytest.fixture
def graph(ros_domain_id):
    graph = Graph(ros_domain_id)
    yield graph
    graph.close()


def run_to_the_end(graph, peer):
    """Serve until the node ends, then until the last episode and transition have arrived."""
    sim = graph.sim
    graph.until(sim.finished.done)
    graph.close_sim()
    episodes = sim.settings.episodes
    graph.until(lambda: len(peer.received['episode']) == episodes)
    steps = sum(summary.length for summary in peer.received['episode'])
    graph.until(lambda: len(peer.received['transition']) == steps)
    return sim.finished.result()


def test_ant_runs_in_lockstep_as_in_the_rollout_bit_for_bit(graph):
    """Two episodes over ROS 2 are those of the rollout with the same seeds."""
    weights = np.random.default_rng(0).uniform(-1, 1, (8, 105)).astype(np.float32)

    def act(observation):
        return np.tanh(weights @ np.asarray(observation, np.float32))

    peer = graph.add(Peer(graph.context))
    peer.act = act
    arguments = '{max_episode_steps: 40}'
    graph.start(episodes=2, seed=7, environment_arguments=arguments)
    assert run_to_the_end(graph, peer) == 0

    steps = []
    env = make_environment('Ant-v5', max_episode_steps=40)
    results = rollout(env, act, [7, 8], steps.append)
    transitions = peer.received['transition']
    assert len(transitions) == len(steps)
    for transition, step in zip(transitions, steps, strict=True):
        assert transition.observation.tobytes() == step.observation.tobytes()
        assert transition.action.tobytes() == step.applied.values.tobytes()
        assert transition.next_observation.tobytes() == step.next_observation.tobytes()
        assert transition.reward == step.reward
        assert list(transition.reward_terms) == list(step.reward_terms)
        assert (transition.terminated, transition.truncated) == (step.terminated, step.truncated)
        assert transition.forward_position == step.forward_position
        assert transition.model_hash == 'f' * 64
        assert transition.inference_time_us == 5.0
        assert transition.response_time_us > 0
    for summary, result in zip(peer.received['episode'], results, strict=True):
        assert summary.seed == result.seed
        assert summary.episode_return == result.episode_return
        assert summary.forward_distance == result.forward_distance
        assert summary.mean_speed == result.mean_speed
        assert list(summary.reward_terms) == list(result.reward_terms.values())
        assert summary.missed_actions == summary.rejected_actions == summary.safe_actions == 0
    (environment,) = peer.received['environment']
    assert EnvironmentSpec.from_message(environment) == spec_of(env)
    assert list(environment.reward_term_names) == [
        'forward',
        'ctrl',
        'contact',
        'survive',
        'other',
    ]
    assert {t.run_id for t in transitions} == {environment.run_id}


def test_a_double_holds_the_number_of_a_run(graph, monkeypatch):
    """PlotJuggler reads every number as one, and refuses a bag where digits would be lost."""
    monkeypatch.setattr('secrets.randbits', lambda bits: 2**bits - 1)
    run_id = graph.start(**PENDULUM).run_id
    assert int(float(run_id)) == run_id


def test_stamps_are_monotonic_simulated_time(graph):
    peer = graph.add(Peer(graph.context, topics=('transition', 'episode', '/clock')))
    graph.start(
        **PENDULUM,
        episodes=3,
        publish_clock=True,
        environment_arguments='{max_episode_steps: 5}',
    )
    assert run_to_the_end(graph, peer) == 0
    stamps = [to_nanoseconds(observation.header.stamp) / 1e9 for observation in peer.observations]
    assert stamps[:7] == pytest.approx([0, 0.04, 0.08, 0.12, 0.16, 0.24, 0.28])
    graph.until(lambda: len(peer.received['/clock']) == 18)
    clocks = [to_nanoseconds(message.clock) / 1e9 for message in peer.received['/clock']]
    assert clocks == sorted(clocks)
    last_stamps = [peer.received[topic][-1].header.stamp for topic in ('episode', 'transition')]
    assert last_stamps[0] == last_stamps[1]


@pytest.mark.parametrize('values', [[math.nan], [math.inf], [-math.inf], [], [0.1, 0.2]], ids=str)
def test_bad_actions_are_rejected_counted_and_reported(graph, values):
    peer = graph.add(Peer(graph.context, topics=('transition', 'episode', '/diagnostics')))
    peer.act = lambda _: values if peer.observations[-1].step == 1 else [0.0]
    sim = graph.start(**PENDULUM, environment_arguments='{max_episode_steps: 4}')

    def is_reported():
        return any(
            status.level == DiagnosticStatus.WARN and 'actions rejected' in status.message
            for array in peer.received['/diagnostics']
            for status in array.status
            if status.name == sim.get_fully_qualified_name()
        )

    graph.until(lambda: peer.received['episode'] and is_reported())
    summary = peer.received['episode'][0]
    assert (summary.rejected_actions, summary.safe_actions, summary.length) == (1, 1, 4)
    rejected = peer.received['transition'][1]
    assert rejected.safe_action
    assert list(rejected.action) == [0.0]
    assert rejected.model_hash == ''


def test_unwanted_actions_are_counted_and_not_applied(graph):
    peer = graph.add(Peer(graph.context))

    def disturb(observation):
        if (observation.episode, observation.step) == (1, 2):
            peer.send(observation, [1.0], run_id=observation.run_id + 1)
            peer.send(observation, [1.0], episode=0, step=0)  # late
            peer.send(observation, [1.0], step=0)  # answered already
            peer.send(observation, [1.0], step=3)  # not published yet

    peer.before_answer, peer.act = disturb, lambda observation: [0.0]
    graph.start(**PENDULUM, episodes=2, environment_arguments='{max_episode_steps: 4}')
    assert run_to_the_end(graph, peer) == 0
    summary = peer.received['episode'][1]
    assert (summary.foreign_actions, summary.late_actions, summary.duplicate_actions) == (2, 1, 1)
    assert all(list(transition.action) == [0.0] for transition in peer.received['transition'])


def test_policy_that_starts_again_in_mid_episode_is_asked_again(graph):
    peer = graph.add(Peer(graph.context))
    sim = graph.start(
        **PENDULUM,
        episodes=1,
        republish_period_sec=0.05,
        environment_arguments='{max_episode_steps: 6}',
    )
    peer.act = None
    peer.before_answer = lambda o: peer.send(o, [0.0]) if o.step < 3 else None
    graph.until(lambda: any(observation.step == 3 for observation in peer.observations))
    graph.nodes.remove(peer)
    graph.executor.remove_node(peer)
    peer.destroy_node()
    successor = graph.add(Peer(graph.context))
    graph.until(sim.finished.done)
    graph.until(lambda: successor.received['episode'])
    assert successor.observations[0].step == 3
    assert successor.received['episode'][0].length == 6


def test_the_run_begins_when_the_awaited_subscribers_are_connected(graph):
    # It listens to transitions as well, and is not who the run waits for.
    peer = graph.add(Peer(graph.context, topics=('transition', 'episode', '/diagnostics')))
    sim = graph.start(
        **PENDULUM,
        episodes=1,
        environment_arguments='{max_episode_steps: 5}',
        transition_subscribers='recorder',
        first_action_timeout_sec=0.2,
        on_policy_timeout='wait',
    )

    def reasons():
        return [
            status.message
            for array in peer.received['/diagnostics']
            for status in array.status
            if status.name == sim.get_fully_qualified_name()
        ]

    missing = 'no subscriber recorder of /ant0/transition connected yet; waiting'
    graph.until(lambda: missing in reasons())
    assert not peer.observations
    recorder = graph.add(Peer(graph.context, topics=('transition',), name='recorder'))
    recorder.act = None
    graph.until(lambda: len(recorder.received['transition']) == 5)
    assert [message.step for message in recorder.received['transition']] == [0, 1, 2, 3, 4]


def test_subscribers_that_never_come_end_the_node_with_the_reason(graph):
    graph.add(Peer(graph.context, topics=()))
    sim = graph.start(
        **PENDULUM, transition_subscribers='train, recorder', first_action_timeout_sec=0.2
    )
    graph.until(sim.finished.done)
    assert sim.finished.result() == 1
    missing = 'no subscriber train or recorder of /ant0/transition connected'
    assert missing in sim._loop.failure


def test_who_comes_later_gets_old_episodes_and_no_old_transitions(graph):
    peer = graph.add(Peer(graph.context))
    graph.start(**PENDULUM, environment_arguments='{max_episode_steps: 5}')
    graph.until(lambda: len(peer.received['episode']) == 2)
    late = graph.add(Peer(graph.context, topics=('transition', 'episode'), name='late'))
    late.act = None
    graph.until(lambda: len(late.received['episode']) >= 2 and late.received['transition'])
    assert late.received['transition'][0].episode >= 2
    assert late.received['episode'][0].episode == 0


def test_a_publisher_that_is_told_to_keeps_old_transitions_for_who_comes_later(graph):
    """History is opt-in, by an override of the publisher's durability and depth."""
    override = f'qos_overrides./{NAMESPACE}/transition.publisher'
    keeps = {f'{override}.durability': 'transient_local', f'{override}.depth': 7}
    peer = graph.add(Peer(graph.context))
    graph.start(**PENDULUM, **keeps, environment_arguments='{max_episode_steps: 5}')
    graph.until(lambda: len(peer.received['episode']) == 2)
    peer.act = None
    graph.until(lambda: len(peer.received['transition']) >= 10)
    late = graph.add(Node('late', context=graph.context, namespace=NAMESPACE))
    old = []
    wants_history = qos.transition()
    wants_history.durability = DurabilityPolicy.TRANSIENT_LOCAL
    late.create_subscription(Transition, 'transition', old.append, wants_history)
    made = peer.received['transition']
    graph.until(lambda: old and old[-1].step == made[-1].step and len(old) >= 7)
    assert [(t.episode, t.step) for t in old] == [(t.episode, t.step) for t in made[-7:]]


def test_silent_policy_ends_the_node_with_its_reason(graph):
    peer = graph.add(Peer(graph.context, topics=('transition', 'episode', '/diagnostics')))
    peer.act = None
    peer.before_answer = lambda o: peer.send(o, [0.0]) if o.step < 2 else None
    sim = graph.start(**PENDULUM, policy_timeout_sec=0.2)
    graph.until(sim.finished.done)
    graph.close_sim()
    assert sim.finished.result() == 1
    graph.until(lambda: peer.received['episode'])
    summary = peer.received['episode'][0]
    assert summary.ended_by == EpisodeSummary.ENDED_BY_POLICY_TIMEOUT
    assert (summary.length, summary.missed_actions) == (2, 1)
    graph.until(
        lambda: any(
            status.level == DiagnosticStatus.ERROR and 'unanswered for 0.2 s' in status.message
            for array in peer.received['/diagnostics']
            for status in array.status
        )
    )


def test_reset_in_mid_step(graph):
    peer = graph.add(Peer(graph.context))
    peer.act = None
    peer.before_answer = lambda o: peer.send(o, [0.0]) if o.step < 2 or o.episode else None
    graph.start(**PENDULUM, environment_arguments='{max_episode_steps: 3}')
    graph.until(lambda: any(observation.step == 2 for observation in peer.observations))
    open_one = peer.observations[-1]
    response = graph.call(Reset, 'reset', Reset.Request(use_seed=True, seed=123))
    assert (response.success, response.episode) == (True, 1)
    assert response.run_id == open_one.run_id
    peer.send(open_one, [1.0])
    graph.until(lambda: len(peer.received['episode']) >= 2)
    first, second = peer.received['episode'][:2]
    assert (first.ended_by, first.length) == (EpisodeSummary.ENDED_BY_RESET, 2)
    assert (second.seed, second.length) == (123, 3)
    refused = graph.call(Reset, 'reset', Reset.Request(use_seed=True, seed=-4))
    assert not refused.success
    assert 'seed is -4' in refused.message


def test_pause_in_mid_step_keeps_the_answer(graph):
    peer = graph.add(Peer(graph.context))
    peer.act = None
    peer.before_answer = lambda o: peer.send(o, [0.0]) if o.step < 2 else None
    sim = graph.start(**PENDULUM, episodes=1, environment_arguments='{max_episode_steps: 4}')
    graph.until(lambda: any(observation.step == 2 for observation in peer.observations))
    assert graph.call(SetBool, 'pause', SetBool.Request(data=True)).message == 'paused'
    steps = sim._plant.steps
    peer.send(peer.observations[-1], [0.25])
    graph.until(lambda: sim._loop._gate.is_answered)
    assert sim._plant.steps == steps
    peer.before_answer = lambda o: peer.send(o, [0.0])
    assert graph.call(SetBool, 'pause', SetBool.Request(data=False)).success
    assert run_to_the_end(graph, peer) == 0
    actions = [transition.action[0] for transition in peer.received['transition']]
    assert actions == [0.0, 0.0, 0.25, 0.0]


def test_realtime_holds_actions_and_gives_way_to_the_safe_one(graph):
    peer = graph.add(Peer(graph.context))
    peer.act = None
    peer.before_answer = lambda o: peer.send(o, [0.5]) if o.step == 0 else None
    graph.start(
        **PENDULUM,
        mode='realtime',
        real_time_factor=4.0,
        action_max_age_sec=0.0,
        episodes=1,
        environment_arguments='{max_episode_steps: 5}',
    )
    assert run_to_the_end(graph, peer) == 0
    actions = [(t.action[0], t.safe_action) for t in peer.received['transition']]
    assert actions == [(0.5, False)] + [(0.0, True)] * 4
    (summary,) = peer.received['episode']
    assert (summary.missed_actions, summary.safe_actions) == (4, 4)
    assert peer.received['environment'][0].mode == 'realtime'


def test_two_policies_and_two_simulators_are_reported(graph):
    watcher = graph.add(Peer(graph.context, topics=('/diagnostics',), name='first'))
    sim = graph.start(**PENDULUM, on_policy_timeout='wait')

    def reason():
        return next(
            (
                status.message
                for message in reversed(watcher.received['/diagnostics'])
                for status in message.status
                if status.name == sim.get_fully_qualified_name()
                and status.level == DiagnosticStatus.ERROR
            ),
            '',
        )

    second = graph.add(Peer(graph.context, topics=(), name='second'))
    graph.until(lambda: 'two policies act' in reason())
    assert '/ant0/first, /ant0/second' in reason()
    graph.until(lambda: 'waiting for the first action of the policy' in reason())
    assert 'two policies act' in reason()  # neither hides the other
    graph.add(make_sim(graph.context, **PENDULUM))
    graph.until(lambda: 'two simulators publish observations' in reason())
    graph.nodes.pop().destroy_node()
    assert second is graph.nodes[-1]


def test_policy_with_another_qos_is_reported(graph):
    watcher = graph.add(Peer(graph.context, topics=('/diagnostics',)))
    hasty = Node('hasty', context=graph.context, namespace=NAMESPACE)
    best_effort = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    hasty.create_publisher(Action, 'action', best_effort)
    graph.start(**PENDULUM)
    graph.until(
        lambda: any(
            '/ant0/hasty exchanges nothing on /ant0/action' in status.message
            for message in watcher.received['/diagnostics']
            for status in message.status
        )
    )
    hasty.destroy_node()


def test_joint_states_have_the_names_of_the_model(graph):
    peer = graph.add(Peer(graph.context, topics=('transition', 'episode', 'joint_states')))
    peer.act = lambda observation: [0.0] * 8
    graph.start(environment_arguments='{max_episode_steps: 5}')
    graph.until(lambda: peer.received['joint_states'])
    message = peer.received['joint_states'][0]
    assert message.name == [f'{part}_{leg}' for leg in (1, 2, 3, 4) for part in ('hip', 'ankle')]
    first = peer.observations[0].values
    # Joint angles are the 6th to 13th of the Ant's observation.
    assert list(message.position) == pytest.approx(list(first[5:13]), abs=1e-6)
    assert list(message.velocity) == pytest.approx(list(first[19:27]), abs=1e-6)


@pytest.mark.parametrize(
    ('parameters', 'message'),
    [
        ({'environment_id': 'Antt-v5'}, 'close ones are Ant-v5'),
        ({'environment_id': 'CartPole-v1'}, 'continuous actions'),
        ({'mode': 'turbo'}, "mode is 'turbo', must be one of lockstep, realtime"),
        ({'episodes': -1}, 'episodes'),
        ({'real_time_factor': 0.0}, 'real_time_factor'),
        ({'environment_arguments': '[1, 2]'}, 'must be a mapping'),
        ({'environment_arguments': '{legs: 6}'}, 'legs'),
        ({'environment_arguments': '{render_mode: human}'}, 'use the parameters'),
        ({'environment_arguments': '{a: ]'}, 'is no YAML'),
        ({**PENDULUM, 'reward_shaping': 'study'}, r'torso\.z'),
    ],
    ids=str,
)
def test_bad_parameters_are_refused(graph, parameters, message):
    with pytest.raises(ConfigurationError, match=message):
        make_sim(graph.context, **parameters)


def test_a_window_needs_a_display(graph, monkeypatch):
    monkeypatch.delenv('DISPLAY', raising=False)
    monkeypatch.delenv('WAYLAND_DISPLAY', raising=False)
    with pytest.raises(ConfigurationError, match='there is no display'):
        make_sim(graph.context, **PENDULUM, render='window')


def start_process(*parameters):
    arguments = [part for parameter in parameters for part in ('-p', parameter)]
    return subprocess.Popen(
        [
            sys.executable,
            '-m',
            'rl_edge_sim.sim_node',
            '--ros-args',
            *arguments,
            '-r',
            f'__ns:=/{NAMESPACE}',
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ,
    )


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_publishes_the_open_episode_and_ends_with_0(graph, number):
    peer = graph.add(Peer(graph.context))
    process = start_process('environment_id:=InvertedPendulum-v5')
    graph.until(lambda: len(peer.observations) > 20)
    process.send_signal(number)
    graph.until(
        lambda: any(
            summary.ended_by == EpisodeSummary.ENDED_BY_SHUTDOWN
            for summary in peer.received['episode']
        )
    )
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0, output


def test_a_process_with_bad_parameters_ends_with_one_line():
    process = start_process('environment_id:=Antt-v5')
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert output.strip().splitlines()[-1].startswith("error: no environment is named 'Antt-v5'")
    assert 'Traceback' not in output


def status_of(peer, **fields):
    publisher = peer.create_publisher(PolicyStatus, 'policy_status', qos.policy_status())
    publisher.publish(PolicyStatus(reason='made for Ant-v4', **fields))
    return publisher


def test_a_refusing_policy_ends_the_node_at_once_with_its_reason(graph):
    peer = graph.add(Peer(graph.context, topics=('episode',)))
    peer.act = None
    sim = graph.start(**PENDULUM)
    graph.until(lambda: peer.observations)
    status_of(peer, state=PolicyStatus.REFUSING, run_id=sim.run_id)
    graph.until(sim.finished.done)
    assert sim.finished.result() == 1
    assert sim._loop.failure == 'the policy refuses to act: made for Ant-v4'


def test_a_refusal_of_an_earlier_run_is_none_of_this_one(graph):
    peer = graph.add(Peer(graph.context, topics=('episode',)))
    peer.act = None
    sim = graph.start(**PENDULUM)
    graph.until(lambda: peer.observations)
    other = status_of(peer, state=PolicyStatus.REFUSING, run_id=sim.run_id + 1)
    graph.until(lambda: other.get_subscription_count() and other.wait_for_all_acked())
    for _ in range(20):
        graph.executor.spin_once(timeout_sec=0.01)
    assert sim._loop.refusal == ''
    assert not sim.finished.done()
