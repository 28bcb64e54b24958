"""The perspective for rqt, and what is said where rqt is missing."""

import ast
import json

import pytest

from rl_edge_bringup.__main__ import main
from rl_edge_bringup.models import share_folder
from rl_edge_bringup.monitor_process import plotted_fields, render_perspective
from rl_edge_interfaces.msg import PolicyStatus, ResourceUsage, Transition

MESSAGES = {
    'resource_usage/sim': ResourceUsage,
    'resource_usage/policy': ResourceUsage,
    'policy_status': PolicyStatus,
    'transition': Transition,
}
NUMBERS = {'float', 'double', 'uint32', 'uint64'}


@pytest.fixture
def text():
    return (share_folder() / 'config' / 'monitor.perspective').read_text()


def plots_of(text):
    """Return the topics of each plot, read as rqt reads the file."""
    groups = json.loads(text)['groups']['pluginmanager']['groups']
    packed = [
        ast.literal_eval(group['groups']['plugin']['keys']['topics']['repr'])
        for group in groups.values()
    ]
    return [[topics] if isinstance(topics, str) else topics for topics in packed]


def test_each_plot_has_numbers_that_the_messages_have(text):
    for field in plotted_fields(text, 'ant0'):
        topic, _, name = field.removeprefix('/ant0/').rpartition('/')
        assert MESSAGES[topic].get_fields_and_field_types()[name] in NUMBERS


def test_cpu_memory_and_latency_are_there_to_see(text):
    names = [[topic.rpartition('/')[2] for topic in topics] for topics in plots_of(text)]

    assert names == [
        ['cpu_percent'] * 2,
        ['resident_memory_mb'] * 2,
        ['inference_us_p50', 'inference_us_p99'],
        ['response_time_us'],
    ]


def test_what_carries_simulation_time_shares_no_plot_with_what_carries_wall_time(text):
    for topics in plots_of(text):
        assert len({'/transition/' in topic for topic in topics}) == 1


@pytest.mark.parametrize('namespace', ['ant0', 'ant7', 'fleet/ant0', 'ant0/left'])
def test_a_rendered_perspective_is_that_of_the_namespace_alone(text, namespace):
    rendered = render_perspective(text, namespace)

    topics = [topic for topics in plots_of(rendered) for topic in topics]
    assert topics == [
        topic.replace('/ant0/', f'/{namespace}/', 1)
        for topics in plots_of(text)
        for topic in topics
    ]
    assert plotted_fields(rendered, namespace) == topics


def test_every_plot_that_runs_has_settings_and_a_place_in_the_window(text):
    content = json.loads(text)['groups']
    running = ast.literal_eval(
        content['pluginmanager']['keys']['running-plugins']['repr'],
    )
    numbers = running['rqt_plot/Plot']

    names = [f'plugin__rqt_plot__Plot__{number}' for number in numbers]
    assert list(content['pluginmanager']['groups']) == names
    state = content['mainwindow']['keys']['state']['repr(QByteArray.hex)']
    for name in names:
        dock = name.removeprefix('plugin__') + '__DataPlotWidget'
        assert dock.encode('utf-16-be').hex() in state


def test_a_machine_without_rqt_is_told_how_to_install_it(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv('PATH', str(tmp_path))
    monkeypatch.setenv('ROS_DISTRO', 'jazzy')

    assert main(['monitor', f'output:={tmp_path}/monitor']) == 2
    said = capsys.readouterr().err
    assert said.startswith('error: monitor needs rqt and rqt_gui and rqt_plot, which can not be')
    assert said.endswith('sudo apt install ros-jazzy-rqt-gui ros-jazzy-rqt-plot\n')
    assert not (tmp_path / 'monitor').exists()
