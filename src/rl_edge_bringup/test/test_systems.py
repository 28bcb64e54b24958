"""The systems: their arguments are the parameters of their nodes, declared in one place."""

import dataclasses
import sys
from importlib.metadata import EntryPoint

import pytest
import yaml
from rclpy.context import Context
from rclpy.node import Node

from rl_edge_bringup import __main__ as command_line
from rl_edge_bringup import recording, systems
from rl_edge_bringup.__main__ import main, parameter_files, to_yaml
from rl_edge_bringup.systems import (
    SYSTEMS,
    find_system,
    policy_node,
    sim_node,
)
from rl_edge_core import parameters as core_parameters
from rl_edge_core.errors import ConfigurationError
from rl_edge_core.model_files import workspace_folder
from rl_edge_core.parameters import node_parameters, parameter, registered_nodes, settings_of
from rl_edge_core.ros.parameters import declare_parameters

CHECKOUT = workspace_folder()


def values_of(name):
    return {argument.name: argument.default for argument in find_system(name).arguments}


def nodes():
    every = [node for system in SYSTEMS for node in system.nodes(values_of(system.name))]
    return [node for node in every if not node.command]


@pytest.mark.parametrize('node', nodes(), ids=lambda node: node.executable)
def test_every_parameter_that_is_set_is_declared_by_the_node(node):
    declared = {field.name for field in dataclasses.fields(node_parameters(node.executable))}

    assert set(node.parameters) <= declared


@pytest.mark.parametrize('path', parameter_files(CHECKOUT), ids=lambda path: path.stem)
def test_the_parameter_file_of_a_node_is_what_its_dataclass_says(path):
    # `tools/env python -m rl_edge_bringup parameters` writes it again.
    assert path.read_text() == parameter_files(CHECKOUT)[path]
    settings = settings_of(node_parameters(path.stem))

    assert yaml.safe_load(path.read_text())['/**']['ros__parameters'] == {
        setting.name: list(setting.default) if setting.name == 'robots' else setting.default
        for setting in settings
    }


def test_every_node_of_the_checkout_has_its_parameter_file():
    assert set(registered_nodes()) == {path.stem for path in parameter_files(CHECKOUT)}


@dataclasses.dataclass(frozen=True)
class PolicyWithPatience:
    """The parameters of the policy node, with a new one."""

    model: str = parameter('', 'Artifact folder.')
    patience_sec: float = parameter(
        2.5, 'How long the policy waits for a robot.', unit='s', minimum=0.5, maximum=9.0
    )


def test_a_parameter_added_to_a_dataclass_is_in_launch_help_yaml_and_on_the_node(
    monkeypatch, capsys, ros_domain_id
):
    monkeypatch.setitem(sys.modules, 'patient', sys.modules[__name__])
    entry = EntryPoint(
        'policy_node', 'patient:PolicyWithPatience', core_parameters.PARAMETERS_GROUP
    )
    registered = {**registered_nodes(), 'policy_node': entry}
    monkeypatch.setattr(core_parameters, 'registered_nodes', lambda: registered)

    (argument,) = [a for a in find_system('edge').arguments if a.name == 'patience_sec']
    assert (argument.default, argument.unit) == (2.5, 's')
    node = policy_node({**values_of('edge'), 'patience_sec': 4.0})
    assert node.parameters['patience_sec'] == 4.0

    assert main(['edge', '--help']) == 0
    shown = capsys.readouterr().out
    assert 'patience_sec (a number, 0.5 to 9), default 2.5 s' in shown
    assert 'How long the policy waits for a robot.' in shown

    text = to_yaml('policy_node', settings_of(node_parameters('policy_node')))
    assert yaml.safe_load(text)['/**']['ros__parameters']['patience_sec'] == 2.5
    assert '# How long the policy waits for a robot (a number, 0.5 to 9, in s)' in text

    context = Context()
    context.init(args=[], domain_id=ros_domain_id)
    node = Node('policy', context=context)
    assert declare_parameters(node, PolicyWithPatience).patience_sec == 2.5
    described = node.describe_parameter('patience_sec')  # what `ros2 param describe` asks for
    node.destroy_node()
    context.try_shutdown()
    assert described.description == 'How long the policy waits for a robot. In s.'
    assert described.floating_point_range[0].to_value == 9.0


@pytest.mark.parametrize('system', SYSTEMS, ids=lambda system: system.name)
def test_arguments_have_the_choices_of_the_parameters(system):
    declared = {
        setting.name: setting
        for executable in registered_nodes()
        for setting in settings_of(node_parameters(executable))
    }
    found = [a for a in system.arguments if a.name in declared and a.name != 'configuration']
    for argument in found:
        assert argument.choices == declared[argument.name].choices
        assert type(argument.default) is type(declared[argument.name].default)


@pytest.mark.parametrize('system', SYSTEMS, ids=lambda system: system.name)
def test_arguments_are_described_and_their_defaults_are_valid(system):
    names = [argument.name for argument in system.arguments]
    assert len(names) == len(set(names))
    for argument in system.arguments:
        assert argument.description
        assert argument.parse(argument.default_text) == argument.default


def test_desktop_and_edge_together_are_the_closed_loop():
    values = values_of('sim')

    assert find_system('desktop').nodes(values) + find_system('edge').nodes(values) == (
        sim_node(values),
        policy_node(values),
    )


def test_a_system_whose_node_is_not_installed_says_so_and_the_others_work(monkeypatch):
    registered = {'policy_node': registered_nodes()['policy_node']}
    monkeypatch.setattr(core_parameters, 'registered_nodes', lambda: registered)

    with pytest.raises(ConfigurationError, match='the package of sim_node is not installed'):
        find_system('sim').arguments  # noqa: B018
    names = [argument.name for argument in find_system('edge').arguments]
    assert 'model' in names


def test_help_leaves_out_what_cannot_run_here(monkeypatch, capsys):
    registered = {'policy_node': registered_nodes()['policy_node']}
    monkeypatch.setattr(command_line, 'registered_nodes', lambda: registered)
    monkeypatch.setattr(recording, 'can_record', lambda: False)

    assert command_line.main(['edge', '--help']) == 0
    of_edge = capsys.readouterr().out
    assert command_line.main(['list']) == 0
    listed = capsys.readouterr().out.partition('systems')[2].partition('experiments')[0].split()

    assert '  threads (' in of_edge
    assert '  recorder (' not in of_edge
    assert 'max_bag_size_mb' not in of_edge
    assert 'record: needs rl_edge_eval or ros2 bag' in of_edge
    assert 'edge' in listed
    assert 'sim' not in listed


@pytest.mark.parametrize(('system', 'learners'), [('sim', ''), ('train', 'train')])
def test_the_sim_begins_when_those_who_learn_receive(system, learners):
    nodes = find_system(system).nodes(values_of(system))
    sims = [node for node in nodes if node.executable == systems.SIM]

    assert [sim.parameters['transition_subscribers'] for sim in sims] == [learners]
