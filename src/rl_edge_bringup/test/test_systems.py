"""The systems agree with the nodes: names, defaults, choices and limits of what they set."""

import dataclasses

import pytest
import yaml

from rl_edge_bringup.locations import share_folder
from rl_edge_bringup.models import CONFIGURATIONS, load_configuration
from rl_edge_bringup.parameter_files import read_parameters, write_parameters
from rl_edge_bringup.systems import SYSTEMS, find_system
from rl_edge_bringup.systems.common import policy_node, sim_node
from rl_edge_core.errors import ConfigurationError
from rl_edge_policy.policy_parameters import PolicyParameters
from rl_edge_sim.ros.parameters import SimParameters
from rl_edge_train.train_parameters import TrainParameters

DECLARED = {
    'sim_node': SimParameters,
    'policy_node': PolicyParameters,
    'train_node': TrainParameters,
}


def values_of(name):
    return {argument.name: argument.default for argument in find_system(name).arguments}


def nodes():
    every = [node for system in SYSTEMS for node in system.nodes(values_of(system.name))]
    return [node for node in every if not node.command]


@pytest.mark.parametrize('node', nodes(), ids=lambda node: node.executable)
def test_every_parameter_that_is_set_is_declared_by_the_node(node):
    declared = {field.name for field in dataclasses.fields(DECLARED[node.executable])}

    assert set(node.parameters) <= declared


@pytest.mark.parametrize('node', nodes(), ids=lambda node: node.executable)
def test_the_parameter_file_of_a_node_holds_its_parameters_with_their_defaults(node):
    path = share_folder(node.package) / 'config' / node.parameter_file
    fields = dataclasses.fields(DECLARED[node.executable])

    defaults = {
        field.name: list(field.default) if isinstance(field.default, tuple) else field.default
        for field in fields
    }
    assert read_parameters(path) == defaults


@pytest.mark.parametrize('system', SYSTEMS, ids=lambda system: system.name)
def test_arguments_have_the_choices_of_the_parameters(system):
    fields = {
        field.name: field for type_ in DECLARED.values() for field in dataclasses.fields(type_)
    }
    for argument in system.arguments:
        if argument.name in fields:
            assert argument.choices == tuple(fields[argument.name].metadata['choices'])
            assert type(argument.default) is type(fields[argument.name].default)


@pytest.mark.parametrize('system', SYSTEMS, ids=lambda system: system.name)
def test_arguments_are_described_and_their_defaults_are_valid(system):
    for argument in system.arguments:
        assert argument.description
        assert argument.parse(argument.default_text) == argument.default


def test_desktop_and_edge_together_are_the_closed_loop():
    values = values_of('sim')

    assert find_system('desktop').nodes(values) + find_system('edge').nodes(values) == (
        sim_node(values),
        policy_node(values),
    )


@pytest.mark.parametrize(
    ('system', 'given', 'subscribers'),
    [
        ('sim', {}, ''),
        ('sim', {'record': True}, 'recorder'),
        ('sim', {'record': True, 'record_topics': 'all'}, 'recorder'),
        ('sim', {'record': True, 'record_topics': 'episode, /diagnostics'}, ''),
        ('train', {}, 'train'),
        ('train', {'record': True}, 'train, recorder'),
    ],
)
def test_the_sim_begins_when_all_who_need_every_transition_receive(system, given, subscribers):
    values = {**values_of(system), 'recorder': 'rl_edge', **given}
    sims = [node for node in find_system(system).nodes(values) if node.executable == 'sim_node']

    assert [sim.parameters['transition_subscribers'] for sim in sims] == [subscribers]


@pytest.mark.parametrize('name', CONFIGURATIONS)
def test_configurations_can_be_read(name):
    assert load_configuration(name).description


def test_a_parameter_file_is_written_for_one_node_alone(tmp_path):
    node = sim_node({**values_of('sim'), 'namespace': 'fleet/ant0'})

    parameters = {'seed': 3, 'real_time_factor': 1.0}
    path = write_parameters(node, parameters, tmp_path / 'sim.yaml')

    content = yaml.safe_load(path.read_text())
    assert content == {
        '/fleet/ant0/sim': {'ros__parameters': {'seed': 3, 'real_time_factor': 1.0}}
    }


@pytest.mark.parametrize(
    'text', ['a: 1', 'sim: {parameters: {}}', 'a: {ros__parameters: 1}', '[]']
)
def test_a_parameter_file_of_another_form_is_an_error(tmp_path, text):
    path = tmp_path / 'sim.yaml'
    path.write_text(text)

    with pytest.raises(ConfigurationError, match=r'sim\.yaml'):
        read_parameters(path)
