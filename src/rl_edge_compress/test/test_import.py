"""Policies of others become artifacts that answer as they do; what can't is refused by name."""

import base64
import os
import pickle
import zipfile

import gymnasium
import numpy as np
import pytest

from rl_edge_compress.__main__ import main
from rl_edge_compress.dense_actor import ACTIVATIONS
from rl_edge_compress.export_formats import observations_for
from rl_edge_compress.import_policy import import_policy, kind_of
from rl_edge_compress.import_spec import read_import_spec
from rl_edge_compress.pickled_arrays import Foreign, read_pickle
from rl_edge_compress.rsl_rl_policy import read_rsl_rl
from rl_edge_compress.sb3_policy import read_sb3, read_vec_normalize
from rl_edge_core.artifact import load_manifest
from rl_edge_core.errors import ArtifactError, ConfigurationError
from rl_edge_policy.load import load_policy
from rl_edge_sim.environment import make_environment, spec_of

POLE = 'InvertedPendulum-v5'


@pytest.fixture(scope='module')
def pole():
    env = make_environment(POLE)
    yield spec_of(env)
    env.close()


@pytest.fixture
def seen():
    return np.random.default_rng(7).normal(size=(200, 4)).astype(np.float32) * 2


class RunsCode:
    """Unpickled, it would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


# Stable-Baselines3 -----------------------------------------------------------------------


def test_ppo_clips_its_mean_to_the_limits(files, tmp_path, pole, seen):
    tensors = files.ppo_tensors(4, 1)
    path = files.sb3_file(tmp_path / 'ppo.zip', tensors, {'clip_range': 0.2})
    actor, algorithm = read_sb3(path)
    mean = files.last(
        tensors, 'action_net', files.forward(tensors, 'mlp_extractor.policy_net', seen, np.tanh)
    )
    assert algorithm == 'ppo'
    assert actor.act(seen, pole) == pytest.approx(np.clip(mean, pole.low, pole.high), abs=1e-12)
    model = actor.keras_model(pole)
    assert np.asarray(model(seen)['action']) == pytest.approx(
        np.clip(mean, pole.low, pole.high), abs=2e-6
    )


def test_sac_squashes_and_scales(files, tmp_path, pole, seen):
    tensors = files.sac_tensors(4, 1)
    path = files.sb3_file(tmp_path / 'sac.zip', tensors)
    actor, algorithm = read_sb3(path)
    hidden = files.forward(tensors, 'actor.latent_pi', seen, lambda x: np.maximum(x, 0))
    squashed = np.tanh(files.last(tensors, 'actor.mu', hidden))
    expected = pole.low + 0.5 * (squashed + 1) * (pole.high - pole.low)
    assert algorithm == 'sac'
    assert actor.act(seen, pole) == pytest.approx(expected, abs=1e-12)
    model = actor.keras_model(pole)
    assert np.asarray(model(seen)['action']) == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize(
    ('name', 'activation'),
    [("<class 'torch.nn.modules.activation.ELU'>", 'elu'), ('nn.SiLU', 'silu')],
)
def test_the_activation_is_read_from_the_policys_arguments(
    files, tmp_path, pole, seen, name, activation
):
    tensors = files.ppo_tensors(4, 1)
    path = files.sb3_file(
        tmp_path / 'ppo.zip', tensors, {'policy_kwargs': {'activation_fn': name}}
    )
    actor, _ = read_sb3(path)
    function = ACTIVATIONS[activation][1]
    mean = files.last(
        tensors, 'action_net', files.forward(tensors, 'mlp_extractor.policy_net', seen, function)
    )
    assert actor.act(seen, pole) == pytest.approx(np.clip(mean, pole.low, pole.high), abs=1e-12)


@pytest.mark.parametrize(
    ('tensors', 'data', 'message'),
    [
        (
            {},
            {'action_space': {':type:': "<class 'gymnasium.spaces.discrete.Discrete'>"}},
            'action_space is Discrete',
        ),
        ({}, {'action_space': {':type:': "<class 'x.MultiDiscrete'>"}}, 'is MultiDiscrete'),
        ({}, {'observation_space': {':type:': "<class 'x.Dict'>"}}, 'observation_space is Dict'),
        ({'features_extractor.cnn.0.weight': np.zeros((4, 3, 3, 3))}, {}, 'CnnPolicy'),
        ({'features_extractor.extractors.a.weight': np.zeros((4, 3))}, {}, 'MultiInputPolicy'),
        ({'lstm_actor.weight_ih_l0': np.zeros((4, 3))}, {}, 'recurrent'),
        ({'q_net.q_net.0.weight': np.zeros((4, 3))}, {}, 'no actor of PPO'),
        ({'action_net.weight': np.zeros((1, 4))}, {}, 'no tensor action_net.bias'),
        (
            {'actor.mu.0.weight': np.full((2, 4), np.nan), 'actor.mu.0.bias': np.zeros(2)},
            {},
            'not finite',
        ),
    ],
)
def test_what_is_no_plain_actor_is_named(files, tmp_path, tensors, data, message):
    path = files.sb3_file(tmp_path / 'policy.zip', tensors, data)
    with pytest.raises(ArtifactError, match=message):
        read_sb3(path)


def test_a_hostile_pickle_does_not_run(files, tmp_path):
    made = tmp_path / 'made'
    hostile = pickle.dumps(RunsCode(made), protocol=2)[2:-1]
    path = files.sb3_file(tmp_path / 'policy.zip', {}, hostile=hostile)
    with pytest.raises(ArtifactError, match=r'posix\.mkdir where a dictionary of tensors'):
        read_sb3(path)
    inside = b'}(' + files.text('action_net.weight') + hostile + b'u'
    path = files.sb3_file(tmp_path / 'policy.zip', {}, hostile=inside)
    with pytest.raises(ArtifactError, match=r'asks for posix\.mkdir to be called'):
        read_sb3(path)
    data = {'policy_class': {':serialized:': base64.b64encode(b'cos\nsystem\n').decode()}}
    read_sb3(files.sb3_file(tmp_path / 'policy.zip', files.ppo_tensors(4, 1), data))
    (tmp_path / 'vecnormalize.pkl').write_bytes(pickle.dumps(RunsCode(made)))
    with pytest.raises(ArtifactError, match='holds no VecNormalize'):
        read_vec_normalize(tmp_path / 'vecnormalize.pkl')
    assert not made.exists()


@pytest.mark.parametrize('protocol', range(6))
def test_arrays_are_read_from_every_protocol_and_nothing_else_is_made(protocol):
    content = {
        'floats': np.arange(6.0).reshape(2, 3),
        'fortran': np.asfortranarray(np.arange(6, dtype='>i4').reshape(2, 3)),
        'scalar': np.float32(0.5),
        'list': [1, 2.5, 'text', None, True, (3, 4)],
        'object': RunsCode('/nowhere/at/all'),
    }
    read = read_pickle(pickle.dumps(content, protocol=protocol))
    np.testing.assert_array_equal(read['floats'], content['floats'])
    np.testing.assert_array_equal(read['fortran'], content['fortran'])
    assert read['scalar'] == 0.5
    assert read['list'] == content['list']
    assert isinstance(read['object'], Foreign)
    assert str(read['object'].name) == 'posix.mkdir'


@pytest.mark.parametrize(
    'content',
    [
        b'',
        b'\x80\x04',
        b'no pickle',
        pickle.dumps(np.ones(3))[:-20],
        b'\x80\x02Q.',
        b'\x80\x05\x96' + (1 << 40).to_bytes(8, 'little') + b'.',  # a bytearray of a terabyte
        b'\x80\x04\x95' + (1 << 62).to_bytes(8, 'little') + b'.',  # a frame of exabytes
        b'\x80\x02\x82\x01.',  # an extension that copyreg knows
        b'(cos\nsystem\nS"true"\no.',
        b'(S"true"\nios\nsystem\n.',
        b'cos\nsystem\n(S"true"\ntRS"x"\n\x85R.',  # calls what a call returned
        b'\x80\x02cnumpy\ndtype\n(X\x01\0\0\0Ott\x85R.',
    ],
)
def test_what_is_no_pickle_is_refused(content):
    with pytest.raises(ArtifactError):
        read_pickle(content)


class FakeMoments:
    def __init__(self, mean, variance):
        self.mean, self.var, self.count = mean, variance, 100.0


class VecNormalize:
    """Of the name that Stable-Baselines3's has."""

    def __init__(self, size, *, norm_obs=True):
        self.obs_rms = FakeMoments(np.full(size, 0.5), np.full(size, 4.0))
        self.norm_obs, self.clip_obs, self.epsilon = norm_obs, 1.5, 1e-8


def test_vec_normalize_is_read_from_beside_the_policy(files, tmp_path, pole, seen):
    tensors = files.ppo_tensors(4, 1)
    path = files.sb3_file(tmp_path / 'ppo.zip', tensors)
    statistics = tmp_path / 'vecnormalize.pkl'
    statistics.write_bytes(pickle.dumps(VecNormalize(4)))
    actor, _ = read_sb3(path, normalization=statistics)
    normalized = np.clip((seen.astype(np.float64) - 0.5) / np.sqrt(4 + 1e-8), -1.5, 1.5)
    mean = files.last(
        tensors,
        'action_net',
        files.forward(tensors, 'mlp_extractor.policy_net', normalized, np.tanh),
    )
    expected = np.clip(mean, pole.low, pole.high)
    assert actor.act(seen, pole) == pytest.approx(expected, abs=1e-12)
    assert np.asarray(actor.keras_model(pole)(seen)['action']) == pytest.approx(expected, abs=2e-6)
    statistics.write_bytes(pickle.dumps(VecNormalize(5)))
    with pytest.raises(ArtifactError, match='belong to another policy'):
        read_sb3(path, normalization=statistics)
    statistics.write_bytes(pickle.dumps(VecNormalize(4, norm_obs=False)))
    assert read_vec_normalize(statistics) is None


# rsl_rl ----------------------------------------------------------------------------------


def rsl_rl_state(files, seed=0):
    generator = np.random.default_rng(seed)
    state = {'std': np.ones(1)}
    for number, (inputs, units) in enumerate(((4, 12), (12, 8), (8, 1))):
        state |= files.dense(generator, inputs, units, f'actor.{2 * number}')
        state |= files.dense(generator, inputs, units, f'critic.{2 * number}')
    return state


def test_a_checkpoint_of_rsl_rl_is_read(files, tmp_path, pole, seen):
    state = rsl_rl_state(files)
    norm = {'_mean': np.full((1, 4), 0.3), '_std': np.full((1, 4), 2.0), '_var': np.ones((1, 4))}
    path = tmp_path / 'model_10.pt'
    path.write_bytes(
        files.torch_file({'model_state_dict': state, 'iter': 10, 'obs_norm_state_dict': norm})
    )
    actor = read_rsl_rl(path)
    elu = ACTIVATIONS['elu'][1]
    value = (seen - np.float32(0.3)) / (2.0 + 1e-2)
    for number in (0, 2):
        part = {
            name: tensor for name, tensor in state.items() if name.startswith(f'actor.{number}')
        }
        value = files.forward(part, 'actor', value, elu)
    expected = np.clip(files.last(state, 'actor.4', value), pole.low, pole.high)
    assert actor.act(seen, pole) == pytest.approx(expected, abs=1e-6)
    other = read_rsl_rl(path, activation='tanh')
    assert np.abs(other.act(seen, pole) - expected).max() > 1e-3


def _chain_of_torch(torch):
    torch.manual_seed(3)
    nn = torch.nn
    return nn.Sequential(nn.Linear(4, 12), nn.ELU(), nn.Linear(12, 8), nn.ELU(), nn.Linear(8, 1))


def test_what_torch_itself_wrote_is_read_without_running_it(tmp_path, pole, seen):
    """A checkpoint of rsl_rl, and the TorchScript file that its exporter writes."""
    torch = pytest.importorskip('torch')
    chain = _chain_of_torch(torch)
    state = {f'actor.{name}': tensor for name, tensor in chain.state_dict().items()}
    optimizer = torch.optim.Adam(chain.parameters())
    checkpoint = {'model_state_dict': state, 'optimizer_state_dict': optimizer.state_dict()}
    torch.save({**checkpoint, 'iter': 5, 'infos': None}, tmp_path / 'model_5.pt')
    exported = torch.nn.Module()
    exported.add_module('actor', chain)
    exported.add_module('normalizer', torch.nn.Identity())
    exported.forward = lambda x: exported.actor(exported.normalizer(x))
    torch.jit.trace(exported, torch.zeros(1, 4)).save(tmp_path / 'policy.pt')
    with torch.no_grad():
        expected = np.clip(chain(torch.from_numpy(seen)).numpy(), pole.low, pole.high)
    for name in ('model_5.pt', 'policy.pt'):
        assert kind_of(tmp_path / name) == 'torch'
        assert read_rsl_rl(tmp_path / name).act(seen, pole) == pytest.approx(expected, abs=1e-6)


def test_a_scripted_recurrent_policy_says_how_to_export_onnx(tmp_path):
    torch = pytest.importorskip('torch')
    policy = torch.nn.Module()
    policy.add_module('rnn', torch.nn.LSTM(4, 8))
    policy.forward = lambda x: policy.rnn(x)[0]
    torch.jit.trace(policy, torch.zeros(1, 1, 4)).save(tmp_path / 'policy.pt')
    with pytest.raises(ArtifactError, match=r'recurrent.*policy\.onnx'):
        read_rsl_rl(tmp_path / 'policy.pt')


@pytest.mark.parametrize(
    ('state', 'message'),
    [
        (
            {'actor.0.weight': np.zeros((2, 4)), 'memory_a.rnn.weight': np.zeros((2, 2))},
            'recurrent',
        ),
        ({'encoder.weight': np.zeros((2, 4))}, 'no actor is there'),
    ],
)
def test_what_is_no_chain_says_how_to_export_onnx(files, tmp_path, state, message):
    path = tmp_path / 'model.pt'
    path.write_bytes(files.torch_file({'model_state_dict': state}))
    with pytest.raises(ArtifactError, match=rf'{message}.*policy\.onnx'):
        read_rsl_rl(path)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'\x89HDF\r\n\x1a\n', 'save it again as .keras'),
        (b'\x80\x02}q\x00.', 'PyTorch before 1.6'),
    ],
)
def test_files_of_old_formats_are_named(tmp_path, content, message):
    path = tmp_path / 'policy'
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=message):
        kind_of(path)


def test_a_zip_file_of_something_else_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / 'a.zip', 'w') as archive:
        archive.writestr('letter.txt', 'x')
    with pytest.raises(ArtifactError, match=r'letter\.txt.*neither of'):
        kind_of(tmp_path / 'a.zip')


# The command -----------------------------------------------------------------------------


def test_the_command_writes_an_artifact_that_answers_as_the_original(
    files, tmp_path, capsys, seen
):
    tensors = files.sac_tensors(4, 1)
    path = files.sb3_file(tmp_path / 'sac.zip', tensors)
    out = tmp_path / 'models' / 'pole'
    assert main(['import', str(path), '--environment', POLE, '--out', str(out)]) == 0
    printed = capsys.readouterr().out
    assert 'over 1000 visited observations' in printed
    assert 'compressed uses int8' in printed
    manifest = load_manifest(out)
    assert manifest.recipes == ('keras', 'float32', 'int8')
    imported = manifest.training['imported']
    assert imported['format'] == 'stable-baselines3 sac'
    assert imported['parity']['largest_difference'] <= 1e-5
    assert manifest.compressed_recipe() == 'int8'
    hidden = files.forward(tensors, 'actor.latent_pi', seen, lambda x: np.maximum(x, 0))
    expected = 3 * np.tanh(files.last(tensors, 'actor.mu', hidden))
    for recipe in ('float32', 'keras'):
        policy = load_policy(out, recipe=recipe)
        ours = np.asarray([policy.act(observation) for observation in seen])
        assert np.abs(ours - expected).max() <= 1e-5
    exact, rounded = (load_policy(out, recipe=recipe) for recipe in ('float32', 'int8'))
    visited, _ = observations_for(exact)
    differences = [np.abs(exact.act(o) - rounded.act(o)).max() for o in visited]
    assert 0 < max(differences) <= 0.3


def test_values_in_another_order_are_put_right_by_name(files, tmp_path, seen):
    """The policy's observation is the environment's, reversed."""
    tensors = files.ppo_tensors(4, 1)
    path = files.sb3_file(tmp_path / 'ppo.zip', tensors)
    assert main(['import', '--environment', POLE, '--template']) == 0
    env = make_environment(POLE)
    names = spec_of(env).observation_names[::-1]
    spec = tmp_path / 'spec.yaml'
    spec.write_text('observation:\n' + ''.join(f'  - {{name: {name}}}\n' for name in names))
    manifest = import_policy(
        path, out=tmp_path / 'out', environment_id=POLE, given=read_import_spec(spec)
    )
    assert manifest.environment == spec_of(env)
    mean = files.last(
        tensors,
        'action_net',
        files.forward(tensors, 'mlp_extractor.policy_net', seen[:, ::-1], np.tanh),
    )
    policy = load_policy(tmp_path / 'out', recipe='float32')
    ours = np.asarray([policy.act(observation) for observation in seen])
    assert ours == pytest.approx(np.clip(mean, -3, 3), abs=1e-5)
    spec.write_text('observation:\n' + ''.join(f'  - {{name: {name}}}\n' for name in names[1:]))
    with pytest.raises(ConfigurationError, match=f'it lacks {names[0]}'):
        import_policy(path, out=tmp_path / 'o', environment_id=POLE, given=read_import_spec(spec))
    spec.write_text(f'observation: [{{name: {names[0]}}}, {{name: {names[0]}}}]')
    with pytest.raises(ConfigurationError, match='more than once'):
        read_import_spec(spec)


def test_a_template_can_be_filled_in_and_imported_without_an_environment(files, tmp_path, capsys):
    assert main(['import', '--environment', POLE, '--template']) == 0
    spec = tmp_path / 'spec.yaml'
    spec.write_text(capsys.readouterr().out)
    path = files.sb3_file(tmp_path / 'ppo.zip', files.ppo_tensors(4, 1))
    out = tmp_path / 'out'
    for done in ('wrote', 'replaced'):
        assert main(['import', str(path), '--spec', str(spec), '--out', str(out)]) == 0
        said = capsys.readouterr().out
        assert 'drawn observations' in said
        assert 'no vecnormalize.pkl beside ppo.zip: observations are taken as they are' in said
        assert said.endswith(f'{done} {out}\n')
    with gymnasium.make(POLE) as env:
        assert load_manifest(out).environment == spec_of(env)


def test_a_template_has_as_many_values_as_the_policy_or_says_that_it_is_an_example(
    files, tmp_path, capsys
):
    path = files.sb3_file(tmp_path / 'ppo.zip', files.ppo_tensors(4, 3))
    assert main(['import', str(path), '--template']) == 0
    shown = capsys.readouterr().out
    spec = tmp_path / 'spec.yaml'
    spec.write_text(shown)
    given = read_import_spec(spec)
    assert (len(given.observation), len(given.action)) == (4, 3)
    assert 'example' not in shown
    assert main(['import', '--template']) == 0
    assert 'An example' in capsys.readouterr().out.splitlines()[0]


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ([], 'neither --environment nor a --spec'),
        (['--environment', 'HalfCheetah-v5'], 'the policy has 4 observation values'),
        (['--environment', POLE, '--environment-arguments', '[1]'], 'must be a mapping'),
        (['--environment', 'Ant-v5', '--environment-arguments', '{xml_file: ./no.xml}'], 'no.xml'),
        (['--environment', 'NoSuchRobot-v0'], "no environment is named 'NoSuchRobot-v0'"),
        (['--environment', POLE, '--spec', 'nowhere.yaml'], 'nowhere.yaml cannot be read'),
    ],
)
def test_a_description_that_does_not_fit_is_refused(files, tmp_path, capsys, arguments, message):
    path = files.sb3_file(tmp_path / 'ppo.zip', files.ppo_tensors(4, 1))
    out = tmp_path / 'out'
    assert main(['import', str(path), *arguments, '--out', str(out)]) == 1
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_a_keras_file_of_others_is_imported(tmp_path, seen):
    import keras

    source = keras.Input((4,))
    hidden = keras.layers.Dense(8, activation='gelu')(source)
    keras.Model(source, keras.layers.Dense(1)(hidden)).save(tmp_path / 'theirs.keras')
    import_policy(tmp_path / 'theirs.keras', out=tmp_path / 'out', environment_id=POLE)
    theirs = keras.models.load_model(tmp_path / 'theirs.keras')
    policy = load_policy(tmp_path / 'out', recipe='float32')
    ours = np.asarray([policy.act(observation) for observation in seen])
    assert ours == pytest.approx(np.clip(np.asarray(theirs(seen)), -3, 3), abs=1e-5)


def test_answers_as_stable_baselines3_itself(tmp_path):
    sb3 = pytest.importorskip('stable_baselines3')
    for name in ('PPO', 'SAC', 'TD3'):
        original = getattr(sb3, name)('MlpPolicy', 'Pendulum-v1', device='cpu', seed=3)
        original.save(tmp_path / name)
        import_policy(
            tmp_path / f'{name}.zip', out=tmp_path / f'out_{name}', environment_id='Pendulum-v1'
        )
        policy = load_policy(tmp_path / f'out_{name}', recipe='float32')
        for observation in np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32):
            theirs, _ = original.predict(observation, deterministic=True)
            assert policy.act(observation) == pytest.approx(theirs, abs=1e-5)
