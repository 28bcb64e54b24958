"""Layouts of viewers: every topic and field in them exists, with the type that they draw."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from nav_msgs.msg import Odometry
from sensor_msgs.msg import Image
from std_msgs.msg import String

from rl_edge_bringup.recording import BAG_FOLDER
from rl_edge_interfaces.msg import ControlTiming, EpisodeSummary, ResourceUsage, Transition
from rl_edge_sim.environment import make_environment
from rl_edge_sim.urdf import urdf_of

VIEWS = Path(__file__).parents[1] / 'config' / 'views'
TYPES = {
    '/ant0/resource_usage/sim': ResourceUsage,
    '/ant0/resource_usage/robot': ResourceUsage,
    '/ant0/resource_usage/policy': ResourceUsage,
    '/ant0/transition': Transition,
    '/ant0/episode': EpisodeSummary,
    '/ant0/control_timing': ControlTiming,
    '/ant0/robot_description': String,
    '/ant0/odometry': Odometry,
    '/ant0/image': Image,
}
NUMBERS = {'float', 'double', 'uint32', 'uint64', 'int64'}
RVIZ_TYPES = {'RobotModel': String, 'Odometry': Odometry, 'Image': Image}


def check_number(topic, field):
    assert TYPES[topic].get_fields_and_field_types()[field] in NUMBERS, (topic, field)


def foxglove():
    return json.loads((VIEWS / 'foxglove.json').read_text())


def test_foxglove_plots_numbers_that_exist():
    plots = [c for name, c in foxglove()['configById'].items() if name.startswith('Plot!')]
    assert len(plots) == 5
    for plot in plots:
        for path in plot['paths']:
            topic, _, field = path['value'].rpartition('.')
            check_number(topic, field)


def test_foxglove_and_lichtblick_read_the_titles_of_plots_from_keys_of_their_own():
    for name, plot in foxglove()['configById'].items():
        if name.startswith('Plot!'):
            assert plot['foxglovePanelTitle'] == plot['lichtblickPanelTitle'] != ''
            assert 'title' not in plot


def test_foxglove_shows_the_robot_and_its_camera():
    config = foxglove()['configById']
    robot = config['3D!robot']
    assert robot['layers']['robot']['sourceType'] == 'topic'
    assert TYPES[robot['layers']['robot']['topic']] is String
    # A URDF is drawn by its layer; as a topic it is one that cannot be shown.
    assert all(TYPES[topic] is not String for topic in robot['topics'])
    assert TYPES[config['Image!camera']['imageMode']['imageTopic']] is Image


def test_foxglove_follows_a_link_of_the_robot_over_a_grid_that_stays():
    robot = foxglove()['configById']['3D!robot']
    env = make_environment('Ant-v5')
    urdf, _ = urdf_of(env.unwrapped.model, 'ant')
    env.close()
    link = robot['followTf']
    assert f'<link name="{link}">' in urdf
    assert robot['layers']['grid']['frameId'] == 'odom'
    assert robot['followMode'] == 'follow-position'  # the view does not turn with the robot


def test_every_panel_of_foxglove_has_a_place():
    layout = foxglove()

    def panels(node):
        if isinstance(node, dict):
            return [*panels(node['first']), *panels(node['second'])]
        tabs = layout['configById'][node].get('tabs', [])
        return [node, *(panel for tab in tabs for panel in panels(tab['layout']))]

    assert sorted(panels(layout['layout'])) == sorted(layout['configById'])


def plotjuggler():
    return ElementTree.parse(VIEWS / 'plotjuggler.xml').getroot()


def test_plotjuggler_plots_numbers_that_exist():
    curves = plotjuggler().findall('.//curve')
    assert len(curves) == 12
    for curve in curves:
        topic, _, field = curve.get('name').rpartition('/')
        check_number(topic, field)


def test_plotjuggler_asks_nothing_about_a_bag_beside_the_layout():
    """It does where the layout does not name the loader, the file and the topics."""
    root = plotjuggler()
    (bag,) = root.findall('previouslyLoaded_Datafiles/fileInfo')
    assert bag.get('filename') == f'{BAG_FOLDER}_0.mcap'
    (loader,) = bag.findall('plugin')
    assert loader.get('ID') == 'DataLoad MCAP'
    selected = loader.find('parameters').get('selected_topics').split(';')
    plotted = {curve.get('name').rpartition('/')[0] for curve in root.findall('.//curve')}
    assert sorted(selected) == sorted(plotted)


def test_every_plot_of_plotjuggler_has_a_size():
    splitters = plotjuggler().findall('.//DockSplitter')
    assert splitters
    for splitter in splitters:
        sizes = splitter.get('sizes').split(';')
        assert int(splitter.get('count')) == len(splitter) == len(sizes)


@pytest.mark.parametrize('display', ['RobotModel', 'Odometry', 'Image'])
def test_rviz_displays_topics_of_their_type(display):
    view = yaml.safe_load((VIEWS / 'robot.rviz').read_text())
    (found,) = [
        each
        for each in view['Visualization Manager']['Displays']
        if each['Class'] == f'rviz_default_plugins/{display}'
    ]
    topic = found.get('Topic') or found['Description Topic']
    assert TYPES[topic['Value']] is RVIZ_TYPES[display]
