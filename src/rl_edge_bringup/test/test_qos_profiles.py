import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import ReliabilityPolicy

from rl_edge_bringup.qos_profiles import (
    DEFAULT,
    TOPICS,
    load_qos,
    qos_from_mapping,
    qos_names,
    qos_parameters,
)
from rl_edge_bringup.systems import NodeDescription
from rl_edge_core.errors import ConfigurationError
from rl_edge_core.ros import qos
from rl_edge_interfaces.msg import Observation

SIM = NodeDescription('rl_edge_sim', 'sim_node', 'sim', 'ant0')
SIM_OF_FLEET = NodeDescription('rl_edge_sim', 'sim_node', 'sim', 'fleet/ant0')


def of_topic(**policies):
    return {'topics': {'observation': policies}}


def test_the_shipped_profiles_are_valid_and_the_lossy_one_sends_observations_once():
    assert {'wired', 'lossy'} <= set(qos_names())
    for name in qos_names():
        load_qos(name)
    parameters = qos_parameters(load_qos('lossy'), node=SIM_OF_FLEET)
    prefix = 'qos_overrides./fleet/ant0/observation'
    assert parameters[f'{prefix}.publisher.reliability'] == 'best_effort'
    assert parameters[f'{prefix}.subscription.reliability'] == 'best_effort'
    assert 'qos_overrides./fleet/ant0/resource_usage/sim.publisher.depth' in parameters


def test_default_overrides_nothing():
    assert qos_parameters(load_qos(DEFAULT), node=SIM) == {}


def test_a_side_wins_over_what_both_have():
    overrides = qos_from_mapping(of_topic(depth=3, publisher={'depth': 7}))

    parameters = qos_parameters(overrides, node=SIM)

    assert parameters['qos_overrides./ant0/observation.publisher.depth'] == 7
    assert parameters['qos_overrides./ant0/observation.subscription.depth'] == 3


def test_overrides_follow_a_topic_to_the_name_it_is_remapped_to():
    overrides = qos_from_mapping(of_topic(depth=3))

    relative = qos_parameters(overrides, node=SIM, remappings=[('observation', 'seen')])
    absolute = qos_parameters(overrides, node=SIM, remappings=[('/ant0/observation', '/seen')])

    assert relative['qos_overrides./ant0/seen.publisher.depth'] == 3
    assert absolute['qos_overrides./seen.publisher.depth'] == 3


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (
            {'topics': {'observations': {}}},
            r"'observations' is unknown \(did you mean observation",
        ),
        (of_topic(reliabilty='reliable'), r"'reliabilty' is unknown \(did you mean reliability"),
        (of_topic(reliability='best-effort'), 'must be one of reliable, best_effort'),
        (of_topic(depth=0), 'must be a whole number from 1'),
        (of_topic(depth=True), 'must be a whole number from 1'),
        (of_topic(depth='3'), 'must be a whole number from 1'),
        (of_topic(publisher='reliable'), 'must be a mapping'),
        ({'topics': ['observation']}, 'must be a mapping'),
        ({'topic': {}}, "key 'topic' is unknown"),
        (of_topic(publisher={'reliability': 'best_effort'}), 'exchange nothing'),
        (of_topic(subscription={'durability': 'transient_local'}), 'exchange nothing'),
    ],
)
def test_unknown_names_and_incompatible_choices_are_errors(content, message):
    with pytest.raises(ConfigurationError, match=message):
        qos_from_mapping(content)


def test_an_unknown_profile_lists_those_there_are():
    with pytest.raises(ConfigurationError, match=r'did you mean lossy.*default, lossy, wired'):
        load_qos('losy')


def test_a_file_of_the_user_is_named_in_its_errors(tmp_path):
    path = tmp_path / 'mine.yaml'
    path.write_text('topics: {action: {depth: -1}}')

    with pytest.raises(ConfigurationError, match=r'mine\.yaml: action\.publisher\.depth is -1'):
        load_qos(str(path))


_VALUES = st.sampled_from(['reliable', 'best_effort', 'volatile', 'keep_all', 1, 5, 0, None, 1.5])
_POLICIES = st.dictionaries(
    st.sampled_from(['reliability', 'durability', 'history', 'depth', 'deadline']), _VALUES
)
_SIDES = st.dictionaries(
    st.sampled_from(['publisher', 'subscription', 'depth']), _POLICIES | _VALUES
)


@given(st.dictionaries(st.sampled_from([*TOPICS, 'nothing']), _SIDES | _POLICIES | st.none()))
def test_any_mapping_is_accepted_or_refused_with_a_reason(topics):
    with contextlib.suppress(ConfigurationError):  # any other exception fails the test
        overrides = qos_from_mapping({'topics': topics})
        parameters = qos_parameters(overrides, node=SIM)
        assert all(type(value) in (str, int) for value in parameters.values())


def test_a_node_takes_the_parameters(ros_domain_id):
    given_parameters = qos_parameters(load_qos('lossy'), node=SIM)
    context = Context()
    context.init(args=[], domain_id=ros_domain_id)
    overrides = [Parameter(name, value=value) for name, value in given_parameters.items()]
    node = Node('sim', namespace='ant0', context=context, parameter_overrides=overrides)

    publisher = qos.publisher(node, Observation, 'observation', qos.observation())

    info = node.get_publishers_info_by_topic('/ant0/observation')
    node.destroy_node()
    context.try_shutdown()
    assert publisher.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
    assert [endpoint.qos_profile.reliability for endpoint in info] == [
        ReliabilityPolicy.BEST_EFFORT
    ]
