"""What the launch front-end hands over to launch_ros; the real one is in test_launch_files.py."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rl_edge_bringup.systems import SYSTEMS, find_system
from rl_edge_core.model_files import models_folder

MOST_MODULES = 15
MOST_CALLS = 6
PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
import launch_stand_ins
launch_stand_ins.install()
import json
name, configurations = sys.argv[2], json.loads(sys.argv[3])
from rl_edge_bringup.launch_front_end import describe_launch
from rl_edge_bringup.systems import find_system
check, *declared, start = describe_launch(find_system(name)).args[0]
declared = {argument.args[0]: argument.kwargs['default_value'] for argument in declared}
actions = start.execute(launch_stand_ins.Context(**{**declared, **configurations}))
nodes = [a.kwargs for a in actions if type(a).__name__ in ('Node', 'ExecuteProcess')]
calls = [a.own_calls for a in actions if type(a).__name__ == 'Node'][:1]
for node in nodes:
    del node['on_exit']
own = sorted(name for name in sys.modules if name.startswith('rl_edge_'))
print([nodes, own, repr(start), calls])
"""
MODEL = str(models_folder() / 'ant_v5' / 'best')


@pytest.fixture
def hand_over(tmp_path):
    """Return a function: a system and launch configurations to nodes, modules and description."""

    def start(system, **configurations):
        program = ['-c', PROGRAM, str(Path(__file__).parent), system, json.dumps(configurations)]
        environment = {**os.environ, 'ROS_HOME': str(tmp_path / 'home')}
        environment.pop('ROS_LOG_DIR', None)
        done = subprocess.run(
            [sys.executable, *program],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        *start.handed_over, start.calls = ast.literal_eval(done.stdout.splitlines()[-1])
        return start.handed_over

    return start


def test_a_node_is_handed_over_with_a_resolved_namespace_and_what_differs_from_its_defaults(
    hand_over, tmp_path
):
    nodes, _, _ = hand_over('sim', episodes='3', threads='2', mode='lockstep', log_level='warn')

    assert [(node['package'], node['executable']) for node in nodes] == [
        ('rl_edge_sim', 'sim_node'),
        ('rl_edge_policy', 'policy_node'),
    ]
    assert [(node['namespace'], node['name']) for node in nodes] == [
        ('/ant0', 'sim'),
        ('/ant0', 'policy'),
    ]
    sim, policy = (node['parameters'] for node in nodes)
    assert sim == [{'episodes': 3}]
    assert policy == [{'model': MODEL, 'recipe': 'int8', 'threads': 2}]
    assert all(node['ros_arguments'] == ['--log-level', 'warn'] for node in nodes)
    # No parameter file, and nothing in the current folder.
    (folder,) = (tmp_path / 'home' / 'log' / 'rl_edge').iterdir()
    assert [path.name for path in folder.iterdir()] == ['configuration.yaml']
    assert [path.name for path in tmp_path.iterdir()] == ['home']


@pytest.mark.parametrize(
    ('namespace', 'resolved'), [('a', '/fleet/a'), ('/a', '/a'), ('x/a', '/fleet/x/a')]
)
def test_a_pushed_namespace_stands_before_a_relative_one(hand_over, namespace, resolved):
    nodes, _, _ = hand_over('edge', namespace=namespace, ros_namespace='/fleet', qos='lossy')

    (node,) = nodes
    assert node['namespace'] == resolved
    prefix = f'qos_overrides.{resolved}/observation.subscription'
    assert node['parameters'][0][f'{prefix}.reliability'] == 'best_effort'


def test_the_robots_of_a_training_are_below_a_pushed_namespace(hand_over):
    model = {'model': MODEL, 'robot_namespaces': 'a, b'}
    nodes, _, _ = hand_over('train', ros_namespace='/fleet', **model)

    assert [node['namespace'] for node in nodes] == [
        *('/fleet/a', '/fleet/a', '/fleet/b', '/fleet/b', '/fleet/ant0')
    ]
    (parameters,) = nodes[-1]['parameters']
    assert parameters['robots'] == ['/fleet/a', '/fleet/b']


def test_qos_overrides_follow_a_remapping(hand_over):
    nodes, _, _ = hand_over('edge', qos='lossy', ros_remaps=[['observation', 'seen']])

    parameters = nodes[0]['parameters'][0]
    assert parameters['qos_overrides./ant0/seen.subscription.reliability'] == 'best_effort'
    assert not [name for name in parameters if '/ant0/observation' in name]


@pytest.mark.parametrize('on_node_exit', ['shutdown', 'respawn', 'ignore'])
def test_launch_itself_starts_a_node_again(hand_over, on_node_exit):
    nodes, _, _ = hand_over('edge', on_node_exit=on_node_exit)

    assert nodes[0]['respawn'] == (on_node_exit == 'respawn')
    assert (nodes[0]['respawn_delay'], nodes[0]['respawn_max_retries']) == (1.0, 5)


@pytest.mark.parametrize('system', SYSTEMS, ids=lambda system: system.name)
def test_the_description_names_the_nodes(hand_over, system):
    if system.name in ('monitor', 'record'):
        pytest.skip('needs rqt, or records what runs: no node of ours by default')
    needed = {'train': {'model': MODEL}, 'robot': {'description': 'ant_v5', 'model': MODEL}}
    nodes, _, description = hand_over(system.name, **needed.get(system.name, {}))

    for node in nodes:
        assert f'executable={node["executable"]}' in description


def test_few_modules_are_loaded_before_a_node_starts(hand_over):
    _, modules, _ = hand_over('sim')

    assert len(modules) <= MOST_MODULES, modules


def test_no_argument_has_a_name_that_other_launch_files_use_for_something_else():
    for system in SYSTEMS:
        names = {argument.name for argument in find_system(system.name).arguments}
        assert not names & {'output', 'respawn', 'params_file', 'use_sim_time', 'rviz', 'name'}


def test_few_calls_of_ours_lie_between_launch_and_its_node(hand_over):
    hand_over('sim')
    (calls,) = hand_over.calls

    assert calls[0] == 'execute'
    assert 'Kept' not in calls
    assert len(calls) <= MOST_CALLS, calls
