import math
from array import array

import numpy as np
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from std_msgs.msg import Float64MultiArray

from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.episode_result import EndedBy, EpisodeResult
from rl_edge_core.loop.action_gate import ActionCounts
from rl_edge_core.loop.events import AppliedAction, EpisodeEvent, ObservationEvent, StepEvent
from rl_edge_core.ros import conversions
from rl_edge_interfaces.msg import Environment, EpisodeSummary, Observation, Transition


def over_the_wire(message):
    return deserialize_message(serialize_message(message), type(message))


def test_float32_values_survive_bit_for_bit():
    values = np.array([0.1, -0.0, np.nan, np.inf, 3.4e38, 1e-45], np.float32)
    message = over_the_wire(Observation(values=conversions.to_float32_field(values)))
    received = conversions.from_float32_field(message.values)
    assert received.dtype == np.float32
    assert received.tobytes() == values.tobytes()


def test_every_second_value_of_an_array_is_copied_in_order():
    values = np.arange(6.0, dtype=np.float32)[::2]
    assert list(conversions.to_float32_field(values)) == [0.0, 2.0, 4.0]


@pytest.mark.parametrize('size', [1, 2, 8])
def test_serialized_numbers_are_those_of_a_message(size):
    values = [0.1, -0.0, math.pi, math.inf, -1e300, 5e-324, 2, -7.5][:size]
    serialize = conversions.float64_serializer(size)
    assert serialize(values) == serialize_message(Float64MultiArray(data=values))
    assert list(deserialize_message(serialize(values), Float64MultiArray).data) == values


def test_the_specification_keeps_its_hash_over_the_wire(cart):
    message = conversions.to_environment(
        cart, run_id=2**64 - 1, reward_term_names=['forward'], mode='lockstep'
    )
    received = over_the_wire(message)
    assert received.run_id == 2**64 - 1
    assert EnvironmentSpec.from_message(received) == cart
    assert EnvironmentSpec.from_message(received).hash == received.spec_hash


@pytest.mark.parametrize('time_ns', [0, 50_000_000, 1_000_000_000, 123_456_700_000_001])
def test_simulated_time_survives(time_ns):
    message = Observation()
    conversions.set_stamp(message.header.stamp, time_ns)
    assert conversions.to_nanoseconds(over_the_wire(message).header.stamp) == time_ns


def test_an_empty_array_is_an_empty_field():
    assert conversions.to_float32_field(np.empty(0)) == array('f')
    assert conversions.to_float64_field([]) == array('d')


def test_an_observation_and_a_step_survive_bit_for_bit():
    before, after = np.array([0.1, -0.0], np.float32), np.array([0.2, 1e-45], np.float32)
    message = Observation(run_id=9)
    conversions.fill_observation(message, ObservationEvent(3, 4, before, 5_000_000_001))
    received = over_the_wire(message)
    assert (received.run_id, received.episode, received.step) == (9, 3, 4)
    assert received.values.tobytes() == before.tobytes()
    assert conversions.to_nanoseconds(received.header.stamp) == 5_000_000_001

    applied = AppliedAction(np.array([0.5], np.float32), True, 'abc', 120.5, 7.25)
    step = StepEvent(3, 4, before, applied, 1.5, (1.0, 0.5), after, False, True, math.nan, 6)
    transition = Transition(run_id=9)
    conversions.fill_transition(transition, step)
    received = over_the_wire(transition)
    assert received.observation.tobytes() == before.tobytes()
    assert received.next_observation.tobytes() == after.tobytes()
    assert (list(received.action), received.reward) == ([0.5], 1.5)
    assert list(received.reward_terms) == [1.0, 0.5]
    assert (received.terminated, received.truncated, received.safe_action) == (False, True, True)
    assert (received.model_hash, received.response_time_us) == ('abc', 120.5)
    assert received.inference_time_us == 7.25
    assert math.isnan(received.forward_position)
    assert received.header.stamp.nanosec == 6


@pytest.mark.parametrize('ended_by', list(EndedBy))
def test_an_episode_survives(ended_by):
    result = EpisodeResult(
        seed=3,
        episode_return=12.5,
        length=7,
        forward_distance=math.pi,
        mean_speed=0.5,
        ended_by=ended_by,
        reward_terms={'forward': 10.0, 'survive': 2.5},
    )
    counts = ActionCounts(missed=1, late=2, duplicate=3, foreign=4, rejected=5, safe=6)
    event = EpisodeEvent(2, result, counts, 'abc', 7)
    received = over_the_wire(conversions.to_episode_summary(event, run_id=1))
    assert list(received.reward_terms) == [10.0, 2.5]
    assert (received.run_id, received.episode, received.model_hash) == (1, 2, 'abc')
    counted = (received.missed_actions, received.late_actions, received.duplicate_actions)
    assert counted == (1, 2, 3)
    counted = (received.foreign_actions, received.rejected_actions, received.safe_actions)
    assert counted == (4, 5, 6)
    names = ['forward', 'survive']
    assert conversions.from_episode_summary(received, reward_term_names=names) == result


def test_the_reasons_are_the_messages_constants():
    assert EndedBy.TERMINATION == EpisodeSummary.ENDED_BY_TERMINATION
    assert EndedBy.TIME_LIMIT == EpisodeSummary.ENDED_BY_TIME_LIMIT
    assert EndedBy.RESET == EpisodeSummary.ENDED_BY_RESET
    assert EndedBy.POLICY_TIMEOUT == EpisodeSummary.ENDED_BY_POLICY_TIMEOUT
    assert EndedBy.SHUTDOWN == EpisodeSummary.ENDED_BY_SHUTDOWN
    assert EndedBy.SAFETY_STOP == EpisodeSummary.ENDED_BY_SAFETY_STOP


def test_an_empty_environment_message_is_refused():
    with pytest.raises(ValueError, match='at least one observation'):
        EnvironmentSpec.from_message(Environment())
