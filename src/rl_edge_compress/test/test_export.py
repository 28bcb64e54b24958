import os

import keras
import numpy as np
import pytest

from rl_edge_compress import runtimes
from rl_edge_compress.export import compressed_default, export_artifact
from rl_edge_core.artifact import checked_file, load_manifest
from rl_edge_core.errors import ArtifactError, ConfigurationError, StorageError
from rl_edge_policy.load import load_policy


@pytest.fixture(scope='module')
def folder(actor_critic, spec, visited, tmp_path_factory):
    folder = tmp_path_factory.mktemp('exported') / 'policy'
    export_artifact(
        actor_critic,
        spec=spec,
        name='cart/best',
        out=folder,
        algorithm='sac',
        training={'steps': 10},
        recipes=('float32', 'int8', 'int4'),
        calibration=visited,
    )
    return folder


def test_manifest_says_what_the_files_are(folder, spec):
    manifest = load_manifest(folder)
    assert manifest.recipes == ('keras', 'float32', 'int8', 'int4')
    assert manifest.environment == spec
    assert manifest.network.hidden_sizes == (16, 16)
    assert manifest.network.activation == 'relu'
    assert manifest.network.action_distribution == 'squashed_gaussian'
    assert manifest.network.parameters == 6 * 16 + 16 + 16 * 16 + 16 + 16 * 2 + 2
    assert manifest.training['steps'] == 10
    # int8 is near enough to float32 to be what `compressed` means, and the manifest says how near.
    assert manifest.compressed_recipe() == 'int8'
    assert manifest.training['compressed'].startswith('int8 differs from float32 by ')
    assert {'keras', 'numpy', 'python'} <= set(manifest.versions)
    original = manifest.entry('keras')
    for entry in manifest.files:
        checked_file(folder, entry)
        if entry is not original:
            assert entry.source_sha256 == original.sha256
    assert manifest.entry('int8').numeric_format == 'int8'
    assert manifest.entry('int8').runtimes[0] == 'litert'


def test_compressed_stays_float32_where_int8_is_too_far_off(spec):
    exact = np.array([[1.0, 2.0], [-1.0, 0.5]], np.float32)  # limits +-2, half the range is 2

    def trials(difference):
        runs = {'actor_float32.tflite': exact, 'actor_int8.tflite': exact + difference}
        return {'litert': {name: runtimes.Trial(actions) for name, actions in runs.items()}}

    assert compressed_default(trials(0.099), spec)[0] == 'int8'
    recipe, reason = compressed_default(trials(0.2), spec)
    assert recipe == 'float32'
    assert reason == (
        'int8 differs from float32 by 10 % of half the action range (RMS), at most 5 % is taken'
    )
    broken = {'litert': {name: runtimes.Trial(None, 'no') for name in trials(0)['litert']}}
    assert compressed_default(broken, spec) == (
        'float32',
        'no runtime here runs both int8 and float32',
    )


def test_every_file_answers_its_golden_pair(folder, visited):
    full = load_policy(folder, recipe='keras')
    for recipe in ('float32', 'int8', 'int4'):
        policy = load_policy(folder, recipe=recipe, runtime='litert')
        assert policy.act(visited[0]).shape == (2,)
    float32 = load_policy(folder, recipe='float32', runtime='litert')
    assert float32.act(visited[1]) == pytest.approx(full.act(visited[1]), abs=1e-4)


@pytest.mark.skipif(not runtimes.is_installed('tflite_runtime'), reason='needs tflite-runtime')
def test_an_operator_version_that_a_runtime_lacks_is_refused_with_the_remedy(folder):
    entry = load_manifest(folder).entry('int4')
    assert 'tflite_runtime' not in entry.runtimes
    reason = entry.unsupported['tflite_runtime']
    assert "'FULLY_CONNECTED' version '12'" in reason
    assert 'use another recipe or a newer runtime' in reason
    for recipe in ('float32', 'int8'):
        assert load_manifest(folder).entry(recipe).runtimes == ('litert', 'tflite_runtime')


def test_a_runtime_that_is_not_installed_says_so(folder, visited, monkeypatch):
    monkeypatch.setitem(runtimes.MODULES, 'none', 'no_such_runtime.interpreter')
    trials = runtimes.try_runtimes([folder / 'actor_int8.tflite'], visited[:1])
    assert trials['none']['actor_int8.tflite'].reason == 'not tried: not installed here'


def test_a_damaged_file_is_a_reason_not_a_crash(visited, tmp_path):
    (tmp_path / 'broken.tflite').write_bytes(b'no flatbuffer')
    trials = runtimes.try_runtimes([tmp_path / 'broken.tflite'], visited[:1])
    assert trials['litert']['broken.tflite'].actions is None
    assert trials['litert']['broken.tflite'].reason


def test_calibration_that_fails_leaves_nothing(actor_critic, spec, tmp_path):
    with pytest.raises(ConfigurationError, match='got no observations'):
        export_artifact(actor_critic, spec=spec, name='x', out=tmp_path / 'out')
    assert os.listdir(tmp_path) == []


def test_what_was_there_survives_a_failed_export(actor_critic, spec, tmp_path):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'card.md').write_text('mine')
    (tmp_path / 'out' / 'manifest.json').write_text('{}')  # as an artifact has it
    with pytest.raises(ConfigurationError):
        export_artifact(actor_critic, spec=spec, name='x', out=tmp_path / 'out')
    assert (tmp_path / 'out' / 'card.md').read_text() == 'mine'


def test_unwritable_output_is_named_with_the_remedy(actor_critic, spec, tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(StorageError, match='choose another path'):
        export_artifact(
            actor_critic, spec=spec, name='x', out=tmp_path / 'file' / 'out', recipes=()
        )


def test_unknown_recipe_is_refused_before_anything_is_written(actor_critic, spec, tmp_path):
    with pytest.raises(ConfigurationError, match="no numeric format 'int3'"):
        export_artifact(actor_critic, spec=spec, name='x', out=tmp_path / 'out', recipes=('int3',))
    assert not (tmp_path / 'out').exists()


def test_a_model_of_other_sizes_is_refused(actor_critic, spec_for, tmp_path):
    for spec, message in (
        (spec_for(7), 'input .* has 6 values'),
        (spec_for(6, 3), 'action output'),
    ):
        with pytest.raises(ArtifactError, match=message):
            export_artifact(actor_critic, spec=spec, name='x', out=tmp_path / 'out')


def test_a_model_without_a_named_action_is_refused(spec, tmp_path):
    source = keras.Input((6,))
    model = keras.Model(source, {'torque': keras.layers.Dense(2)(source)})
    with pytest.raises(ArtifactError, match='has outputs torque; it needs one named action'):
        export_artifact(model, spec=spec, name='x', out=tmp_path / 'out')


def test_a_model_with_code_in_it_is_refused(spec, tmp_path):
    source = keras.Input((6,))
    doubled = keras.layers.Lambda(lambda x: 2 * x)(source)
    action = keras.layers.Dense(2, name='action')(doubled)
    with pytest.raises(ArtifactError, match='cannot be loaded'):
        export_artifact(
            keras.Model(source, {'action': action}), spec=spec, name='x', out=tmp_path / 'out'
        )
    assert not (tmp_path / 'out').exists()


def test_golden_observation_is_one_that_was_visited(folder, visited):
    golden = np.asarray(load_manifest(folder).golden_observation, np.float32)
    assert any(np.array_equal(golden, observation) for observation in visited)
