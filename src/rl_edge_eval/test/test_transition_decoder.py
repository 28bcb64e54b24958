from array import array

import numpy as np
import pytest
from ament_index_python.packages import get_package_share_directory
from hypothesis import given, settings
from hypothesis import strategies as st
from loop_messages import transition
from rclpy.serialization import serialize_message

import rl_edge_interfaces.msg
from rl_edge_eval.bag.decoders import DecodingError, generic_decoder, transition_decoder
from rl_edge_eval.bag.messages import BagTopic
from rl_edge_eval.bag.transition_decoder import TRANSITION_TYPE, decode_transition
from rl_edge_eval.recording.message_definitions import message_definition
from rl_edge_eval.synthetic_bag import Serializer
from rl_edge_interfaces.msg import Transition

TOPIC = BagTopic(
    '/ant0/transition', TRANSITION_TYPE, message_definition(TRANSITION_TYPE).text, 'ros2msg'
)
SERIALIZER = Serializer()
FLOATS = st.lists(st.floats(width=32, allow_nan=False), max_size=9)


def assert_same(row: object, data: bytes, message: object) -> None:
    for name in ('run_id', 'episode', 'step', 'reward', 'terminated', 'truncated', 'safe_action'):
        assert getattr(row, name) == getattr(message, name), name
    for name in ('model_hash', 'forward_position', 'response_time_us', 'inference_time_us'):
        assert getattr(row, name) == getattr(message, name), name
    assert list(row.reward_terms) == list(message.reward_terms)
    assert row.observation(data).tolist() == list(message.observation)
    assert row.action(data).tolist() == list(message.action)
    assert row.sim_time_sec == pytest.approx(
        message.header.stamp.sec + message.header.stamp.nanosec * 1e-9
    )


@settings(deadline=None, max_examples=200)
@given(
    frame=st.text(max_size=9).filter(lambda text: '\0' not in text),
    model=st.text('0123456789abcdef', max_size=9),
    observation=FLOATS,
    action=FLOATS,
    terms=st.lists(st.floats(allow_nan=False), max_size=5),
    flags=st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_agrees_with_ros_and_rosbags(frame, model, observation, action, terms, flags) -> None:
    message = Transition(
        run_id=2**64 - 1,
        episode=3,
        step=2**32 - 1,
        observation=array('f', observation),
        action=array('f', action),
        reward=-1.25,
        reward_terms=array('d', terms),
        next_observation=array('f', observation),
        terminated=flags[0],
        truncated=flags[1],
        safe_action=flags[2],
        model_hash=model,
        forward_position=1.5,
        response_time_us=200.5,
        inference_time_us=7.25,
    )
    message.header.frame_id = frame
    message.header.stamp.sec, message.header.stamp.nanosec = 12, 50_000_000
    data = serialize_message(message)
    row = decode_transition(data)
    assert_same(row, data, message)
    assert_same(row, data, generic_decoder(TOPIC)(data))
    if terms:  # rosbags expects padding behind an empty float64[]
        assert_same(row, data, SERIALIZER.deserialize(data, 'Transition'))


def test_cut_off_messages_are_refused_at_every_length() -> None:
    data = SERIALIZER.serialize('Transition', transition(0, 1))
    decode = transition_decoder(TOPIC)
    assert decode(data).step == 1
    for length in range(len(data) - 8):
        with pytest.raises(ValueError, match=r'no whole|encapsulation'):
            decode(data[:length])


def test_lengths_that_lie_are_refused() -> None:
    data = bytearray(SERIALIZER.serialize('Transition', transition(0, 1)))
    # The count of observation values lies behind header (12, padded to 16) and address (16).
    assert data[4 + 32 : 4 + 36] == (3).to_bytes(4, 'little')
    data[4 + 32 : 4 + 36] = (2**31).to_bytes(4, 'little')
    with pytest.raises(ValueError, match='no whole Transition'):
        decode_transition(bytes(data))


def test_other_layouts_are_decoded_field_by_field() -> None:
    # Another version: a field more, and two in another order.
    text = TOPIC.definition.replace(
        'float32 response_time_us', 'string comment\nfloat32 response_time_us'
    )
    other = BagTopic('/ant0/transition', TRANSITION_TYPE, text, 'ros2msg')
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg(text, TRANSITION_TYPE))
    values = transition(1, 2)
    stamp = store.types['builtin_interfaces/msg/Time'](sec=1, nanosec=0)
    header = store.types['std_msgs/msg/Header'](stamp=stamp, frame_id='')
    flags = {'terminated': True, 'truncated': False, 'safe_action': False}
    message = store.types[TRANSITION_TYPE](header=header, comment='new', **values, **flags)
    data = bytes(store.serialize_cdr(message, TRANSITION_TYPE))
    row = transition_decoder(other)(data)
    assert (row.episode, row.step, row.terminated) == (1, 2, True)
    assert row.response_time_us == 100.0
    assert row.observation(data).tolist() == [0.5, 2.0, 1.0]


def test_big_endian_messages_are_decoded() -> None:
    big = SERIALIZER.serialize('Transition', transition(1, 2), little_endian=False)
    assert big[:2] == b'\x00\x00'
    row = transition_decoder(TOPIC)(big)
    assert (row.episode, row.step) == (1, 2)
    assert np.array_equal(row.action(big), np.array([0.1, -0.2], np.float32))


def test_missing_field_is_named() -> None:
    text = TOPIC.definition.replace('float64 forward_position', 'float64 somewhere')
    with pytest.raises(DecodingError, match='has no forward_position'):
        transition_decoder(BagTopic('/t', TRANSITION_TYPE, text, 'ros2msg'))


def test_bags_without_definitions_use_the_installed_ones() -> None:
    data = SERIALIZER.serialize('Transition', transition(1, 2))
    assert transition_decoder(BagTopic('/t', TRANSITION_TYPE))(data).step == 2
    assert get_package_share_directory('rl_edge_interfaces')


def test_unknown_type_without_a_definition() -> None:
    with pytest.raises(DecodingError, match='neither the bag nor this computer'):
        generic_decoder(BagTopic('/t', 'no_such_msgs/msg/Thing'))


@pytest.mark.parametrize(
    'name', ['EpisodeSummary', 'Environment', 'PolicyStatus', 'ResourceUsage']
)
def test_generic_decoder_agrees_with_ros(name: str) -> None:
    message_class = getattr(rl_edge_interfaces.msg, name)
    message = message_class()
    for number, (field, kind) in enumerate(message_class.get_fields_and_field_types().items(), 1):
        if kind == 'string':
            setattr(message, field, 'x' * number)
        elif kind == 'sequence<string>':
            setattr(message, field, ['y' * i for i in range(number)])
        elif kind.startswith('sequence'):
            # Every other one is empty, which must not be followed by padding.
            setattr(message, field, [float(i) for i in range(number % 2 * 3)])
        elif kind != 'std_msgs/Header':
            setattr(message, field, type(getattr(message, field))(number))
    full = f'rl_edge_interfaces/msg/{name}'
    topic = BagTopic('/t', full, message_definition(full).text, 'ros2msg')
    decoded = generic_decoder(topic)(serialize_message(message))
    for field, kind in message_class.get_fields_and_field_types().items():
        expected = getattr(message, field)
        if kind.startswith('sequence'):
            assert list(getattr(decoded, field)) == list(expected), field
        elif kind != 'std_msgs/Header':
            assert getattr(decoded, field) == expected, field


def test_summary_without_reward_terms() -> None:
    full = 'rl_edge_interfaces/msg/EpisodeSummary'
    data = serialize_message(rl_edge_interfaces.msg.EpisodeSummary(length=77, mean_speed=1.5))
    message = generic_decoder(BagTopic('/t', full))(data)
    assert (message.length, message.mean_speed) == (77, 1.5)
