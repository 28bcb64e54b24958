"""Actors in C answer as LiteRT does, on this machine and on an emulated Cortex-M4."""

import ctypes
import runpy
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from rl_edge_compress.__main__ import main
from rl_edge_compress.c_code import c_actor
from rl_edge_compress.export import export_artifact
from rl_edge_compress.export_formats import export_c, observations_for
from rl_edge_core.artifact import load_manifest
from rl_edge_core.errors import ArtifactError
from rl_edge_policy.load import load_policy

needs_gcc = pytest.mark.skipif(shutil.which('gcc') is None, reason='no gcc')
CORTEX_M4 = ('arm-none-eabi-gcc', 'qemu-system-arm')
needs_cortex_m4 = pytest.mark.skipif(
    not all(map(shutil.which, CORTEX_M4)),
    reason=f'apt-get install gcc-arm-none-eabi {CORTEX_M4[1]}',
)
STRICT = ('-std=c99', '-Wall', '-Wextra', '-Wpedantic', '-Werror', '-O2')
EXAMPLE = Path(__file__).parents[3] / 'examples' / 'cortex_m4' / 'measure.py'


@pytest.fixture(scope='module')
def artifact(build, spec, visited, tmp_path_factory):
    """Return an artifact with a selection, normalisation, LayerNorm and a scaled tanh."""
    folder = tmp_path_factory.mktemp('actor') / 'cart'
    model = build(layer_norm=True, kept=5, width=24)
    export_artifact(model, spec=spec, name='cart', out=folder, calibration=visited)
    return folder


def compiled(source, folder, name='policy'):
    library = folder / f'{name}.so'
    command = ['gcc', *STRICT, '-shared', '-fPIC', '-nostdlib', '-o', library, source]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    act = getattr(ctypes.CDLL(str(library)), f'{name}_act')

    def answer(observation, actions):
        action = np.empty(actions, np.float32)
        seen = np.ascontiguousarray(observation, np.float32)
        valid = act(seen.ctypes.data_as(ctypes.c_void_p), action.ctypes.data_as(ctypes.c_void_p))
        return action, valid

    return answer


def one_step(folder, recipe):
    """Return what one quantization step of the last 8-bit layer is in the action's units."""
    if recipe == 'float32':
        return 1e-5
    from rl_edge_compress.tflite_file import operators, read_model

    model = read_model((folder / f'actor_{recipe}.tflite').read_bytes())
    last = [step for step in operators(model) if step.name == 'FULLY_CONNECTED'][-1]
    scale = model.subgraphs[0].tensors[last.outputs[0]].quantization.scale[0]
    high = max(load_manifest(folder).environment.action_high)
    return float(scale) * high


@needs_gcc
@pytest.mark.parametrize('recipe', ['float32', 'int8'])
def test_c_answers_as_litert_within_one_quantization_step(artifact, visited, tmp_path, recipe):
    out = tmp_path / 'policy.c'
    name, constants, memory = export_c(artifact, out, recipe=recipe)
    assert name == recipe
    act = compiled(out, tmp_path)
    policy = load_policy(artifact, recipe=recipe)
    seen, _ = observations_for(policy)
    both = np.vstack([visited, seen])
    assert len(both) >= 1000
    ours = np.asarray([act(observation, 2)[0] for observation in both])
    theirs = np.asarray([policy.act(observation) for observation in both])
    assert theirs.std() > 0.1
    assert np.abs(ours - theirs).max() <= one_step(artifact, recipe) * 1.001
    # The weights of three dense layers, 5-24-24-2, and what lies beside them.
    weights = (5 * 24 + 24 * 24 + 24 * 2) * (1 if recipe == 'int8' else 4)
    assert weights < constants < weights + 1000
    assert memory <= 4 * 5 * 24


@needs_gcc
def test_c_answers_what_is_not_finite_with_the_safe_action(artifact, tmp_path):
    export_c(artifact, tmp_path / 'policy.c', recipe='float32')
    act = compiled(tmp_path / 'policy.c', tmp_path)
    safe = load_manifest(artifact).environment.safe_action
    for value in (np.nan, np.inf, -np.inf):
        action, valid = act([0, value, 0, 0, 0, 0], 2)
        assert valid == 0
        assert action.tolist() == list(safe)
    action, valid = act(np.zeros(6), 2)
    assert valid == 1


@needs_gcc
@pytest.mark.parametrize(
    'name',
    [
        'relu',
        'tanh',
        'elu',
        'selu',
        'gelu',
        'silu',
        'softplus',
        'softsign',
        'mish',
        'sigmoid',
        'leaky_relu',
        'hard_swish',
        'relu6',
        'softmax',
    ],
)
def test_every_activation_has_its_form_in_c(spec, tmp_path, name):
    import keras

    from rl_edge_compress.formats import float32_tflite

    keras.utils.set_random_seed(4)
    source = keras.Input((6,))
    hidden = keras.layers.Activation(name)(keras.layers.Dense(16)(source))
    model = keras.Model(source, keras.layers.Dense(2, activation='tanh')(hidden))
    actor = c_actor(float32_tflite(model), spec, name='policy', model_hash='0' * 64)
    (tmp_path / 'policy.c').write_text(actor.source)
    (tmp_path / 'policy.h').write_text(actor.header)
    act = compiled(tmp_path / 'policy.c', tmp_path)
    seen = np.random.default_rng(1).normal(size=(300, 6)).astype(np.float32) * 4
    ours = np.asarray([act(observation, 2)[0] for observation in seen])
    assert ours == pytest.approx(np.asarray(model(seen)), abs=4e-6)


@needs_gcc
@needs_cortex_m4
@pytest.mark.parametrize('recipe', ['float32', 'int8'])
def test_a_cortex_m4_answers_as_litert(artifact, visited, tmp_path, recipe):
    export_c(artifact, tmp_path / 'policy.c', recipe=recipe)
    seen = visited[:100]
    run_on_cortex_m4 = runpy.run_path(str(EXAMPLE))['run_on_cortex_m4']
    ours, instructions = run_on_cortex_m4(tmp_path, seen)
    # Each of the 744 weights is loaded and multiplied, and some instructions surround it.
    assert 2 * 744 < instructions < 100 * 744
    policy = load_policy(artifact, recipe=recipe)
    theirs = np.asarray([policy.act(observation) for observation in seen])
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= one_step(artifact, recipe) * 1.001


def test_a_recipe_or_a_name_that_c_does_not_take_is_named(build, spec, visited, tmp_path, capsys):
    export_artifact(
        build(),
        spec=spec,
        name='cart',
        out=tmp_path / 'cart',
        recipes=('float32', 'dynamic'),
        calibration=visited,
    )
    folder = str(tmp_path / 'cart')
    for arguments, message in (
        (['--recipe', 'dynamic', '--out', 'policy.c'], 'write the recipe int8'),
        (['--recipe', 'keras', '--out', 'policy.c'], 'take float32 or int8'),
        (['--recipe', 'int3', '--out', 'policy.c'], "no recipe 'int3'"),
        (['--out', 'my-policy.c'], 'must be NAME.c'),
        (['--out', str(tmp_path)], 'must be a file such as policy.c'),
    ):
        assert main(['export', folder, '--format', 'c', *arguments]) == 1
        assert message in capsys.readouterr().err
    with pytest.raises(ArtifactError, match='there is one of ABS'):
        c_actor(_cosine(), spec, name='policy', model_hash='')


def _cosine():
    import keras

    from rl_edge_compress.formats import float32_tflite

    source = keras.Input((6,))
    return float32_tflite(keras.Model(source, keras.layers.Dense(2)(keras.ops.cos(source))))
