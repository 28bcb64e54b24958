"""Demo and soak from end to end, on a small environment."""

import json

import pytest
from result_keys import DEMO, SOAK, missing_keys


@pytest.fixture
def summary(command, model, tmp_path):
    words = ('environment_id:=Pendulum-v1', f'model:={model}', 'episodes:=2')
    demo = command('demo', *words, f'output:={tmp_path}')
    assert demo.exit_code(380) == 0, demo.text
    assert 'compressed is' in demo.text
    assert '2 episodes are too few for an interval' in demo.text
    assert 'fall' not in demo.text
    assert (tmp_path / 'comparison.png').stat().st_size > 10_000
    for name in ('compressed', 'uncompressed'):
        assert (tmp_path / name / 'configuration.yaml').is_file()
        assert list((tmp_path / name / 'bag').glob('*.mcap'))
    return json.loads((tmp_path / 'summary.json').read_text())


def test_the_demo_measures_both_configurations_on_the_same_seeds(summary):
    both = summary['configurations']
    assert set(both) == {'compressed', 'uncompressed'}
    assert missing_keys(summary, DEMO) == []
    for name, metrics in both.items():
        assert [episode['seed'] for episode in summary['episodes'][name]] == [0, 1]
        assert metrics['episode_length_mean'] == 200
        assert metrics['forward_distance_m'] is None  # a pendulum goes nowhere
        assert summary['lost_transitions'][name] == 0
    returns = {
        name: sum(episode['episode_return'] for episode in episodes)
        for name, episodes in summary['episodes'].items()
    }
    full, kept = returns['uncompressed'], summary['return_kept']
    assert full < 0  # a larger loss is no larger share
    assert kept['estimate'] == pytest.approx(1 - (full - returns['compressed']) / abs(full))
    assert kept['low'] <= kept['estimate'] <= kept['high']
    # TensorFlow alone is several times as large as the compressed policy's whole process.
    assert summary['ratios']['policy_memory_mb'] > 3
    assert summary['models']['uncompressed']['model_id'].endswith('policy.keras')


def test_a_soak_fits_a_slope_to_everything_that_may_grow(command, model, ros_domain_id, tmp_path):
    words = ('environment_id:=Pendulum-v1', f'model:={model}', 'minutes:=0.2')

    soak = command('soak', *words, f'ros_domain_id:={ros_domain_id}', f'output:={tmp_path}')

    assert soak.exit_code(300) == 0, soak.text
    content = json.loads((tmp_path / 'soak.json').read_text())
    assert missing_keys(content, SOAK) == []
    assert content['steps'] > 100  # 20 per second
    assert content['slopes']['policy_resident_memory_mb']['mean'] > 10
    assert content['bag_mb'] > 0
