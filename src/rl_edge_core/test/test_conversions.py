import math

import numpy as np
import pytest
from rclpy.serialization import deserialize_message, serialize_message

from rl_edge_core.episode_result import EndedBy, EpisodeResult
from rl_edge_core.ros import conversions
from rl_edge_interfaces.msg import Environment, EpisodeSummary, Observation


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


def test_the_specification_keeps_its_hash_over_the_wire(cart):
    message = conversions.to_environment(
        cart, run_id=2**64 - 1, reward_term_names=['forward'], mode='lockstep'
    )
    received = over_the_wire(message)
    assert received.run_id == 2**64 - 1
    assert conversions.from_environment(received) == cart
    assert conversions.from_environment(received).hash == received.spec_hash


@pytest.mark.parametrize('seconds', [0.0, 0.05, 1.0, 49.95, 123456.7])
def test_simulated_time_survives(seconds):
    assert conversions.to_seconds(conversions.to_time(seconds)) == pytest.approx(seconds, abs=1e-9)


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
    names = ['survive', 'forward']
    message = conversions.to_episode_summary(result, run_id=1, episode=2, reward_term_names=names)
    assert list(message.reward_terms) == [2.5, 10.0]
    received = over_the_wire(message)
    assert conversions.from_episode_summary(received, reward_term_names=names) == result


def test_the_reasons_are_the_messages_constants():
    assert EndedBy.TERMINATION == EpisodeSummary.ENDED_BY_TERMINATION
    assert EndedBy.TIME_LIMIT == EpisodeSummary.ENDED_BY_TIME_LIMIT
    assert EndedBy.RESET == EpisodeSummary.ENDED_BY_RESET
    assert EndedBy.POLICY_TIMEOUT == EpisodeSummary.ENDED_BY_POLICY_TIMEOUT
    assert EndedBy.SHUTDOWN == EpisodeSummary.ENDED_BY_SHUTDOWN


def test_an_empty_environment_message_is_refused():
    with pytest.raises(ValueError, match='at least one observation'):
        conversions.from_environment(Environment())
