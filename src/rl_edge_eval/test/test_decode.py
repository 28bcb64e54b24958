"""Messages decoded by the definitions in bags, beside what rclpy serialized."""

import struct
from array import array
from pathlib import Path

import pytest
from ament_index_python.packages import get_package_share_directory
from bag_writer import serialize
from hypothesis import given, settings
from hypothesis import strategies as st
from loop_messages import transition
from mcap_ros2.writer import Writer
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo

import rl_edge_interfaces.msg
from rl_edge_eval.bag.bag import Bag
from rl_edge_eval.bag.decode import DecodingError, decoder_of
from rl_edge_eval.bag.idl import msg_of_idl
from rl_edge_eval.bag.messages import BagTopic
from rl_edge_eval.metrics.records import TRANSITION_FIELDS, TRANSITION_TYPE
from rl_edge_eval.recording.message_definitions import message_definition
from rl_edge_interfaces.msg import Transition

TOPIC = BagTopic(
    '/ant0/transition', TRANSITION_TYPE, message_definition(TRANSITION_TYPE).text, 'ros2msg'
)
FLOATS = st.lists(st.floats(width=32, allow_nan=False), max_size=9)
OURS = ['Transition', 'EpisodeSummary', 'Environment', 'PolicyStatus', 'ResourceUsage']


def assert_same(decoded: object, message: object) -> None:
    """Compare all fields, but that of the header."""
    for field, kind in message.get_fields_and_field_types().items():
        expected, found = getattr(message, field), getattr(decoded, field)
        if kind.startswith('sequence'):
            assert list(found) == list(expected), field
        elif kind == 'std_msgs/Header':
            assert found.frame_id == expected.frame_id
            assert found.stamp.sec == expected.stamp.sec
            assert found.stamp.nanosec == expected.stamp.nanosec
        else:
            assert found == expected, field


@settings(deadline=None, max_examples=200)
@given(
    frame=st.text(max_size=9).filter(lambda text: '\0' not in text),
    model=st.text('0123456789abcdef', max_size=9),
    observation=FLOATS,
    action=FLOATS,
    terms=st.lists(st.floats(allow_nan=False), max_size=5),
    flags=st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_agrees_with_ros(frame, model, observation, action, terms, flags) -> None:
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
    assert_same(decoder_of(TOPIC)(data), message)


def test_cut_off_messages_are_refused_at_every_length() -> None:
    data = serialize('Transition', transition(0, 1))
    decode = decoder_of(TOPIC)
    assert decode(data).step == 1
    for length in range(len(data) - 8):
        with pytest.raises(ValueError, match=r'no whole|encapsulation'):
            decode(data[:length])


def test_lengths_that_lie_are_refused() -> None:
    data = bytearray(serialize('Transition', transition(0, 1)))
    # The count of observation values lies behind header (12, padded to 16) and address (16).
    assert data[4 + 32 : 4 + 36] == (3).to_bytes(4, 'little')
    data[4 + 32 : 4 + 36] = (2**31).to_bytes(4, 'little')
    with pytest.raises(ValueError, match=r'no whole .*Transition'):
        decoder_of(TOPIC)(bytes(data))


def test_other_layouts_are_decoded_field_by_field(tmp_path: Path) -> None:
    # Another version: a field more, before others.
    text = TOPIC.definition.replace(
        'float32 response_time_us', 'string comment\nfloat32 response_time_us'
    )
    values = transition(1, 2, comment='new', terminated=True)
    values = {key: getattr(value, 'tolist', lambda v=value: v)() for key, value in values.items()}
    with (tmp_path / 'bag_0.mcap').open('wb') as file, Writer(file) as writer:
        schema = writer.register_msgdef(TRANSITION_TYPE, text)
        writer.write_message('/ant0/transition', schema, values, 1)
    (message,) = Bag(tmp_path / 'bag_0.mcap')
    decoded = decoder_of(message.topic, needs=TRANSITION_FIELDS)(message.data)
    assert (decoded.episode, decoded.step, decoded.terminated) == (1, 2, True)
    assert decoded.comment == 'new'
    assert decoded.response_time_us == 100.0
    assert list(decoded.observation) == [0.5, 2.0, 1.0]


def test_big_endian_messages_are_decoded() -> None:
    topic = BagTopic('/t', 'test_msgs/msg/Pair', 'uint16 first\nfloat64[] second\n', 'ros2msg')
    big = b'\0\0\0\0' + struct.pack('>HxxI2d', 513, 2, 1.5, -2.0)
    decoded = decoder_of(topic)(big)
    assert (decoded.first, list(decoded.second)) == (513, [1.5, -2.0])


def test_other_encapsulations_are_refused() -> None:
    data = serialize('Transition', transition(0, 1))
    for kind in (b'\0\2', b'\0\3', b'\0\7', b'\1\1'):
        with pytest.raises(ValueError, match='not that of plain CDR'):
            decoder_of(TOPIC)(kind + data[2:])


def test_missing_field_is_named() -> None:
    text = TOPIC.definition.replace('float64 forward_position', 'float64 somewhere')
    decode = decoder_of(BagTopic('/t', TRANSITION_TYPE, text, 'ros2msg'), needs=TRANSITION_FIELDS)
    with pytest.raises(DecodingError, match='has no forward_position'):
        decode(serialize('Transition', transition(0, 1)))


def test_bags_without_definitions_use_the_installed_ones() -> None:
    data = serialize('Transition', transition(1, 2))
    assert decoder_of(BagTopic('/t', TRANSITION_TYPE))(data).step == 2


def test_unknown_type_without_a_definition() -> None:
    with pytest.raises(DecodingError, match='neither the bag nor this computer'):
        decoder_of(BagTopic('/t', 'no_such_msgs/msg/Thing'))


def filled(name: str) -> object:
    """Return a message with a value in each field, every other sequence empty."""
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
    return message


@pytest.mark.parametrize('name', OURS)
def test_all_fields_of_our_messages(name: str) -> None:
    message, full = filled(name), f'rl_edge_interfaces/msg/{name}'
    topic = BagTopic('/t', full, message_definition(full).text, 'ros2msg')
    assert_same(decoder_of(topic)(serialize_message(message)), message)


def test_summary_without_reward_terms() -> None:
    full = 'rl_edge_interfaces/msg/EpisodeSummary'
    data = serialize_message(rl_edge_interfaces.msg.EpisodeSummary(length=77, mean_speed=1.5))
    message = decoder_of(BagTopic('/t', full))(data)
    assert (message.length, message.mean_speed) == (77, 1.5)


def idl_of(*types: str, heads: bool = True) -> str:
    """Return the installed .idl files of ``types`` as rosbag2 stores them."""
    parts = []
    for full in types:
        package, _, name = full.split('/')
        text = (Path(get_package_share_directory(package)) / 'msg' / f'{name}.idl').read_text()
        parts.append(f'{"=" * 80}\nIDL: {full}\n{text}' if heads else text)
    return '\n'.join(parts)


HEADER = ('std_msgs/msg/Header', 'builtin_interfaces/msg/Time')


@pytest.mark.parametrize(('encoding', 'heads'), [('ros2idl', True), ('omgidl', False)])
@pytest.mark.parametrize('name', OURS)
def test_definitions_in_idl(name: str, encoding: str, heads: bool) -> None:
    message, full = filled(name), f'rl_edge_interfaces/msg/{name}'
    topic = BagTopic('/t', full, idl_of(full, *HEADER, heads=heads), encoding)
    assert_same(decoder_of(topic)(serialize_message(message)), message)


def test_idl_with_arrays_and_other_packages() -> None:
    full = 'sensor_msgs/msg/CameraInfo'
    text = idl_of(full, 'sensor_msgs/msg/RegionOfInterest', *HEADER)
    matrix = [float(i) for i in range(9)]
    message = CameraInfo(height=3, distortion_model='plumb_bob', d=[0.5], k=matrix)
    message.roi.do_rectify = True
    decoded = decoder_of(BagTopic('/t', full, text, 'ros2idl'))(serialize_message(message))
    assert (decoded.height, decoded.distortion_model, list(decoded.d)) == (3, 'plumb_bob', [0.5])
    assert list(decoded.k) == matrix
    assert decoded.roi.do_rectify is True


def test_every_kind_of_idl_declaration() -> None:
    text = """
    // a comment; struct Not { long real; };
    #include "a/b.idl"
    module a { module msg {
      enum Color { RED, GREEN };
      typedef float float__2[2];
      module Thing_Constants { @verbatim(language="comment", text="a (kind)") const long X = 1; };
      @verbatim (language="comment", text="says // nothing and has a } and a ;")
      struct Thing {
        @default (value=TRUE) boolean flag;
        unsigned long long big; long long signed_big; unsigned short small; long plain; octet raw;
        sequence<double, 5> few; sequence<string<3>> texts; string<10> name; float__2 pair;
        sequence<b::msg::Other> others; Color color; double grid[4]; wstring wide;
      };
    }; };
    """
    assert msg_of_idl(text, 'a/msg/Thing').splitlines() == [
        'bool flag',
        'uint64 big',
        'int64 signed_big',
        'uint16 small',
        'int32 plain',
        'byte raw',
        'float64[<=5] few',
        'string<=3[] texts',
        'string<=10 name',
        'float32[2] pair',
        'b/Other[] others',
        'uint32 color',
        'float64[4] grid',
        'wstring wide',
    ]


@pytest.mark.parametrize(
    'text',
    ['', 'no idl', 'module a { module msg { struct Thing { long x', 'struct Thing { long; };'],
)
def test_broken_idl_is_named(text: str) -> None:
    topic = BagTopic('/t', 'a/msg/Thing', text or ' ', 'ros2idl')
    with pytest.raises(DecodingError, match='the definition of a/msg/Thing cannot be used'):
        decoder_of(topic)
