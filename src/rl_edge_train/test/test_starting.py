"""Training that starts from the weights of a shipped policy."""

import importlib.util
import json
from pathlib import Path

import keras
import numpy as np
import pytest

from rl_edge_core.errors import ConfigurationError
from rl_edge_train.__main__ import main
from rl_edge_train.starting import StartingWeights

# Compiling and starting processes take their time on a machine with other work to do.
pytestmark = pytest.mark.timeout(900)

_location = importlib.util.spec_from_file_location('agents', Path(__file__).parent / 'agents.py')
agents = importlib.util.module_from_spec(_location)
_location.loader.exec_module(agents)
small_agent = agents.small_agent

GENERATOR = np.random.default_rng(5)
VISITED = (GENERATOR.normal(size=(200, agents.OBSERVATIONS)) * [1, 3, 0.1, 1] + 0.5).astype(
    np.float32
)


def trained(algorithm, **settings):
    """Return an agent whose weights, moments and noise differ from those of a new one."""
    agent = small_agent(algorithm, seed=7, **settings)
    agent.observe(VISITED)
    for network in [agent.actor, *getattr(agent, 'critics', [])]:
        network.set_weights(
            [w + 0.3 * GENERATOR.normal(size=w.shape) for w in network.get_weights()]
        )
    if algorithm == 'ppo':
        agent.log_std.assign([-1.5, -0.7])
    agent.actor_has_changed()
    return agent


def actions(agent):
    return agent.act(VISITED, explore=False).action


NORMALIZED = {'normalize_observations': True}
RAW = {'normalize_observations': False}
TANH = {'squashed_mean': True}
PAIRS = [
    ('ppo', NORMALIZED, 'ppo', NORMALIZED, {'actor': True, 'critic': True, 'log_std': True}),
    ('ppo', NORMALIZED, 'ppo', RAW, {'actor': True, 'critic': True, 'log_std': True}),
    ('sac', NORMALIZED, 'sac', RAW, {'actor': True, 'critics': True, 'log_std': True}),
    ('sac', RAW, 'ppo', NORMALIZED | TANH, {'actor': True, 'critic': False, 'log_std': False}),
    ('sac', RAW, 'td3', RAW, {'actor': True, 'critics': True}),
    ('td3', RAW, 'sac', NORMALIZED, {'actor': True, 'critics': True, 'log_std': False}),
    ('td3', RAW, 'ddpg', RAW, {'actor': True, 'critics': True}),
    ('ddpg', RAW, 'td3', RAW, {'actor': True, 'critics': False}),
    ('actor_critic', NORMALIZED, 'actor_critic', NORMALIZED, {'actor': True, 'critic': True}),
    ('actor_critic', RAW, 'sac', RAW, {'actor': True, 'critics': False, 'log_std': True}),
]


@pytest.mark.parametrize(('source', 'theirs', 'algorithm', 'ours', 'taken'), PAIRS)
def test_an_agent_acts_as_the_policy_that_it_started_from(source, theirs, algorithm, ours, taken):
    shipped = trained(source, **theirs)
    agent = small_agent(algorithm, seed=1, **ours)
    assert np.abs(actions(agent) - actions(shipped)).max() > 0.05
    weights = StartingWeights.of(shipped.policy_model())
    assert agent.start_from(weights, VISITED) == taken
    np.testing.assert_allclose(actions(agent), actions(shipped), atol=2e-5)
    values = [
        model.predict(VISITED, verbose=0)['value']
        for model in (shipped.policy_model(), agent.policy_model())
    ]
    if any(taken.get(name) for name in ('critic', 'critics')) and source != 'td3':
        np.testing.assert_allclose(values[1], values[0], atol=1e-4)


def test_moments_noise_and_targets_are_taken_over():
    shipped = trained('ppo')
    agent = small_agent('ppo')
    agent.start_from(StartingWeights.of(shipped.policy_model()), None)
    np.testing.assert_allclose(agent.normalizer.mean, shipped.normalizer.mean, rtol=1e-6)
    np.testing.assert_allclose(
        agent.normalizer.variance(), shipped.normalizer.variance(), rtol=1e-5
    )
    np.testing.assert_array_equal(agent.log_std.numpy(), np.float32([-1.5, -0.7]))
    # A million more observations like these count half.
    agent.normalizer.observe(np.ones((1_000_000, agents.KEPT)))
    np.testing.assert_allclose(
        agent.normalizer.mean, (shipped.normalizer.mean + 1.0) / 2.0, rtol=1e-5
    )
    sac = small_agent('sac')
    sac.start_from(StartingWeights.of(trained('sac').policy_model()), None)
    for critic, target in zip(sac.critics, sac.target_critics, strict=True):
        for ours, theirs in zip(critic.get_weights(), target.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ('algorithm', 'settings', 'message'),
    [
        ('sac', {}, 'tanh on the mean: False in the file, True'),
        ('ppo', {'actor': {'widths': [9], 'activations': ['tanh']}}, 'dense 8.*dense 9'),
        ('ppo', {'actor': {'widths': [8], 'activations': ['relu']}}, 'tanh.*relu'),
        (
            'ppo',
            {'actor': {'widths': [8], 'activations': ['tanh'], 'layer_norms': ['after']}},
            'layer norm',
        ),
        ('ppo', {'observation_inputs': 0}, 'observation inputs: 3 in the file, 4'),
        ('ppo', {'action_scale': 0.9}, 'factor on the mean: 1.0 in the file, 0.9'),
    ],
)
def test_an_actor_that_does_not_fit_is_named(algorithm, settings, message):
    weights = StartingWeights.of(trained('ppo').policy_model())
    with pytest.raises(ConfigurationError, match=message):
        small_agent(algorithm, **settings).start_from(weights, VISITED)


def test_a_model_of_another_make_is_refused():
    source = keras.Input((3,), name='a')
    model = keras.Model(source, {'action': keras.layers.Dense(2, name='b')(source)})
    with pytest.raises(ConfigurationError, match='a, b'):
        StartingWeights.of(model)


SMALL_RUN = """
algorithm: ppo
total_steps: {steps}
environment: {{environment_id: InvertedPendulum-v5}}
selection: {{every_steps: 100, episodes: 2, confirmations: 0}}
loop: {{environments: 2, rollout_length: 50}}
agent: {{actor: {{widths: [8]}}, critic: {{widths: [8]}}, minibatches: 2, value_rollouts: 100}}
"""


@pytest.fixture(scope='module')
def shipped(tmp_path_factory):
    """Return the preset, the folder and the artifact of a run of seed 3."""
    folder = tmp_path_factory.mktemp('small')
    preset, run, artifact = (
        folder / 'small.yaml',
        folder / 'first',
        folder / 'shipped' / 'pendulum',
    )
    preset.write_text(SMALL_RUN.format(steps=100))
    assert main(['train', '--preset', str(preset), '--out', str(run), '--seed', '3']) == 0
    assert main(['export', str(run), '--out', str(artifact)]) == 0
    return preset, run, artifact


def test_train_from_an_artifact_and_say_so(shipped, tmp_path, capsys):
    preset, first, artifact = shipped
    second = tmp_path / 'second'
    # Another seed; only the value network learns, so the policies are the same.
    train = ['train', '--preset', str(preset), '--out', str(second)]
    assert main([*train, '--seed', '4', '--from', str(artifact)]) == 0
    assert 'started from shipped/pendulum: actor, critic, log_std' in capsys.readouterr().out
    record = json.loads((second / 'run.json').read_text())['from']
    assert record['name'] == 'shipped/pendulum'
    returns = [
        (run / 'evaluations.csv').read_text().splitlines()[1].split(',')[3]
        for run in (first, second)
    ]
    assert returns[0] == returns[1]
    copy = str(tmp_path / 'models' / 'copy')
    assert main(['export', str(second), '--out', copy]) == 0
    manifest = json.loads((tmp_path / 'models' / 'copy' / 'manifest.json').read_text())
    assert manifest['training']['from']['name'] == 'shipped/pendulum'


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--set', 'agent.actor.widths=[9]'], 'dense 9'),
        (['--set', 'environment.environment_id=Ant-v5'], 'another environment'),
        (['--from', 'NONE'], 'manifest.json'),
        (['--resume', 'RUN'], 'choose'),
    ],
)
def test_starting_from_what_does_not_fit_is_an_error_of_one_line(
    arguments, message, shipped, tmp_path, capsys
):
    preset, run, artifact = shipped
    words = {'RUN': str(run), 'NONE': str(tmp_path)}
    others = [words.get(word, word) for word in arguments]
    new = ['--preset', str(preset), '--out', str(tmp_path / 'new')]
    assert main(['train', *new, '--from', str(artifact), *others]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.strip().count('\n') == 0
    assert not (tmp_path / 'new' / 'config.yaml').exists()
