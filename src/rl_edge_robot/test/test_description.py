"""Robot descriptions: what they give, and what is wrong with bad ones."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

import rl_edge_robot
from rl_edge_core.artifact import load_manifest
from rl_edge_core.errors import ConfigurationError, SpecMismatchError
from rl_edge_robot.description import check_against, load_description

SHIPPED = Path(rl_edge_robot.__file__).parent / 'descriptions'
BEST = Path(__file__).parents[3] / 'models' / 'ant_v5' / 'best'


def small(**changes):
    return {
        'environment_id': 'Arm-v0',
        'control_period_sec': 0.02,
        'observation': [
            {'term': 'joint_position', 'joints': ['shoulder', 'elbow'], 'offset': [0.1, -0.1]},
            {'term': 'projected_gravity', 'history': 2},
        ],
        'action': {
            'kind': 'position',
            'joints': [
                {'joint': 'elbow', 'low': -1.0, 'high': 1.0},
                {'joint': 'shoulder', 'low': -2.0, 'high': 2.0, 'scale': 0.5},
            ],
        },
        **changes,
    }


def load(tmp_path, mapping):
    path = tmp_path / 'robot.yaml'
    path.write_text(yaml.safe_dump(mapping))
    return load_description(path)


def test_the_shipped_ant_is_the_environment_of_the_shipped_policy():
    check_against(load_description(SHIPPED / 'ant_v5.yaml'), load_manifest(BEST).environment)


def test_names_units_and_history(tmp_path):
    spec = load(tmp_path, small()).spec()
    assert spec.observation_names == (
        *('shoulder.angle', 'elbow.angle'),
        *('base.gravity_x@-1', 'base.gravity_y@-1', 'base.gravity_z@-1'),
        *('base.gravity_x', 'base.gravity_y', 'base.gravity_z'),
    )
    assert spec.observation_units == ('rad', 'rad', *['1'] * 6)
    assert spec.action_names == ('elbow', 'shoulder')
    assert load(tmp_path, small()).sensors == ('joint_states', 'imu')


def with_term(**term):
    return small(observation=[term])


def with_joint(**joint):
    joint = {'joint': 'elbow', 'low': -1.0, 'high': 1.0, **joint}
    return small(action={'kind': 'position', 'joints': [joint]})


@pytest.mark.parametrize(
    ('mapping', 'message'),
    [
        (with_term(term='temperature'), 'joint_position, joint_velocity, orientation'),
        (with_term(term='height', scale=0), 'scale is 0'),
        (with_term(term='height', history=0), 'history is 0, must be 1 or more'),
        (with_term(term='height', clip=-1.0), 'clip is -1.0'),
        (with_term(term='height', joints=['elbow']), 'has no meaning there'),
        (with_term(term='joint_position'), 'must name joints'),
        (with_term(term='constant'), 'must list names'),
        (with_term(term='height', names=['a', 'b']), 'names of height: 2 values, must be 1'),
        (with_term(term='orientation', offset=[0.0, 1.0]), 'offset of orientation: 2 values'),
        (with_term(term='orientation', units=['a', 'b']), 'units of orientation: 2 values'),
        (
            with_term(term='linear_velocity', frame='odom'),
            'frame is .odom., must be one of body, world',
        ),
        (small(step_on='imu'), 'step_on is .imu., must be one of clock, sensors'),
        (
            with_term(term='height', unit='m'),
            r'unknown unit \(did you mean units\?\); valid are term, joints, names',
        ),
        (with_joint(low=1.0, high=-1.0), 'elbow: low 1.0 must be below high -1.0'),
        (with_joint(scale=0.0), 'elbow: scale is 0.0'),
        (with_joint(largest_change=0.0), 'largest_change is 0.0'),
        (with_joint(default=5.0), 'default 5.0 is outside -1.0 to 1.0'),
        (small(action={'kind': 'position', 'joints': []}), 'name each once'),
        (small(action={'kind': 'torque', 'joints': []}), 'position, velocity, effort'),
        (small(safety={'height': [1.0, 0.2]}), r'height is \[1.0, 0.2\]'),
        (small(safety={'sensor_max_age_sec': {'lidar': 1.0}}), 'names lidar; valid are'),
        (small(control_period_sec=0.0), 'control_period_sec is 0.0'),
    ],
)
def test_bad_descriptions_are_refused_with_the_reason(tmp_path, mapping, message):
    with pytest.raises(ConfigurationError, match=message) as error:
        load(tmp_path, mapping)
    assert 'robot.yaml' in str(error.value)


def test_a_description_that_does_not_fit_names_both_lists_side_by_side(tmp_path):
    described = load(tmp_path, small())
    wanted = load(tmp_path, small(observation=[small()['observation'][0]])).spec()
    wanted = replace(wanted, observation_names=('elbow.angle', 'shoulder.angle'))
    with pytest.raises(SpecMismatchError) as error:
        check_against(described, wanted)
    lines = str(error.value).splitlines()
    assert 'observation_names: 8 described, 2 wanted' in lines
    assert any(line.split() == ['0', 'shoulder.angle', 'elbow.angle', '<-'] for line in lines)
    assert any(line.split() == ['7', 'base.gravity_z', '-', '<-'] for line in lines)


def test_a_description_in_other_units_does_not_fit(tmp_path):
    described = load(tmp_path, small())
    wanted = replace(described.spec(), observation_units=('deg', *('rad' for _ in range(7))))
    with pytest.raises(SpecMismatchError, match='observation_units'):
        check_against(described, wanted)


def test_the_six_legged_robot_is_the_environment_of_its_example(monkeypatch):
    simulator = pytest.importorskip('rl_edge_sim.environment')
    monkeypatch.chdir(Path(__file__).parents[3])  # its model is named from there
    example = Path('examples/hexapod')
    preset = yaml.safe_load((example / 'ppo.yaml').read_text())['environment']
    env = simulator.make_environment(preset['environment_id'], **preset['environment_arguments'])
    spec = simulator.spec_of(env)
    env.close()
    check_against(load_description(example / 'robot.yaml'), spec)
    assert load_description(example / 'robot.yaml').spec().hash == spec.hash
