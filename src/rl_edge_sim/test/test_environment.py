"""Names, units and limits come from the model; what can't be simulated is refused by name."""

import dataclasses

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box

from rl_edge_core.errors import ConfigurationError, SpecMismatchError
from rl_edge_sim.environment import environment_of, make_environment, spec_of


@pytest.fixture(scope='module')
def ant():
    env = make_environment('Ant-v5')
    yield env
    env.close()


def test_ant_has_its_true_names(ant):
    spec = spec_of(ant)
    legs = ('hip_1', 'ankle_1', 'hip_2', 'ankle_2', 'hip_3', 'ankle_3', 'hip_4', 'ankle_4')
    assert spec.observation_names[:13] == (
        'torso.z',
        *(f'torso.q{axis}' for axis in 'wxyz'),
        *(f'{leg}.angle' for leg in legs),
    )
    assert spec.observation_names[13:27] == (
        *(f'torso.velocity_{axis}' for axis in 'xyz'),
        *(f'torso.angular_velocity_{axis}' for axis in 'xyz'),
        *(f'{leg}.angular_velocity' for leg in legs),
    )
    contacts = [i for i, name in enumerate(spec.observation_names) if name.startswith('contact.')]
    assert contacts == list(range(27, 105))
    assert spec.observation_names[27:30] == tuple(f'contact.torso.torque_{axis}' for axis in 'xyz')
    assert spec.observation_names[-1] == 'contact.ankle_4.force_z'
    assert spec.action_names == (
        *('hip_4', 'ankle_4', 'hip_1', 'ankle_1', 'hip_2', 'ankle_2', 'hip_3', 'ankle_3'),
    )
    assert set(spec.action_units) == {'150 N m'}
    assert (spec.control_period_sec, spec.max_episode_steps) == (0.05, 1000)
    assert spec.action_low == (-1.0,) * 8
    assert spec.action_high == (1.0,) * 8
    assert spec.safe_action == (0.0,) * 8


def test_names_stand_for_the_values_of_the_model(ant):
    index = spec_of(ant).observation_names.index
    observation, info = ant.reset(seed=1)
    for _ in range(30):
        observation, *_, info = ant.step(np.full(8, 0.3, np.float32))
    data = ant.unwrapped.data
    assert observation[index('torso.z')] == data.qpos[2]
    for joint in ('hip_1', 'ankle_3', 'hip_4'):
        assert observation[index(f'{joint}.angle')] == data.joint(joint).qpos[0]
        assert observation[index(f'{joint}.angular_velocity')] == data.joint(joint).qvel[0]
    assert observation[index('torso.velocity_x')] == data.qvel[0]
    torso = ant.unwrapped.model.body('torso').id
    expected = np.clip(data.cfrc_ext[torso], -1, 1)
    assert observation[index('contact.torso.torque_x') :][:6].tolist() == expected.tolist()
    assert np.isclose(info['x_position'], data.qpos[0])


def test_actions_drive_the_joints_they_are_named_after(ant):
    ant.reset(seed=0)
    action = np.zeros(8, np.float32)
    action[spec_of(ant).action_names.index('hip_3')] = 1.0
    ant.step(action)
    data = ant.unwrapped.data
    assert np.flatnonzero(np.abs(data.qfrc_actuator) > 1.0).tolist() == [
        int(ant.unwrapped.model.joint('hip_3').dofadr[0])
    ]


@pytest.mark.parametrize(
    ('environment_id', 'first', 'last', 'action'),
    [
        ('InvertedPendulum-v5', 'slider.position', 'hinge.angular_velocity', ('slider', '100 N')),
        ('Hopper-v5', 'rootz.position', 'foot_joint.angular_velocity', ('thigh_joint', '200 N m')),
        ('Humanoid-v5', 'torso.z', 'contact.left_lower_arm.force_z', ('abdomen_y', '100 N m')),
        ('Pendulum-v1', 'observation.0', 'observation.2', ('action.0', '1')),
        # Observes sines and cosines: only the environment itself knows what they are.
        ('InvertedDoublePendulum-v5', 'observation.0', 'observation.8', ('slider', '500 N')),
    ],
)
def test_other_environments(environment_id, first, last, action):
    env = make_environment(environment_id)
    spec = spec_of(env)
    assert (spec.observation_names[0], spec.observation_names[-1]) == (first, last)
    assert (spec.action_names[0], spec.action_units[0]) == action
    observation, _ = env.reset(seed=0)
    assert observation.shape == (spec.observation_size,)
    env.close()


def test_arguments_change_the_specification():
    spec = spec_of(make_environment('Ant-v5', include_cfrc_ext_in_observation=False))
    assert spec.observation_size == 27
    assert spec_of(make_environment('Ant-v5', max_episode_steps=50)).max_episode_steps == 50
    spec = spec_of(make_environment('Ant-v5', exclude_current_positions_from_observation=False))
    assert spec.observation_names[:3] == ('torso.x', 'torso.y', 'torso.z')


def test_looking_at_an_environment_does_not_change_it():
    env = make_environment('InvertedPendulum-v5')
    env.reset(seed=4)
    before = env.unwrapped.data.qpos.copy(), env.unwrapped.data.qvel.copy()
    spec_of(env)
    assert before[0].tolist() == env.unwrapped.data.qpos.tolist()
    assert before[1].tolist() == env.unwrapped.data.qvel.tolist()


@pytest.mark.parametrize(
    ('environment_id', 'kwargs', 'message'),
    [
        ('Antt-v5', {}, r"no environment is named 'Antt-v5'; close ones are Ant-v5"),
        ('Ant-v9', {}, r'close ones are Ant-v5'),
        ('nonsense', {}, r"no environment is named 'nonsense'"),
        ('no_such_module:Ant-v5', {}, r"no environment is named 'no_such_module:Ant-v5'"),
        ('CartPole-v1', {}, r'CartPole-v1 has actions Discrete\(2\).*continuous actions'),
        ('Ant-v5', {'legs': 6}, r"Ant-v5.*'legs'"),
        ('Ant-v5', {'frame_skip': 0}, r'Ant-v5'),
        ('Ant-v5', {'xml_file': '/no/such.xml'}, r'/no/such.xml'),
        ('Ant-v5', {'reward_shaping': 'more'}, r"'more', must be one of none, study"),
        ('Pendulum-v1', {'reward_shaping': 'study'}, r'torso.z, which Pendulum-v1 does not have'),
    ],
)
def test_what_cannot_be_simulated_is_refused(environment_id, kwargs, message):
    with pytest.raises(ConfigurationError, match=message):
        make_environment(environment_id, **kwargs)


class Unbounded(gymnasium.Env):
    action_space = Box(-np.inf, np.inf, (1,))
    observation_space = Box(-1, 1, (1,))


def test_actions_without_limits_are_refused():
    gymnasium.register('Unbounded-v0', entry_point=Unbounded)
    try:
        with pytest.raises(ConfigurationError, match='actions without limits'):
            make_environment('Unbounded-v0')
    finally:
        del gymnasium.registry['Unbounded-v0']


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """Return the name of a module of the user's that registers an id and has a wrapper."""
    (tmp_path / 'own_robots.py').write_text(
        'import gymnasium\n'
        "gymnasium.register('OwnPendulum-v0', max_episode_steps=50,\n"
        "    entry_point='gymnasium.envs.mujoco.inverted_pendulum_v5:InvertedPendulumEnv')\n"
        'def half_actions(env):\n'
        '    return gymnasium.wrappers.RescaleAction(env, -0.5, 0.5)\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield 'own_robots'
    gymnasium.registry.pop('OwnPendulum-v0', None)


def test_an_environment_of_the_users_is_made_again_from_its_specification(own_module):
    env = make_environment(
        f'{own_module}:OwnPendulum-v0',
        reset_noise_scale=0.02,
        max_episode_steps=30,
        wrappers=[f'{own_module}:half_actions'],
    )
    spec = spec_of(env)
    assert spec.environment_id == 'own_robots:OwnPendulum-v0'
    assert spec.arguments == {'reset_noise_scale': 0.02, 'wrappers': ['own_robots:half_actions']}
    assert spec.max_episode_steps == 30
    assert spec.action_high == (0.5,)
    assert spec_of(environment_of(spec)) == spec


def test_a_specification_that_cannot_be_made_here_says_what_differs():
    spec = spec_of(make_environment('InvertedPendulum-v5'))
    with pytest.raises(SpecMismatchError, match=r'control_period_sec: 0.5 against 0.04'):
        environment_of(dataclasses.replace(spec, control_period_sec=0.5))


@pytest.mark.parametrize('wrapper', ['half', 'no_such_module:f', 'json:no_such_function'])
def test_a_wrapper_that_is_none_is_named(wrapper):
    with pytest.raises(ConfigurationError, match=f"wrapper '{wrapper}'"):
        make_environment('InvertedPendulum-v5', wrappers=[wrapper])


def test_a_missing_model_file_is_named():
    with pytest.raises(ConfigurationError, match=r'nowhere\.xml'):
        make_environment('Ant-v5', xml_file='./nowhere.xml')


def test_an_older_version_that_was_asked_for_is_made_without_a_warning(recwarn):
    make_environment('Ant-v4').close()

    assert not [one for one in recwarn if 'out of date' in str(one.message)]
