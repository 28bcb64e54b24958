"""Messages that can be deserialized, with anything in them."""

import contextlib
import math
from array import array

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from rclpy.context import Context

from rl_edge_compress.untrained import ensure_untrained
from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.errors import RlEdgeError
from rl_edge_core.loop.lockstep import Lockstep
from rl_edge_core.loop.realtime import Realtime
from rl_edge_core.ros.conversions import from_episode_summary, to_environment
from rl_edge_core.shared_parameters import LoopParameters
from rl_edge_core.transition_sequence import Arrival, TransitionSequence
from rl_edge_interfaces.msg import Action, Environment, EpisodeSummary, Observation
from rl_edge_interfaces.srv import Reset
from rl_edge_policy.load import load_policy
from rl_edge_sim.environment import make_environment
from rl_edge_sim.simulation import Simulation

ENVIRONMENT = 'Pendulum-v1'
RUN_ID = 7
UINT32 = st.integers(0, 2**32 - 1)
UINT64 = st.integers(0, 2**64 - 1)
FLOATS = st.floats(width=32)
VALUES = st.lists(FLOATS, max_size=6).map(lambda values: array('f', values))
NAMES = st.lists(st.text(max_size=4), max_size=4)

ACTIONS = st.builds(
    Action,
    run_id=st.just(RUN_ID) | UINT64,
    episode=st.integers(0, 2) | UINT32,
    step=st.integers(0, 5) | UINT32,
    model_hash=st.text(max_size=8),
    values=VALUES,
    inference_time_us=FLOATS,
    safe_action=st.booleans(),
)
OBSERVATIONS = st.builds(
    Observation, run_id=st.just(RUN_ID) | UINT64, episode=UINT32, step=UINT32, values=VALUES
)
ENVIRONMENTS = st.builds(
    Environment,
    run_id=st.just(RUN_ID) | UINT64,
    environment_id=st.sampled_from(['', ENVIRONMENT, 'Ant-v5']) | st.text(max_size=5),
    spec_hash=st.text(max_size=5),
    observation_names=NAMES,
    observation_units=NAMES,
    action_names=NAMES,
    action_units=NAMES,
    action_low=VALUES,
    action_high=VALUES,
    safe_action=VALUES,
    control_period_sec=st.floats(),
    max_episode_steps=UINT32,
)


class Output:
    """Keep what a loop produces."""

    def __init__(self):
        self.observed, self.steps, self.episodes = [], [], []
        self.ended = None

    def publish_observation(self, event):
        self.observed.append(event)

    def publish_step(self, event):
        self.steps.append(event)

    def publish_episode(self, event):
        self.episodes.append(event)

    def restart_ticks(self):
        pass

    def finish(self, exit_code):
        self.ended = exit_code


class LoopUnderFire(RuleBasedStateMachine):
    """A loop that receives valid answers and anything else, in any order."""

    loop_type = Lockstep

    def __init__(self):
        super().__init__()
        self.now_ns = 0
        self.output = Output()
        env = make_environment(ENVIRONMENT, max_episode_steps=6)
        self.simulation = Simulation(env, seed=0)
        self.loop = self.loop_type(
            self.simulation,
            self.output,
            LoopParameters(on_policy_timeout='wait'),
            run_id=RUN_ID,
            now_ns=lambda: self.now_ns,
        )
        self.loop.on_timer()

    @rule(action=ACTIONS)
    def receive_anything(self, action):
        self.loop.on_action(action)

    @rule(value=st.floats(-100, 100, width=32))
    def receive_an_answer(self, value):
        self.loop.on_action(self.answer(value))

    @rule(value=st.floats(-100, 100, width=32))
    def receive_an_answer_twice(self, value):
        action = self.answer(value)
        self.loop.on_action(action)
        self.loop.on_action(action)

    @rule(milliseconds=st.integers(0, 3000))
    def let_time_pass(self, milliseconds):
        self.now_ns += milliseconds * 1_000_000
        self.loop.on_timer()

    @rule(seed=st.none() | st.integers())
    def reset(self, seed):
        with contextlib.suppress(RlEdgeError):
            self.loop.reset(seed)

    @rule(paused=st.booleans())
    def pause(self, paused):
        self.loop.pause(paused)

    def answer(self, value):
        observed = self.output.observed[-1]
        return Action(
            run_id=RUN_ID, episode=observed.episode, step=observed.step, values=array('f', [value])
        )

    @invariant()
    def actions_are_within_the_limits(self):
        spec = self.simulation.spec
        for event in self.output.steps[-3:]:
            assert np.isfinite(event.applied.values).all()
            assert (spec.low <= event.applied.values).all()
            assert (event.applied.values <= spec.high).all()

    @invariant()
    def every_step_is_made_once_and_in_order(self):
        addresses = [(event.episode, event.step) for event in self.output.steps]
        assert addresses == sorted(set(addresses))

    @invariant()
    def the_loop_has_not_ended(self):
        assert self.output.ended is None

    def teardown(self):
        self.loop.close()
        made = len(self.output.steps)
        assert sum(event.result.length for event in self.output.episodes) == made
        self.simulation.env.close()


class RealtimeUnderFire(LoopUnderFire):
    loop_type = Realtime

    @rule()
    def tick(self):
        self.now_ns += 50_000_000
        self.loop.on_tick()


TestLockstepUnderFire = LoopUnderFire.TestCase
TestRealtimeUnderFire = RealtimeUnderFire.TestCase


@given(ENVIRONMENTS)
def test_environment_messages_are_specifications_or_refused(message):
    with contextlib.suppress(RlEdgeError):
        assert len(EnvironmentSpec.from_message(message).hash) == 64


@given(
    st.builds(
        EpisodeSummary,
        episode_return=st.floats(),
        length=UINT32,
        ended_by=st.integers(0, 255),
        reward_terms=st.lists(st.floats(), max_size=3).map(lambda values: array('d', values)),
    ),
    NAMES,
)
def test_episode_messages_are_results_or_refused(message, names):
    with contextlib.suppress(ValueError):  # an ended_by that is none, terms without names
        result = from_episode_summary(message, reward_term_names=names)
        assert result.length == message.length


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 8)), max_size=60))
def test_the_count_of_lost_and_doubled_transitions_agrees_with_sets(arrivals):
    sequence, seen = TransitionSequence(), {}
    doubled = 0
    for run, episode, step in arrivals:
        steps = seen.setdefault((run, episode), set())
        doubled += step in steps
        is_duplicate = sequence.arrive(run, episode, step) is Arrival.DUPLICATE
        assert is_duplicate == (step in steps)
        steps.add(step)

    assert sequence.duplicates == doubled
    assert sequence.lost == sum(max(steps) + 1 - len(steps) for steps in seen.values())


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    return ensure_untrained(ENVIRONMENT, '', tmp_path_factory.mktemp('models'))


@pytest.fixture
def policy_node(model, ros_domain_id):
    from rclpy.parameter import Parameter

    from rl_edge_policy.policy_node import PolicyNode

    context = Context()
    context.init(args=[], domain_id=ros_domain_id)
    overrides = [Parameter('model', value=str(model)), Parameter('runtime', value='litert')]
    node = PolicyNode(context=context, parameter_overrides=overrides)
    node.autostart()
    sent = []
    publisher = node._action_publisher
    publisher.publish = lambda action: sent.append((action.step, list(action.values)))
    yield node, sent
    node.close()
    node.destroy_node()
    context.try_shutdown()


def test_the_policy_node_survives_any_environment_and_observation(policy_node, model):
    node, sent = policy_node
    spec = load_policy(model).spec
    good = to_environment(spec, run_id=RUN_ID, reward_term_names=[], mode='lockstep')

    @settings(max_examples=25)
    @given(st.lists(ENVIRONMENTS | OBSERVATIONS, max_size=8))
    def fuzz(messages):
        for message in [good, *messages]:
            handle = node._on_observation
            if isinstance(message, Environment):
                handle = node._on_environment
            handle(message)
        for _, values in sent:
            assert all(math.isfinite(value) for value in values)
            assert spec.fault_of_action(np.asarray(values, np.float32)) == ''
            assert (spec.low <= values).all()
            assert (values <= spec.high).all()
        node._on_environment(good)
        sent.clear()  # what had waited for it is answered too
        values = array('f', [0.1] * spec.observation_size)
        node._on_observation(Observation(run_id=RUN_ID, episode=1, step=1, values=values))
        assert len(sent) == 1
        sent.clear()
        node._reply_can_repeat = False

    fuzz()


def test_the_reset_service_takes_any_seed(ros_domain_id):
    from rclpy.parameter import Parameter

    from rl_edge_sim.sim_node import SimNode

    context = Context()
    context.init(args=[], domain_id=ros_domain_id)
    overrides = [Parameter('environment_id', value=ENVIRONMENT)]
    node = SimNode(context=context, parameter_overrides=overrides)

    @given(st.booleans(), st.integers(-(2**63), 2**63 - 1))
    def fuzz(use_seed, seed):
        request = Reset.Request(use_seed=use_seed, seed=seed)
        response = node._on_reset(request, Reset.Response())
        assert response.message
        assert response.success == (not use_seed or seed >= 0)

    fuzz()
    node.close()
    node.destroy_node()
    context.try_shutdown()
