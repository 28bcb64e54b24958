import keras
import numpy as np
import pytest

from rl_edge_compress.compensate import equalize_inputs
from rl_edge_compress.formats import FORMATS, compact, float32_tflite, int8_tflite, numeric_format
from rl_edge_compress.keras_models import actor_of, layer_chain
from rl_edge_compress.numpy_graph import numpy_graph
from rl_edge_compress.runtimes import open_interpreter, run_interpreter
from rl_edge_compress.tflite_file import (
    dense_kernels,
    file_facts,
    operators,
    read_model,
    type_name,
)
from rl_edge_compress.timing_worker import onnx_call
from rl_edge_core.errors import ArtifactError, ConfigurationError

BOUNDS = {'float32': 1e-5, 'float16': 5e-3, 'dynamic': 0.05, 'int8': 0.05, 'int4': 0.5}
"""Of the RMSE in actions of +-2; for int8 the goal of 0.05 holds in actions of +-1."""


def litert(content, observations):
    return run_interpreter(open_interpreter('litert', content), observations)


def rmse(left, right):
    return float(np.sqrt(np.mean(np.square(left - right))))


@pytest.fixture(scope='module')
def files(actor, visited):
    return {name: form.write(actor, visited) for name, form in FORMATS.items()}


@pytest.mark.parametrize('name', FORMATS)
def test_file_equals_the_keras_actor_within_the_bound_of_its_format(name, files, actor, visited):
    error = rmse(litert(files[name], visited[:100]), np.asarray(actor(visited[:100])))
    assert error <= BOUNDS[name]
    assert error > 0 or name == 'float32'


def test_each_format_has_its_types(files):
    kinds = {
        name: {type_name(t) for t in read_model(content).subgraphs[0].tensors}
        for name, content in files.items()
    }
    assert 'int8' not in kinds['float32']
    assert 'float16' in kinds['float16']
    assert 'int8' in kinds['dynamic']
    assert 'int8' in kinds['int8']
    assert 'int4' in kinds['int4']


def test_quantize_comes_after_normalisation(files):
    model = read_model(files['int8'])
    steps = list(operators(model))
    names = [step.name for step in steps]
    first = names.index('QUANTIZE')
    normalisation = {'SUB', 'MUL', 'MINIMUM', 'MAXIMUM'}
    assert normalisation <= set(names[:first])
    tensors = model.subgraphs[0].tensors
    for step in steps:
        integer = any(type_name(tensors[i]) == 'int8' for i in step.inputs if i >= 0)
        # Dense layers alone compute in integers.
        assert integer == (step.name in ('FULLY_CONNECTED', 'DEQUANTIZE'))
    assert names[first + 1] == 'FULLY_CONNECTED'


def test_layer_norm_stays_in_float(build, visited):
    actor = actor_of(build(layer_norm=True))
    content = FORMATS['int8'].write(actor, visited)
    model = read_model(content)
    tensors = model.subgraphs[0].tensors
    means = [step for step in operators(model) if step.name == 'MEAN']
    assert means
    assert all(type_name(tensors[step.inputs[0]]) == 'float32' for step in means)
    assert rmse(litert(content, visited[:50]), np.asarray(actor(visited[:50]))) < 0.15


def test_weights_have_one_scale_a_layer(files):
    for name in ('int8', 'dynamic'):
        model = read_model(files[name])
        for step in operators(model):
            if step.name == 'FULLY_CONNECTED':
                kernel = model.subgraphs[0].tensors[step.inputs[1]]
                assert len(kernel.quantization.scale) == 1


@pytest.mark.parametrize(
    ('name', 'wanted'), [('float32', {1}), ('int8', {4}), ('dynamic', {3}), ('int4', {3, 12})]
)
def test_files_declare_the_operator_versions_that_they_need(name, wanted, files):
    model = read_model(files[name])
    versions = {step.version for step in operators(model) if step.name == 'FULLY_CONNECTED'}
    assert versions == wanted


def test_a_256_wide_network_without_layer_norm_stays_below_100_kb(build):
    observations = np.random.default_rng(0).normal(size=(200, 105)).astype(np.float32)
    actor = actor_of(build(observations=105, actions=8, width=256, limit=1.0))
    float32 = FORMATS['float32'].write(actor, None)
    int8 = FORMATS['int8'].write(actor, observations)
    assert len(int8) <= 100_000
    assert len(int8) <= 0.27 * len(float32)


def test_inputs_of_different_size_keep_their_resolution(build, visited):
    """Without normalisation one scale serves positions of 0.1 and velocities of 10."""
    actor = actor_of(build(normalize=False, width=32))
    reference = np.asarray(actor(visited))
    float32 = FORMATS['float32'].write(actor, None)
    balanced = equalize_inputs(float32, visited)
    assert rmse(litert(balanced, visited), reference) < 1e-5
    plain_error = rmse(litert(int8_tflite(float32, visited), visited), reference)
    assert rmse(litert(int8_tflite(balanced, visited), visited), reference) < 0.8 * plain_error


def test_numpy_runs_the_same_network(float32, actor, visited):
    graph, expected = numpy_graph(float32), np.asarray(actor(visited))
    assert graph(visited) == pytest.approx(expected, abs=1e-5)
    one_by_one = [graph(observation[None])[0] for observation in visited[:20]]
    assert np.asarray(one_by_one) == pytest.approx(expected[:20], abs=1e-5)


def test_onnx_runtime_runs_the_same_network(build, visited):
    pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    actor = actor_of(build(kept=4, layer_norm=True))
    act = onnx_call(float32_tflite(compact(actor)), 6)
    actions = np.asarray([act(observation) for observation in visited[:20]])
    assert actions == pytest.approx(np.asarray(actor(visited[:20])), abs=1e-5)


def test_the_unused_half_of_a_joint_head_is_left_out(build, visited):
    actor = actor_of(build(joint_head=True, kept=4))
    content = float32_tflite(compact(actor))
    assert [kernel.shape[0] for kernel in dense_kernels(content)] == [16, 16, 2]
    assert litert(content, visited[:50]) == pytest.approx(
        np.asarray(actor(visited[:50])), abs=1e-5
    )


def test_nested_models_become_a_chain(actor, visited):
    chain = layer_chain(actor)
    assert [layer.units for layer in chain.dense] == [16, 16, 2]
    rebuilt = chain.model()
    assert np.asarray(rebuilt(visited)) == pytest.approx(np.asarray(actor(visited)), abs=1e-6)


def test_an_actor_that_branches_can_be_converted_but_not_taken_apart(visited):
    source = keras.Input((6,))
    hidden = keras.layers.Dense(6, activation='relu')(source)
    actor = keras.Model(source, keras.layers.Dense(2)(keras.layers.Add()([source, hidden])))
    with pytest.raises(ArtifactError, match='branches at'):
        layer_chain(actor)
    content = FORMATS['int8'].write(actor, visited)
    assert litert(content, visited[:5]).shape == (5, 2)


def test_an_actor_without_a_dense_layer_is_refused():
    source = keras.Input((6,))
    with pytest.raises(ArtifactError, match='no dense layer'):
        layer_chain(keras.Model(source, keras.layers.Activation('tanh')(source)))


@pytest.mark.parametrize(
    ('observations', 'message'),
    [
        (None, 'got no observations'),
        (np.zeros((0, 6)), 'got no observations'),
        (np.ones((50, 6)), 'all 50 calibration observations are the same'),
        (np.zeros((50, 7)), r'shape \(50, 7\), must have \(count, 6\)'),
        (np.zeros(6), r'shape \(6,\), must have \(count, 6\)'),
        (
            np.vstack([np.eye(6), np.full((2, 6), np.nan)]),
            '2 .* not finite, the first is number 6',
        ),
        (np.vstack([np.eye(6), np.full((1, 6), np.inf)]), '1 .* not finite'),
    ],
)
def test_calibration_that_is_of_no_use_is_refused(actor, observations, message):
    with pytest.raises(ConfigurationError, match=message):
        FORMATS['int8'].write(actor, observations)


def test_unknown_format_lists_those_there_are():
    with pytest.raises(ConfigurationError, match="'int3'; there are float32, float16, dynamic"):
        numeric_format('int3')


def test_facts_count_zeros_in_the_file(build, visited):
    model = build(width=20)
    for layer in model.get_layer('trunk').layers:
        if isinstance(layer, keras.layers.Dense):
            kernel, bias = layer.get_weights()
            kernel[::2] = 0
            layer.set_weights([kernel, bias])
    actor = actor_of(model)
    zeros = (6 * 20 + 20 * 20) / 2
    for name in FORMATS:
        facts = file_facts(FORMATS[name].write(actor, visited))
        assert facts.dense_weights == 6 * 20 + 20 * 20 + 20 * 2
        assert facts.sparsity >= zeros / facts.dense_weights
        assert facts.gzip_bytes < facts.bytes
    assert file_facts(FORMATS['float32'].write(actor, None)).sparsity == zeros / 560
