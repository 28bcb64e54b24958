"""The policy node in this process, on a graph of its own, with a peer that plays the simulator."""

import dataclasses
import gc
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.node import Node
from rclpy.parameter import Parameter

from rl_edge_core.archive import pack_artifact
from rl_edge_core.artifact import load_manifest
from rl_edge_core.files import sha256_of
from rl_edge_core.ros import qos
from rl_edge_core.ros.conversions import to_environment, to_float32_field
from rl_edge_interfaces.msg import Action, Environment, Observation, PolicyStatus
from rl_edge_interfaces.srv import LoadModel
from rl_edge_policy.load import load_policy
from rl_edge_policy.policy_node import WAITING, PolicyNode
from rl_edge_policy.sign_command import sign

RUN = 42
LIMIT_SEC = 60.0


class Peer(Node):
    """What a simulator and a monitor do: publish, and keep what they hear."""

    def __init__(self, context):
        super().__init__('peer', context=context)
        self.actions, self.statuses, self.diagnostics = [], [], []
        self.environment = self.create_publisher(Environment, 'environment', qos.environment())
        self.observation = self.create_publisher(Observation, 'observation', qos.observation())
        self.create_subscription(Action, 'action', self.actions.append, qos.action())
        self.create_subscription(
            PolicyStatus, 'policy_status', self.statuses.append, qos.policy_status()
        )
        self.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)
        self.load_model = self.create_client(LoadModel, 'policy/load_model')

    def _on_diagnostics(self, message):
        self.diagnostics += message.status

    def describe(self, spec, run_id=RUN):
        message = to_environment(spec, run_id=run_id, reward_term_names=(), mode='lockstep')
        self.environment.publish(message)

    def observe(self, values, step=0, *, episode=0, run_id=RUN):
        message = Observation(run_id=run_id, episode=episode, step=step)
        message.values = to_float32_field(np.array(values, np.float32))
        message.header.stamp.sec = step
        self.observation.publish(message)


class Graph:
    """A peer, the policy nodes of a test and the executor that serves them."""

    def __init__(self, domain_id):
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain_id)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.peer = Peer(self.context)
        self.executor.add_node(self.peer)
        self.nodes = []

    def policy(self, model, **parameters):
        parameters = {'model': str(model), 'status_period_sec': 0.05, **parameters}
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        node = PolicyNode(context=self.context, parameter_overrides=overrides)
        self.nodes.append(node)
        self.executor.add_node(node)
        node.autostart()
        return node

    def until(self, condition):
        """Serve the nodes until ``condition()``; return what it returned."""
        deadline = time.monotonic() + LIMIT_SEC
        while not (found := condition()):
            assert time.monotonic() < deadline, self.heard()
            self.executor.spin_once(timeout_sec=0.05)
        return found

    def heard(self):
        statuses = [(status.state, status.reason) for status in self.peer.statuses[-3:]]
        diagnostics = [status.message for status in self.peer.diagnostics[-3:]]
        return f'heard only {statuses}, {diagnostics}'

    def connected(self):
        """Wait until the peer and the policy node found each other."""
        peer = self.peer
        self.until(
            lambda: (
                peer.observation.get_subscription_count()
                and peer.environment.get_subscription_count()
                and peer.count_publishers('action')
                and all(node.count_subscribers('action') for node in self.nodes)
            )
        )

    def ask(self, values, step=0, **address):
        """Publish an observation and return the action that answers it."""
        count = len(self.peer.actions)
        self.peer.observe(values, step, **address)
        self.until(lambda: len(self.peer.actions) > count)
        return self.peer.actions[-1]

    def status(self, condition=lambda status: True):
        """Return the next status for which ``condition`` holds."""
        self.peer.statuses.clear()
        return self.until(lambda: next(filter(condition, self.peer.statuses), None))

    def diagnosis(self, text):
        """Return the next diagnostic whose message holds ``text``."""
        self.peer.diagnostics.clear()
        return self.until(
            lambda: next((s for s in self.peer.diagnostics if text in s.message), None)
        )

    def load(self, **request):
        future = self.peer.load_model.call_async(LoadModel.Request(**request))
        self.until(future.done)
        return future.result()

    def close(self):
        for node in self.nodes:
            node.close()
            node.close()
            node.destroy_node()
        self.executor.shutdown()
        self.peer.destroy_node()
        rclpy.try_shutdown(context=self.context)


@pytest.fixture
def graph(ros_domain_id):
    graph = Graph(ros_domain_id)
    yield graph
    graph.close()


@pytest.fixture
def spec(artifacts):
    return load_manifest(artifacts / 'plane').environment


@pytest.fixture
def running(graph, artifacts, spec):
    """Return a graph whose policy node answers."""
    graph.policy(artifacts / 'plane', load_model='archive')
    graph.connected()
    graph.peer.describe(spec)
    graph.status(lambda status: status.state == PolicyStatus.ACTIVE and not status.reason)
    return graph


def test_an_answer_repeats_the_address_and_names_the_model(running, artifacts):
    answer = running.ask((0.25, 9.0, 0.0), 3, episode=2)
    assert (answer.run_id, answer.episode, answer.step) == (RUN, 2, 3)
    assert answer.header.stamp.sec == 3
    assert answer.values.tolist() == [0.25, 0.5]
    assert answer.model_hash == load_policy(artifacts / 'plane').model_hash
    assert answer.inference_time_us > 0
    assert not answer.safe_action


def test_the_console_says_when_it_is_ready_acts_and_is_alone_again(graph, artifacts, spec, capfd):
    graph.policy(artifacts / 'plane')
    graph.connected()
    graph.peer.describe(spec)
    graph.status(lambda status: status.state == PolicyStatus.ACTIVE and not status.reason)
    written = capfd.readouterr().err
    model = 'plane/actor_float32.tflite'
    assert written.count(f'ready: {model} waits for observations') == 1
    assert written.count(f'active: {spec.environment_id} by {model}') == 1

    graph.peer.destroy_publisher(graph.peer.observation)

    gone = 'nobody publishes /observation any more'
    graph.until(lambda: gone in capfd.readouterr().err)


def test_the_status_counts_and_times(running):
    for step in range(5):
        running.ask((0.1, 0.1, 0.0), step)
    status = running.status(lambda status: status.actions == 5)
    assert status.model_id == 'plane/actor_float32.tflite'
    assert (status.runtime, status.exploration) == ('litert', 'none')
    assert 0 < status.inference_us_p50 <= status.inference_us_p99
    assert status.first_action_sec > 0
    assert status.rejected_observations == status.swaps == 0
    assert running.diagnosis('answering').level == DiagnosticStatus.OK


def test_a_bad_observation_is_answered_with_the_safe_action(running):
    bad = [(np.nan, 0, 0), (0, np.inf, 0), (0, 0), (0, 0, 0, 0), ()]
    for step, values in enumerate(bad):
        answer = running.ask(values, step)
        assert answer.safe_action
        assert answer.values.tolist() == [0.0, -0.25]
        assert answer.step == step
    assert running.status(lambda status: status.actions == 5).rejected_observations == 5
    assert running.diagnosis('observations and 0 actions rejected in the last 1 s').level == (
        DiagnosticStatus.WARN
    )
    answer = running.ask((0.25, 0.0, 0.0), 9)
    assert not answer.safe_action
    assert answer.values.tolist() == [0.25, 0.0]
    # What is over for a second is no warning any more; the counts keep it.
    assert running.diagnosis('answering').level == DiagnosticStatus.OK
    assert running.status().rejected_observations == 5


def test_many_bad_observations_are_reported_once_a_second(running, capfd):
    running.peer.diagnostics.clear()
    started = time.monotonic()
    for step in range(300):
        running.ask((np.nan, 0, 0) if step % 2 else (0, np.nan, 0), step)
    elapsed = time.monotonic() - started
    written = capfd.readouterr().err.count('answered with the safe action')
    assert 1 <= written <= elapsed + 1
    # One at once, and one each status_period_sec, 0.05 s here; others may still be on their way.
    assert len(running.peer.diagnostics) <= 20 + elapsed + elapsed / 0.05


def test_a_model_that_answers_with_infinity_gives_way_to_the_safe_action(running):
    answer = running.ask((0.0, 0.0, 3e38), 0)
    assert answer.safe_action
    assert answer.values.tolist() == [0.0, -0.25]
    status = running.status(lambda status: status.actions == 1)
    assert status.rejected_observations == 0
    running.diagnosis('0 observations and 1 action rejected in the last 1 s')


def test_a_repeated_observation_is_answered_again_and_counted_once(running):
    first = running.ask((0.25, 0.0, 0.0), 0)
    second = running.ask((0.25, 0.0, 0.0), 0)
    assert first == second
    running.ask((0.25, 0.0, 0.0), 1)
    assert running.status(lambda status: status.actions).actions == 2


def test_it_acts_only_once_it_knows_the_environment(graph, artifacts, spec):
    graph.policy(artifacts / 'plane')
    graph.connected()
    assert graph.status(lambda status: status.reason == WAITING).state == PolicyStatus.ACTIVE
    graph.peer.observe((0.25, 0.0, 0.0), 0)
    graph.status()
    assert graph.peer.actions == []
    graph.peer.describe(spec)
    graph.until(lambda: graph.peer.actions)
    assert graph.peer.actions[0].values.tolist() == [0.25, 0.0]


def test_an_observation_of_another_run_waits_for_its_environment(running, spec):
    running.ask((0.25, 0.0, 0.0), 0)
    running.peer.observe((0.5, 0.0, 0.0), 0, run_id=43)
    running.status()
    running.status()
    assert len(running.peer.actions) == 1
    running.peer.describe(spec, run_id=43)
    running.until(lambda: len(running.peer.actions) == 2)
    assert running.peer.actions[1].run_id == 43


def test_a_run_is_answered_again_when_a_second_simulator_has_ended(running, spec):
    second = running.peer.create_publisher(Observation, 'observation', qos.observation())
    running.until(lambda: running.nodes[0].count_publishers('observation') == 2)
    running.peer.describe(spec, run_id=RUN + 1)
    assert running.ask([0.5, 0.25, 0.125], run_id=RUN + 1).run_id == RUN + 1
    running.peer.actions.clear()
    running.peer.observe([0.5, 0.25, 0.125], step=3)

    running.peer.destroy_publisher(second)
    running.until(lambda: running.nodes[0].count_publishers('observation') == 1)

    assert running.ask([0.5, 0.25, 0.125], step=4).run_id == RUN


def test_another_environment_is_refused_and_the_right_one_is_not(running, spec):
    running.peer.describe(dataclasses.replace(spec, control_period_sec=0.1), run_id=43)
    status = running.status(lambda status: status.state == PolicyStatus.REFUSING)
    assert 'control_period_sec: 0.05 against 0.1' in status.reason
    assert running.diagnosis('control_period_sec').level == DiagnosticStatus.ERROR
    running.peer.observe((0.25, 0.0, 0.0), 0, run_id=43)
    running.status()
    running.status()
    assert running.peer.actions == []
    running.peer.describe(spec, run_id=44)
    running.status(lambda status: status.state == PolicyStatus.ACTIVE and not status.reason)
    assert running.ask((0.25, 0.0, 0.0), 0, run_id=44).values.tolist() == [0.25, 0.0]


def test_an_environment_message_that_makes_no_sense_is_refused(running, spec):
    message = to_environment(spec, run_id=50, reward_term_names=(), mode='lockstep')
    message.action_low = to_float32_field(np.array([2.0, 2.0], np.float32))
    running.peer.environment.publish(message)
    status = running.status(lambda status: status.state == PolicyStatus.REFUSING)
    assert 'must be below action_high' in status.reason


# Lifecycle -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('model', 'parameters', 'reason'),
    [
        ('nowhere', {}, 'no policy at'),
        ('plane', {'recipe': 'int3'}, "no recipe 'int3'"),
        ('plane', {'runtime': 'keras'}, 'runtime keras cannot load'),
        ('plane', {'exploration': 'stochastic'}, 'use recipe keras, or exploration none'),
    ],
)
def test_a_policy_that_cannot_be_loaded_is_said_to_all(
    graph, artifacts, model, parameters, reason
):
    node = graph.policy(artifacts / model, **parameters)
    assert node.finished.result() == 1
    status = graph.status(lambda status: status.state == PolicyStatus.FAILED)
    assert reason in status.reason
    assert graph.diagnosis(reason).level == DiagnosticStatus.ERROR
    answer = graph.load(path=str(artifacts / 'plane'))
    assert not answer.success
    assert 'configure the node first' in answer.message


def test_without_autostart_it_is_led_through_its_states(graph, artifacts, spec):
    node = graph.policy(artifacts / 'plane', autostart=False)
    state = graph.peer.create_client(GetState, 'policy/get_state')
    graph.status(lambda status: status.state == PolicyStatus.UNCONFIGURED)
    for attempt in range(2):
        node.trigger_configure()
        graph.status(lambda status: status.state == PolicyStatus.INACTIVE)
        graph.connected()
        graph.peer.describe(spec)
        graph.until(lambda: node._environment is not None)
        graph.peer.observe((0.5, 0.0, 0.0), attempt)
        graph.until(lambda: node._waiting is not None)
        graph.status()
        assert graph.peer.actions == []
        node.trigger_activate()
        graph.status(lambda status: status.state == PolicyStatus.ACTIVE and not status.reason)
        assert graph.ask((0.25, 0.0, 0.0), 10 + attempt).values.tolist() == [0.25, 0.0]
        node.trigger_deactivate()
        graph.status(lambda status: status.state == PolicyStatus.INACTIVE)
        node.trigger_cleanup()
        graph.status(lambda status: status.state == PolicyStatus.UNCONFIGURED)
        graph.until(lambda: not graph.peer.count_publishers('action'))
        graph.peer.actions.clear()
    node.trigger_shutdown()
    graph.status(lambda status: status.state == PolicyStatus.FINALIZED)
    assert node.finished.result() == 0
    future = state.call_async(GetState.Request())
    graph.until(future.done)
    assert future.result().current_state.id == State.PRIMARY_STATE_FINALIZED


def transition_to(graph, number, label=''):
    """Ask for a transition through the service; return whether it was made."""
    client = graph.peer.create_client(ChangeState, 'policy/change_state')
    graph.until(client.service_is_ready)
    request = ChangeState.Request(transition=Transition(id=number, label=label))
    future = client.call_async(request)
    graph.until(future.done)
    graph.peer.destroy_client(client)
    return future.result().success


def state_of(graph):
    client = graph.peer.create_client(GetState, 'policy/get_state')
    graph.until(client.service_is_ready)
    future = client.call_async(GetState.Request())
    graph.until(future.done)
    graph.peer.destroy_client(client)
    return future.result().current_state.label


@pytest.mark.parametrize('callback', ['on_activate', 'on_deactivate', 'on_cleanup'])
def test_a_lifecycle_callback_that_raises_is_logged_and_leaves_the_node_unconfigured(
    graph, artifacts, monkeypatch, capfd, callback
):
    def fail(node, state):
        raise RuntimeError('the callback broke')

    monkeypatch.setattr(f'rclpy.lifecycle.LifecycleNode.{callback}', fail)
    node = graph.policy(artifacts / 'plane', autostart=False)
    assert transition_to(graph, Transition.TRANSITION_CONFIGURE)
    steps = {
        'on_activate': [Transition.TRANSITION_ACTIVATE],
        'on_deactivate': [Transition.TRANSITION_ACTIVATE, Transition.TRANSITION_DEACTIVATE],
        'on_cleanup': [Transition.TRANSITION_CLEANUP],
    }[callback]
    assert not [transition_to(graph, step) for step in steps][-1]
    status = graph.status(lambda status: status.state == PolicyStatus.UNCONFIGURED)
    assert 'the callback broke' in status.reason
    assert state_of(graph) == 'unconfigured'
    assert f'{callback} failed: RuntimeError: the callback broke' in capfd.readouterr().err
    monkeypatch.undo()
    assert transition_to(graph, Transition.TRANSITION_CONFIGURE)
    graph.status(lambda status: status.state == PolicyStatus.INACTIVE and not status.reason)
    assert node.finished.done() is False


def test_its_model_may_be_set_while_it_is_unconfigured(graph, artifacts, spec):
    node = graph.policy(artifacts / 'nowhere', autostart=False)
    given = [
        Parameter('model', value=str(artifacts / 'study')),
        Parameter('recipe', value='int8'),
        Parameter('threads', value=2),
    ]
    assert all(result.successful for result in node.set_parameters(given))
    (wrong,) = node.set_parameters([Parameter('runtime', value='onnx')])
    assert 'must be one of auto, keras' in wrong.reason
    assert node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    graph.status(lambda status: status.model_id == 'study/actor_int8.tflite')
    (late,) = node.set_parameters([Parameter('recipe', value='float32')])
    assert 'can be set while the node is unconfigured' in late.reason
    (fixed,) = node.set_parameters([Parameter('status_period_sec', value=2.0)])
    assert not fixed.successful


def test_reports_go_on_by_wall_time_where_no_clock_is_published(graph, artifacts):
    graph.policy(artifacts / 'plane', use_sim_time=True)
    for _ in range(3):
        status = graph.status(lambda status: status.state == PolicyStatus.ACTIVE)
        assert abs(status.header.stamp.sec - time.time()) < LIMIT_SEC


def test_arguments_that_are_declared_harmless_may_differ(graph, artifacts, spec):
    higher = dataclasses.replace(spec, environment_arguments={'healthy_z_range': [0.2, 2.0]})
    graph.policy(artifacts / 'plane')
    graph.connected()
    graph.peer.describe(higher)
    status = graph.status(lambda status: status.state == PolicyStatus.REFUSING)
    assert 'environment_arguments' in status.reason
    graph.nodes[0].trigger_deactivate()
    graph.nodes[0].trigger_cleanup()
    graph.nodes[0].set_parameters([Parameter('tolerated_arguments', value='healthy_z_range')])
    graph.nodes[0].autostart()
    graph.connected()
    graph.peer.describe(higher)
    graph.status(lambda status: status.state == PolicyStatus.ACTIVE and not status.reason)


# load_model ----------------------------------------------------------------------------------


def test_a_swap_by_path_takes_place_between_two_actions(running, artifacts):
    before = running.ask((0.25, 0.0, 0.0), 0)
    answer = running.load(path=str(artifacts / 'mirrored'))
    assert answer.success, answer.message
    after = running.ask((0.25, 0.0, 0.0), 1)
    assert (before.values.tolist(), after.values.tolist()) == ([0.25, 0.0], [-0.25, 0.0])
    assert after.model_hash == answer.model_hash != before.model_hash
    status = running.status(lambda status: status.swaps == 1)
    assert status.model_id == 'mirrored/actor_float32.tflite'


def test_a_repeated_observation_is_answered_by_the_policy_that_acts_now(running, artifacts):
    before = running.ask((0.25, 0.0, 0.0), 0)
    assert running.load(path=str(artifacts / 'mirrored')).success
    again = running.ask((0.25, 0.0, 0.0), 0)
    assert again.model_hash != before.model_hash
    assert again.values.tolist() == [-0.25, 0.0]


def test_a_model_loaded_while_the_node_is_cleaned_up_is_not_installed(
    running, artifacts, monkeypatch
):
    import threading

    from rl_edge_policy import load as load_module

    load, may_load = load_module.load_requested, threading.Event()
    monkeypatch.setattr(
        load_module, 'load_requested', lambda **k: may_load.wait(LIMIT_SEC) and load(**k)
    )
    (node,) = running.nodes
    request = LoadModel.Request(path=str(artifacts / 'mirrored'))
    future = running.peer.load_model.call_async(request)
    running.until(lambda: node._loading._busy.locked())
    node.trigger_deactivate()
    node.trigger_cleanup()
    node.trigger_configure()  # to the policy of its parameters, which must stay
    may_load.set()
    running.until(future.done)
    assert not future.result().success
    assert 'cleaned up while the model was loaded' in future.result().message
    assert future.result().model_hash == load_policy(artifacts / 'plane').model_hash


def test_a_swap_by_bytes_leaves_nothing_on_the_disk(running, artifacts, tmp_path, monkeypatch):
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
    data = pack_artifact(artifacts / 'mirrored', ['float32'])
    answer = running.load(archive=data, sha256=sha256_of(data))
    assert answer.success, answer.message
    assert running.ask((0.25, 0.0, 0.0), 0).values.tolist() == [-0.25, 0.0]
    assert list(tmp_path.iterdir()) == []


def test_a_refused_model_leaves_the_old_one(running, artifacts, plane, tmp_path):
    old = load_policy(artifacts / 'plane').model_hash
    data = pack_artifact(artifacts / 'mirrored', ['float32'])
    full = pack_artifact(artifacts / 'mirrored', ['keras'])
    (plane / 'actor_float32.tflite').write_bytes(b'edited')
    refused = [
        ({'path': str(tmp_path / 'nowhere')}, 'no policy at'),
        ({'path': str(plane)}, 'bytes, its manifest says'),
        ({'path': str(artifacts / 'plane'), 'recipe': 'int3'}, "no recipe 'int3'"),
        ({'path': str(artifacts / 'slower_plane')}, 'control_period_sec: 0.1 against 0.05'),
        ({'archive': data, 'sha256': '0' * 64}, 'send it again'),
        ({'archive': data[:-5], 'sha256': sha256_of(data[:-5])}, 'not a readable zip'),
        ({'archive': full, 'sha256': sha256_of(full)}, 'has no compressed file'),
        ({'path': 'x', 'archive': data, 'sha256': sha256_of(data)}, 'either path or archive'),
        ({}, 'either path or archive'),
    ]
    for step, (request, reason) in enumerate(refused):
        answer = running.load(**request)
        assert not answer.success
        assert reason in answer.message
        assert answer.model_hash == old
        assert running.ask((0.25, 0.0, 0.0), step).values.tolist() == [0.25, 0.0]
    assert running.status().swaps == 0


def acts_as_before(graph, answer, model, reason):
    """Check that a swap was refused for ``reason``, and that the policy ``model`` goes on."""
    assert not answer.success
    assert reason in answer.message
    assert answer.model_hash == load_policy(model).model_hash
    assert graph.ask((0.25, 0.0, 0.0), len(graph.peer.actions)).values.tolist() == [0.25, 0.0]


def started(graph, model, spec, **parameters):
    graph.policy(model, **parameters)
    graph.connected()
    graph.peer.describe(spec)
    graph.status(lambda status: status.state == PolicyStatus.ACTIVE and not status.reason)


def test_archives_are_refused_by_default(graph, artifacts, spec):
    started(graph, artifacts / 'plane', spec)
    data = pack_artifact(artifacts / 'mirrored', ['float32'])
    answer = graph.load(archive=data, sha256=sha256_of(data))
    acts_as_before(graph, answer, artifacts / 'plane', 'archives are not accepted')
    assert graph.load(path=str(artifacts / 'mirrored')).success


def test_a_model_outside_the_list_is_refused(graph, artifacts, spec):
    listed = load_policy(artifacts / 'plane').model_hash
    started(graph, artifacts / 'plane', spec, trusted_models=listed, load_model='archive')
    data = pack_artifact(artifacts / 'mirrored', ['float32'])
    for request in (
        {'path': str(artifacts / 'mirrored')},
        {'archive': data, 'sha256': sha256_of(data)},
    ):
        answer = graph.load(**request)
        acts_as_before(graph, answer, artifacts / 'plane', 'not among the 1 of trusted_models')
    assert graph.load(path=str(artifacts / 'plane')).success


def test_only_what_the_key_signed_is_loaded(graph, artifacts, plane, spec, tmp_path, write_keys):
    private, public = write_keys('mine')
    theirs, _ = write_keys('theirs')
    sign(plane, private)
    started(graph, plane, spec, trusted_key=str(public), load_model='archive')
    mirrored = tmp_path / 'mirrored'
    shutil.copytree(artifacts / 'mirrored', mirrored)
    for key, reason in ((None, 'is not signed'), (theirs, 'a signature that is not by')):
        if key is not None:
            sign(mirrored, key)
        data = pack_artifact(mirrored, ['float32'])
        for request in ({'path': str(mirrored)}, {'archive': data, 'sha256': sha256_of(data)}):
            acts_as_before(graph, graph.load(**request), plane, reason)
    sign(mirrored, private)
    data = pack_artifact(mirrored, ['float32'])
    answer = graph.load(archive=data, sha256=sha256_of(data))
    assert answer.success, answer.message
    assert graph.ask((0.25, 0.0, 0.0), 100).values.tolist() == [-0.25, 0.0]


def test_an_unsigned_model_is_not_started_with(graph, artifacts, write_keys):
    _, public = write_keys('mine')
    node = graph.policy(artifacts / 'plane', trusted_key=str(public))
    assert node.finished.done()
    assert node.finished.result() == 1
    assert 'is not signed' in node._reports.reason


@pytest.mark.parametrize('value', ['off', False])
def test_there_may_be_no_service_at_all(graph, artifacts, spec, value):
    """ROS 2 reads an off without quotes as False."""
    started(graph, artifacts / 'plane', spec, load_model=value)
    assert graph.peer.count_services('/policy/get_state') == 1
    assert graph.peer.count_services('/policy/load_model') == 0


def test_the_full_model_is_refused_where_there_is_no_tensorflow(running, artifacts, monkeypatch):
    from rl_edge_policy import runtimes

    find_spec = runtimes.importlib.util.find_spec
    monkeypatch.setattr(
        runtimes.importlib.util,
        'find_spec',
        lambda name: None if name == 'tensorflow' else find_spec(name),
    )
    answer = running.load(path=str(artifacts / 'mirrored' / 'policy.keras'))
    assert not answer.success
    assert 'needs one of keras: pip install tensorflow' in answer.message


def test_a_policy_that_refuses_acts_again_with_a_fitting_model(graph, artifacts, spec):
    graph.policy(artifacts / 'slower_plane')
    graph.connected()
    graph.peer.describe(spec)
    graph.status(lambda status: status.state == PolicyStatus.REFUSING)
    assert graph.load(path=str(artifacts / 'plane')).success
    graph.status(lambda status: status.state == PolicyStatus.ACTIVE and not status.reason)
    assert graph.ask((0.25, 0.0, 0.0), 0).values.tolist() == [0.25, 0.0]


def test_it_answers_while_it_loads_and_refuses_a_second_load(running, artifacts, monkeypatch):
    import threading

    from rl_edge_policy import load as load_module

    load, may_load = load_module.load_requested, threading.Event()

    def load_when_allowed(*args, **kwargs):
        assert may_load.wait(LIMIT_SEC)
        return load(*args, **kwargs)

    monkeypatch.setattr(load_module, 'load_requested', load_when_allowed)
    request = LoadModel.Request(path=str(artifacts / 'mirrored'))
    first = running.peer.load_model.call_async(request)
    second = running.load(path=str(artifacts / 'mirrored'))
    assert not second.success
    assert 'another model is being loaded' in second.message
    assert running.ask((0.25, 0.0, 0.0), 0).values.tolist() == [0.25, 0.0]
    assert not first.done()
    may_load.set()
    running.until(first.done)
    assert first.result().success
    assert running.ask((0.25, 0.0, 0.0), 1).values.tolist() == [-0.25, 0.0]


def test_the_present_recipe_is_kept_where_the_new_artifact_has_it(graph, artifacts):
    graph.policy(artifacts / 'study', recipe='int8')
    graph.connected()
    assert graph.load(path=str(artifacts / 'study')).success
    graph.status(lambda status: status.model_id == 'study/actor_int8.tflite')


# Duplicate publishers --------------------------------------------------------------------------


def test_two_policies_on_one_topic_are_reported(running):
    other = running.peer.create_publisher(Action, 'action', qos.action())
    found = running.diagnosis('two policies act: /action has publishers /peer, /policy;')
    assert found.level == DiagnosticStatus.ERROR
    running.peer.destroy_publisher(other)
    running.diagnosis('answering')


def test_two_simulators_on_one_topic_are_reported(running):
    running.peer.create_publisher(Observation, 'observation', qos.observation())
    running.diagnosis('two simulators publish observations: /observation has publishers ')


# Exploration ---------------------------------------------------------------------------------


def test_exploration_is_reproducible_by_address(graph, artifacts, spec):
    graph.policy(
        artifacts / 'squashed', recipe='keras', exploration='stochastic', exploration_seed=5
    )
    graph.connected()
    graph.peer.describe(spec)
    graph.status(lambda status: status.state == PolicyStatus.ACTIVE and not status.reason)
    seen = (0.25, -0.5, 0.0)
    actions = [graph.ask(seen, step).values.tolist() for step in range(6)]
    assert len({tuple(action) for action in actions}) == 6
    assert graph.ask(seen, 2).values.tolist() == actions[2]
    assert graph.status().exploration == 'stochastic'
    answer = graph.load(path=str(artifacts / 'plane'), recipe='float32')
    assert not answer.success
    assert 'use recipe keras, or exploration none' in answer.message


def test_its_attributes_are_not_those_of_rclpy(graph, artifacts):
    from rclpy.lifecycle import LifecycleNode

    base = LifecycleNode('base', context=graph.context)
    inherited = set(vars(base))
    base.destroy_node()
    node = graph.policy(artifacts / 'plane', autostart=False)
    own = {name for name in vars(node) if name not in inherited}
    assert {'_policy', '_settings', '_reply', '_reports'} <= own


def dds_threads():
    names = [path.read_text() for path in Path('/proc/self/task').glob('*/comm')]
    return sum(name.startswith('dds.') for name in names)


def test_a_closed_node_leaves_no_participant_behind(ros_domain_id, artifacts):
    """On one machine a participant finds others by their numbers, of which there are few."""
    gc.collect()
    before = dds_threads()
    for _ in range(2):
        graph = Graph(ros_domain_id)
        graph.policy(artifacts / 'plane')
        graph.status(lambda status: status.state == PolicyStatus.ACTIVE)
        assert dds_threads() > before
        graph.close()
        del graph
    gc.collect()
    assert dds_threads() <= max(before, 1)  # one watches over shared memory as long as we live
