"""Bags in Rerun: what is in the file, read back by Rerun itself."""

import math

import numpy as np
import pytest
from bag_writer import BagWriter

from rl_edge_core.errors import ConfigurationError, MissingExtraError, RlEdgeError
from rl_edge_core.ros.conversions import to_environment, to_float32_field
from rl_edge_eval import view
from rl_edge_eval.recorded_robot import poses, read_robot
from rl_edge_sim.environment import make_environment, spec_of

STEPS = 5


def ant_bag(folder, *, names=('/ant0',), steps=STEPS, environment_id='Ant-v5'):
    """Write a bag of robots that act a little; return the torso's heights after each step."""
    bag, env = BagWriter(folder), make_environment(environment_id)
    spec = spec_of(env)
    announced = to_environment(spec, run_id=1, reward_term_names=('alive',), mode='lockstep')
    fields = {name: getattr(announced, name) for name in announced.get_fields_and_field_types()}
    del fields['header']
    observation, _ = env.reset(seed=0)
    heights = []
    for name in names:
        bag.add(f'{name}/environment', 'Environment', fields, time_sec=100.0)
        usage = {'node': f'{name}/policy', 'cpu_percent': 12.5, 'resident_memory_mb': 95.0}
        bag.add(f'{name}/resource_usage/policy', 'ResourceUsage', usage, time_sec=100.5)
        for step in range(steps):
            action = np.full(spec.action_size, 0.25, np.float32)
            after, _, _, _, _ = env.step(action)
            values = {
                'run_id': 1,
                'step': step,
                'observation': to_float32_field(observation),
                'next_observation': to_float32_field(after),
                'action': to_float32_field(action),
                'reward': 1.0,
                'reward_terms': [1.0],
                'response_time_us': 2500.0,
                'inference_time_us': math.nan,
                'forward_position': 0.1 * step,
            }
            observation = after
            bag.add(f'{name}/transition', 'Transition', values, time_sec=101.0 + 0.05 * step)
            heights.append(after[0])
        summary = {'length': steps, 'episode_return': 5.0, 'termination_reason': 'torso too high'}
        bag.add(f'{name}/episode', 'EpisodeSummary', summary, time_sec=102.0)
    bag.close()
    env.close()
    return heights


def columns_of(path):
    """Return the table of an .rrd file, by the names of its columns."""
    dataframe = pytest.importorskip('rerun.dataframe')  # later releases read through DataFusion
    recording = dataframe.load_recording(path)
    return recording.view(index='recorded', contents='/**').select().read_all().to_pydict()


def column(table, entity, component):
    """Return the values of one component of an entity, in order of time."""
    (name,) = [n for n in table if n.startswith(f'{entity}:') and component in n]
    return [value[0] for value in table[name] if value is not None]


@pytest.fixture
def rerun():
    return pytest.importorskip('rerun')


def test_the_robot_its_actions_rewards_latency_and_cpu_are_on_one_time_line(tmp_path, rerun):
    heights = ant_bag(tmp_path / 'bag')
    saved = tmp_path / 'new' / 'run.rrd'
    assert view.view(tmp_path / 'bag', save=saved) == []
    table = columns_of(saved)
    # Before the first step it stands where that led to.
    torso = column(table, '/robot/torso_geom', 'Translation')
    assert [place[2] for place in torso] == pytest.approx([heights[0], *heights], abs=1e-6)
    along = column(table, '/robot', 'Translation')
    assert [place[0] for place in along] == pytest.approx([0.0, 0.0, 0.1, 0.2, 0.3, 0.4])
    assert column(table, '/action/hip_1', 'Scalar') == [0.25] * STEPS
    assert column(table, '/reward/alive', 'Scalar') == [1.0] * STEPS
    assert column(table, '/latency_ms/response', 'Scalar') == [2.5] * STEPS
    assert column(table, '/cpu_percent/policy', 'Scalar') == [12.5]
    assert column(table, '/memory_mb/policy', 'Scalar') == [95.0]
    assert not [name for name in table if 'inference' in name and 'Scalar' in name]


def test_a_leg_is_where_mujoco_has_it(tmp_path):
    ant_bag(tmp_path / 'bag')
    recorded = read_robot(tmp_path / 'bag')
    env = make_environment('Ant-v5')
    found = poses(recorded, env.unwrapped)
    env.reset(seed=0)
    for step in range(STEPS):
        env.step(np.full(8, 0.25, np.float32))
        expected = np.array(env.unwrapped.data.qpos)
        assert found[step, 2:] == pytest.approx(expected[2:], abs=1e-6)
        assert found[step, 0] == pytest.approx(0.1 * step)  # as recorded
    env.close()


def test_a_robot_whose_joints_are_not_observed_is_plotted_all_the_same(tmp_path, rerun):
    ant_bag(tmp_path / 'bag', environment_id='Pendulum-v1')
    (problem,) = view.view(tmp_path / 'bag', save=tmp_path / 'run.rrd')
    assert 'does not say where its joints are' in problem
    assert column(columns_of(tmp_path / 'run.rrd'), '/reward/total', 'Scalar') == [1.0] * STEPS


def test_one_of_several_robots_has_to_be_named(tmp_path):
    ant_bag(tmp_path / 'bag', names=('/a', '/b'))
    with pytest.raises(ConfigurationError, match='name one: /a, /b'):
        read_robot(tmp_path / 'bag')
    with pytest.raises(ConfigurationError, match="has no robot 'c'; it has /a, /b"):
        read_robot(tmp_path / 'bag', 'c')
    assert len(read_robot(tmp_path / 'bag', 'b').time_ns) == STEPS


def test_a_bag_without_steps_has_nothing_to_see(tmp_path):
    ant_bag(tmp_path / 'bag', steps=0)
    with pytest.raises(RlEdgeError, match='has no transition of /ant0'):
        read_robot(tmp_path / 'bag')


def test_without_rerun_the_command_that_installs_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    with pytest.raises(MissingExtraError, match='--with rerun'):
        view.view(tmp_path / 'bag', save=tmp_path / 'run.rrd')
