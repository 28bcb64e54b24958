import dataclasses

import numpy as np
import pytest

from rl_edge_core.configuration import from_mapping
from rl_edge_core.environment_spec import EnvironmentSpec, environment_arguments
from rl_edge_core.errors import ConfigurationError


@pytest.fixture
def spec() -> EnvironmentSpec:
    return EnvironmentSpec(
        environment_id='Cart-v0',
        observation_names=('cart.x', 'cart.velocity', 'pole.angle'),
        observation_units=('m', 'm/s', 'rad'),
        action_names=('push', 'pull'),
        action_units=('N', 'N'),
        action_low=(-1.0, -0.1),
        action_high=(1.0, 0.4),
        safe_action=(0.0, 0.0),
        control_period_sec=0.05,
        max_episode_steps=1000,
    )


def test_survives_the_trip_through_a_mapping(spec):
    copy = from_mapping(EnvironmentSpec, spec.to_dict())
    assert copy == spec
    assert copy.hash == spec.hash
    assert copy.differences(spec) == []


def test_hash_does_not_depend_on_float_precision_beyond_float32(spec):
    rounded = dataclasses.replace(spec, action_high=(1.0, float(np.float32(0.4))))
    assert rounded.hash == spec.hash


@pytest.mark.parametrize(
    ('change', 'line'),
    [
        ({'environment_id': 'Cart-v1'}, "environment_id: 'Cart-v0' against 'Cart-v1'"),
        ({'action_high': (1.0, 0.5)}, 'action_high[1]:'),
        ({'observation_names': ('cart.x', 'cart.v', 'pole.angle')}, 'observation_names[1]:'),
        ({'max_episode_steps': 0}, 'max_episode_steps: 1000 against 0'),
    ],
)
def test_names_each_difference(spec, change, line):
    other = dataclasses.replace(spec, **change)
    assert other.hash != spec.hash
    (difference,) = spec.differences(other)
    assert difference.startswith(line)


def test_limits_actions_per_value(spec):
    np.testing.assert_array_equal(
        spec.limit(np.array([-3.0, 3.0], np.float32)), np.array([-1.0, 0.4], np.float32)
    )


@pytest.mark.parametrize(
    ('action', 'is_inside'),
    [
        ([-1.0, 0.4], True),
        ([-1.5, 0.0], False),
        ([0.0, 0.5], False),
        ([0.0, np.nan], False),
        ([-np.inf, 0.0], False),
        ([0.0], False),
        ([0.0, 0.0, 0.0], False),
    ],
)
def test_an_action_is_inside_when_each_value_is(spec, action, is_inside):
    assert spec.contains(np.array(action, np.float32).tolist()) is is_inside


@pytest.mark.parametrize(
    ('values', 'fault'),
    [
        ([0.0, 1.0, 2.0], ''),
        ([0.0, np.nan, 2.0], 'observation[1] is nan'),
        ([np.inf, 0.0, -np.inf], 'observation[0] is inf'),
        ([0.0, -np.inf, 2.0], 'observation[1] is -inf'),
        ([0.0, 1.0], 'observation has shape (2,), must be (3,)'),
        ([], 'observation has shape (0,), must be (3,)'),
        ([3.4e38, 3.4e38, 3.4e38], ''),
    ],
)
def test_tells_what_is_wrong_with_an_observation(spec, values, fault):
    found = spec.fault_of_observation(np.array(values, np.float32))
    assert found.startswith(fault)
    assert bool(found) == bool(fault)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'action_low': (-1.0,)}, 'action_low has 1 values, must have 2'),
        ({'observation_units': ('m',)}, 'observation_units has 1 values'),
        ({'action_low': (2.0, -0.1)}, 'must be below action_high'),
        ({'safe_action': (0.0, 9.0)}, 'outside the limits'),
        ({'control_period_sec': 0.0}, 'control_period_sec is 0.0'),
        ({'control_period_sec': float('nan')}, 'control_period_sec is nan'),
        ({'max_episode_steps': -1}, 'max_episode_steps is -1'),
        ({'action_names': ('push', 'push')}, 'action_names repeat'),
    ],
)
def test_refuses_a_spec_that_contradicts_itself(spec, change, message):
    with pytest.raises(ConfigurationError, match=message.replace('(', r'\(')):
        dataclasses.replace(spec, **change)


def test_refuses_unknown_and_missing_keys(spec):
    mapping = spec.to_dict()
    with pytest.raises(ConfigurationError, match='unknown colour'):
        from_mapping(EnvironmentSpec, {**mapping, 'colour': 'red'})
    del mapping['safe_action']
    with pytest.raises(ConfigurationError, match='lacks safe_action'):
        from_mapping(EnvironmentSpec, mapping)


def test_arguments_are_part_of_the_hash_and_none_leave_it_as_it_was(spec):
    assert spec.environment_arguments == ''
    assert 'environment_arguments' not in spec.to_dict()
    taller = dataclasses.replace(spec, environment_arguments={'legs': 6, 'height': (0.2, 1.0)})
    assert taller.environment_arguments == '{"height": [0.2, 1.0], "legs": 6}'
    assert taller.arguments == {'height': [0.2, 1.0], 'legs': 6}
    assert taller.hash != spec.hash
    assert from_mapping(EnvironmentSpec, taller.to_dict()) == taller
    (difference,) = taller.differences(spec)
    assert difference.startswith('environment_arguments: ')
    assert hash(taller) != hash(spec)


@pytest.mark.parametrize('arguments', [[1, 2], {'f': print}, {'x': float('nan')}])
def test_arguments_that_are_no_text_are_refused(spec, arguments):
    with pytest.raises(ConfigurationError, match='environment_arguments of Cart-v0'):
        dataclasses.replace(spec, environment_arguments=arguments)


@pytest.mark.parametrize(
    ('text', 'message'),
    [('[1]', 'must be a mapping'), ('{1: 2}', 'must be a mapping'), ('{a: ]', 'is no YAML')],
)
def test_arguments_come_from_a_yaml_mapping(text, message):
    assert environment_arguments(' ') == {}
    assert environment_arguments('{xml_file: ./a.xml}') == {'xml_file': './a.xml'}
    with pytest.raises(ConfigurationError, match=message):
        environment_arguments(text)


def test_versions_are_kept_but_neither_hashed_nor_compared(spec):
    made = dataclasses.replace(spec, simulator_versions=('gymnasium 1.2.3', 'mujoco 3.3.2'))
    assert made.hash == spec.hash
    assert made == spec
    assert made.differences(spec) == []
    assert from_mapping(EnvironmentSpec, made.to_dict()).simulator_versions == (
        'gymnasium 1.2.3',
        'mujoco 3.3.2',
    )
    assert 'simulator_versions' not in spec.to_dict()  # as manifests of earlier versions


def test_another_major_version_is_warned_of(spec):
    made = dataclasses.replace(spec, simulator_versions=('gymnasium 1.2.3', 'mujoco 3.3.2'))
    minor = dataclasses.replace(spec, simulator_versions=('gymnasium 1.4.0', 'mujoco 3.9.0'))
    major = dataclasses.replace(spec, simulator_versions=('gymnasium 1.2.3', 'mujoco 4.0.1'))
    assert made.version_warnings(minor) == []
    assert made.version_warnings(spec) == []
    assert made.version_warnings(major) == ['mujoco 3.3.2 against 4.0.1']
