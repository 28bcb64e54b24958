import numpy as np
import pytest

from rl_edge_bringup import models
from rl_edge_bringup.models import ModelRequest, choose_model
from rl_edge_bringup.prepare import prepare
from rl_edge_bringup.systems import find_system
from rl_edge_core import model_files
from rl_edge_core.artifact import Manifest, ModelFile, Network, write_manifest
from rl_edge_core.environment_spec import EnvironmentSpec
from rl_edge_core.errors import (
    ArtifactError,
    ConfigurationError,
    SpecMismatchError,
    StorageError,
)

SPEC = EnvironmentSpec(
    environment_id='Pendulum-v1',
    observation_names=('pole.x', 'pole.y', 'pole.speed'),
    observation_units=('1', '1', 'rad/s'),
    action_names=('torque',),
    action_units=('N m',),
    action_low=(-2.0,),
    action_high=(2.0,),
    safe_action=(0.0,),
    control_period_sec=0.05,
    max_episode_steps=200,
    environment_arguments='{"g": 9.0}',
)
BEST = str(model_files.models_folder() / 'ant_v5' / 'best')
RUNTIMES_OF_TFLITE = ('litert', 'tflite_runtime')


def entry(recipe, file, runtimes):
    return ModelFile(
        file=file,
        recipe=recipe,
        sha256='0' * 64,
        bytes=1,
        numeric_format='float32',
        runtimes=runtimes,
        golden_action=(0.0,),
        golden_tolerance={},
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A models folder with one artifact in it; the files themselves are not read here."""
    for module in (models, model_files):
        monkeypatch.setattr(module, 'models_folder', lambda: tmp_path)
    path = tmp_path / 'pendulum' / 'swing'
    files = (
        entry('keras', 'policy.keras', ('keras',)),
        entry('float32', 'actor_float32.tflite', RUNTIMES_OF_TFLITE),
        entry('int8', 'actor_int8.tflite', RUNTIMES_OF_TFLITE),
    )
    for file in files:
        path.mkdir(parents=True, exist_ok=True)
        (path / file.file).write_bytes(b'x')
    manifest = Manifest(
        name='pendulum/swing',
        environment=SPEC,
        algorithm='untrained',
        network=Network(),
        golden_observation=tuple(np.zeros(3)),
        files=files,
        default_recipe='int8',
    )
    write_manifest(manifest, path)
    return path


@pytest.mark.parametrize(
    ('request_', 'model_id', 'runtime'),
    [
        (ModelRequest('compressed', 'pendulum/swing'), 'actor_int8.tflite', 'auto'),
        (ModelRequest('compressed', 'pendulum/swing', 'float32'), 'actor_float32.tflite', 'auto'),
        (
            ModelRequest('compressed', 'pendulum/swing', '', 'tflite_runtime'),
            'actor_int8.tflite',
            'tflite_runtime',
        ),
        (ModelRequest('uncompressed', 'pendulum/swing'), 'policy.keras', 'keras'),
    ],
)
def test_the_configuration_picks_the_file_and_arguments_win(folder, request_, model_id, runtime):
    chosen = choose_model(request_)

    assert chosen.folder == folder
    assert chosen.model_id == f'pendulum/swing/{model_id}'
    assert chosen.runtime == runtime
    assert chosen.note == ''


def test_a_path_to_a_file_picks_its_recipe(folder):
    chosen = choose_model(ModelRequest('compressed', str(folder / 'actor_float32.tflite')))

    assert chosen.recipe == 'float32'
    assert chosen.folder == folder


def test_a_model_of_another_environment_is_refused_with_the_argument_that_mends_it(folder):
    words = (
        'pendulum/swing was made for Pendulum-v1, and environment_id is Ant-v5: give '
        'environment_id:=Pendulum-v1'
    )
    with pytest.raises(SpecMismatchError, match=words):
        choose_model(ModelRequest('compressed', 'pendulum/swing', environment_id='Ant-v5'))

    fits = ModelRequest('compressed', 'pendulum/swing', environment_id='Pendulum-v1')
    assert choose_model(fits).recipe == 'int8'


@pytest.mark.parametrize('name', ['sim', 'train'])
def test_every_system_that_simulates_refuses_it_and_leaves_no_folder(
    folder, name, tmp_path, monkeypatch
):
    monkeypatch.setenv('ROS_LOG_DIR', str(tmp_path / 'logs'))
    given = {'model': 'pendulum/swing', 'environment_id': 'Ant-v5'}
    for output in ({}, {'output_folder': str(tmp_path / 'run')}):
        with pytest.raises(SpecMismatchError, match='environment_id:=Pendulum-v1'):
            prepare(find_system(name), {**given, **output})
    assert not (tmp_path / 'logs').exists()
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize(
    ('name', 'given', 'message'),
    [
        (
            'robot',
            {'description': 'nosuch'},
            "description 'nosuch' is not a file; shipped are ant",
        ),
        ('robot', {'description': 'ant_v6'}, r'did you mean ant_v5\?'),
        ('robot', {}, 'parameter description is empty: give a YAML file'),
        ('robot', {'description': 'ant_v5'}, 'the description does not fit the policy'),
        ('robot', {'description': 'ant_v5', 'model': BEST, 'qos': 'losy'}, 'did you mean lossy'),
        ('edge', {'trusted_models': 'abc'}, "trusted_models holds 'abc', must be SHA-256"),
        (
            'edge',
            {'enclave': '/nosuch'},
            'enclave /nosuch has no keys: .*nosuch is not a folder; ',
        ),
        ('edge', {'enclave': 'on'}, 'rl_edge security ant0 --keystore FOLDER'),
        ('train', {'preset': 'sack'}, r"unknown preset 'sack' \(did you mean sac\?\)"),
        (
            'record',
            {'record_topics': '/a-b'},
            "record_topics has '/a-b', which is not a topic name",
        ),
        ('sim', {'record': 'true', 'record_topics': '/a-b'}, "record_topics has '/a-b'"),
    ],
)
def test_what_a_node_would_refuse_is_refused_before_one_starts_and_leaves_no_folder(
    folder, tmp_path, monkeypatch, name, given, message
):
    monkeypatch.setenv('ROS_LOG_DIR', str(tmp_path / 'logs'))
    if 'enclave' in given:
        monkeypatch.setenv('ROS_SECURITY_ENABLE', 'true')
        monkeypatch.setenv('ROS_SECURITY_KEYSTORE', str(tmp_path / 'keys'))
    model = {} if name == 'record' else {'model': 'pendulum/swing'}
    recorder = {'recorder': 'rl_edge'}

    with pytest.raises((ConfigurationError, SpecMismatchError), match=message):
        prepare(find_system(name), {**model, **recorder, **given})
    assert not (tmp_path / 'logs').exists()


@pytest.mark.parametrize('domain', ['233', 'a'])
def test_a_domain_that_dds_has_not_is_refused_before_a_node_starts(monkeypatch, domain):
    monkeypatch.setenv('ROS_DOMAIN_ID', domain)

    with pytest.raises(ConfigurationError, match=f'ROS_DOMAIN_ID is {domain}, must be 0 to 232'):
        prepare(find_system('edge'), {})


def test_the_folder_of_a_run_is_answered_with_what_to_do_about_it(tmp_path):
    (tmp_path / 'run.json').touch()
    with pytest.raises(ArtifactError, match=r'it is a run: export it \(rl_edge export .* --out '):
        choose_model(ModelRequest('compressed', str(tmp_path)))
    (tmp_path / 'policy').mkdir()
    (tmp_path / 'policy' / 'manifest.json').touch()
    with pytest.raises(ArtifactError, match=f'it is a run: give {tmp_path}/policy'):
        choose_model(ModelRequest('compressed', str(tmp_path)))


@pytest.mark.parametrize('variable', ['ROS_LOG_DIR', 'output_folder'])
def test_a_folder_that_cannot_be_written_is_refused_before_a_node_starts(
    folder, tmp_path, monkeypatch, variable
):
    (tmp_path / 'file').touch()
    monkeypatch.setenv('ROS_LOG_DIR', str(tmp_path / 'logs'))
    nowhere, given = str(tmp_path / 'file' / 'below'), {'model': 'pendulum/swing'}
    if variable == 'ROS_LOG_DIR':
        monkeypatch.setenv(variable, nowhere)
        given['output_folder'] = str(tmp_path / 'run')
    else:
        given[variable] = nowhere

    with pytest.raises(StorageError, match='below cannot be written: a part of the path is a fi'):
        prepare(find_system('edge'), given)
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize('asked', ['', '{max_episode_steps: 7}'])
def test_an_environment_that_is_not_named_is_that_of_the_model(folder, tmp_path, asked):
    given = {'model': 'pendulum/swing', 'output_folder': str(tmp_path / 'run')}

    prepared = prepare(find_system('sim'), {**given, 'environment_arguments': asked})

    (sim,) = (one for one in prepared.processes if one.node.name == 'sim')
    assert sim.node.parameters['environment_id'] == 'Pendulum-v1'
    made_with = '{"g": 9.0}'
    assert sim.node.parameters['environment_arguments'] == (asked or made_with)


def test_the_edge_device_does_not_know_the_environment_and_takes_any_model(folder, tmp_path):
    given = {'model': 'pendulum/swing', 'output_folder': str(tmp_path / 'run')}

    assert prepare(find_system('edge'), given).model.recipe == 'int8'


def test_recipe_and_a_tflite_model_together_are_an_error(folder):
    request = ModelRequest('compressed', str(folder / 'actor_int8.tflite'), 'float32')

    with pytest.raises(ConfigurationError, match='give one of them'):
        choose_model(request)


@pytest.mark.parametrize(
    ('request_', 'message'),
    [
        (ModelRequest('compressed', 'pendulum/swung'), 'did you mean pendulum/swing'),
        (ModelRequest('compressed', 'pendulum/swing', 'int4'), 'has keras, float32, int8'),
        (
            ModelRequest('uncompressed', 'pendulum/swing', 'int8'),
            'use configuration:=compressed',
        ),
        (ModelRequest('compressed', 'pendulum/swing', 'keras'), 'use configuration:=uncompressed'),
        (
            ModelRequest('uncompressed', 'pendulum/swing', '', 'litert'),
            'policy.keras is loaded by keras',
        ),
        (
            ModelRequest('compressed', 'pendulum/swing', '', 'keras'),
            'is loaded by litert, tflite_runtime',
        ),
    ],
)
def test_contradictions_and_unknown_names_are_errors_with_a_remedy(folder, request_, message):
    with pytest.raises(ConfigurationError, match=message):
        choose_model(request_)


def test_a_tflite_file_is_not_what_the_uncompressed_configuration_runs(folder):
    with pytest.raises(ConfigurationError, match='use configuration:=compressed'):
        choose_model(ModelRequest('uncompressed', str(folder / 'actor_int8.tflite')))


def test_a_file_without_a_manifest_beside_it_is_refused(folder, tmp_path):
    lonely = tmp_path / 'lonely' / 'actor_int8.tflite'
    lonely.parent.mkdir()
    lonely.write_bytes(b'x')

    with pytest.raises(ArtifactError, match=r'no manifest\.json'):
        choose_model(ModelRequest('compressed', str(lonely)))


def test_an_unknown_configuration_is_an_error():
    from rl_edge_core.parameters import parse_arguments

    with pytest.raises(ConfigurationError, match='one of compressed, uncompressed'):
        parse_arguments(find_system('sim').arguments, {'configuration': 'compresed'})


def test_an_unknown_system_is_an_error_that_lists_those_there_are():
    with pytest.raises(ConfigurationError, match=r"'edgy' \(did you mean edge\?\); there are sim"):
        find_system('edgy')


def test_a_device_without_the_default_model_is_not_told_to_build_it(folder, monkeypatch):
    with pytest.raises(ConfigurationError, match='build and source the package rl_edge_models'):
        choose_model(ModelRequest('compressed'))
    monkeypatch.setattr(models, 'is_installed', lambda package: False)

    with pytest.raises(ConfigurationError) as found:
        choose_model(ModelRequest('compressed'))
    assert "copy the repository's models/ant_v5/best here and give model:=FOLDER" in str(
        found.value
    )
    assert 'untrained' not in str(found.value)
    with pytest.raises(ConfigurationError, match='rl_edge_compress, which makes a first policy, '):
        choose_model(ModelRequest('compressed', model='untrained'))


@pytest.mark.parametrize('name', ['swng', 'models/pendulum/swng', 'pendulum/swng'])
def test_a_misspelt_name_gets_a_hint_with_and_without_its_folder(folder, name):
    with pytest.raises(ConfigurationError, match=r'\(did you mean pendulum/swing\?\)'):
        choose_model(ModelRequest('compressed', model=name))
