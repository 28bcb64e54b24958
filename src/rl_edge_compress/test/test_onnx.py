"""Actors in ONNX are read operator by operator, and written so that ONNX Runtime agrees."""

import numpy as np
import pytest

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from rl_edge_compress.__main__ import main  # noqa: E402
from rl_edge_compress.export_formats import export_onnx  # noqa: E402
from rl_edge_compress.import_policy import import_policy  # noqa: E402
from rl_edge_compress.import_spec import ImportSpec  # noqa: E402
from rl_edge_compress.onnx_policy import read_onnx  # noqa: E402
from rl_edge_core.artifact import load_manifest  # noqa: E402
from rl_edge_core.errors import ArtifactError  # noqa: E402
from rl_edge_policy.load import load_policy  # noqa: E402

POLE = 'InvertedPendulum-v5'
GENERATOR = np.random.default_rng(11)


def weights(*shape):
    return (GENERATOR.normal(size=shape) / np.sqrt(shape[0])).astype(np.float32)


def node(kind, inputs, output, **attributes):
    outputs = [output] if isinstance(output, str) else output
    return helper.make_node(kind, inputs, outputs, name=f'the_{kind}', **attributes)


def model_of(nodes, arrays, *, opset=17, batch=1, outputs=('actions',), size=4, **more):
    graph = helper.make_graph(
        nodes,
        'actor',
        [helper.make_tensor_value_info('obs', TensorProto.FLOAT, [batch, size])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, None])
            for name in outputs
        ],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    versions = {11: 6, 13: 7, 17: 8}
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid('', opset)],
        ir_version=versions.get(opset, 9),
        **more,
    )


def saved(tmp_path, model, name='policy.onnx'):
    path = tmp_path / name
    path.write_bytes(model.SerializeToString() if hasattr(model, 'SerializeToString') else model)
    return path


def rsl_rl_like(*, opset=17, batch='batch', outputs=1):
    """Normalisation, then three dense layers with ELU between them, as Isaac Lab exports it."""
    arrays = {
        'mean': weights(1, 4),
        'std': np.abs(weights(1, 4)) + 0.5,
        'w0': weights(4, 16),
        'b0': weights(16),
        'w1': weights(16, 8).T.copy(),
        'b1': weights(8),
        'w2': weights(8, outputs),
        'b2': weights(outputs),
    }
    nodes = [
        node('Sub', ['obs', 'mean'], 'centred'),
        node('Div', ['centred', 'std'], 'normal'),
        node('MatMul', ['normal', 'w0'], 'h0'),
        node('Add', ['h0', 'b0'], 'h1'),
        node('Elu', ['h1'], 'h2'),
        node('Gemm', ['h2', 'w1', 'b1'], 'h3', transB=1),
        node('Elu', ['h3'], 'h4'),
        node('Gemm', ['h4', 'w2', 'b2'], 'actions'),
    ]
    return model_of(nodes, arrays, opset=opset, batch=batch)


def one_operator(nodes, arrays, *, opset=17):
    """A dense layer, the operators in question from x to y, and a dense layer."""
    chain = [
        node('Gemm', ['obs', 'w_in', 'b_in'], 'x'),
        *nodes,
        node('Gemm', ['y', 'w_out', 'b_out'], 'actions'),
    ]
    given = {
        'w_in': weights(4, 6),
        'b_in': weights(6),
        'w_out': weights(6, 2),
        'b_out': weights(2),
    }
    return model_of(chain, {**given, **arrays}, opset=opset)


ROW = np.array([0.5, -1.0, 2.0, 0.25, 1.5, -0.75], np.float32)
OPERATORS = {
    'Relu': ([node('Relu', ['x'], 'y')], {}),
    'Tanh': ([node('Tanh', ['x'], 'y')], {}),
    'Sigmoid': ([node('Sigmoid', ['x'], 'y')], {}),
    'Elu': ([node('Elu', ['x'], 'y', alpha=0.7)], {}),
    'Selu': ([node('Selu', ['x'], 'y')], {}),
    'LeakyRelu': ([node('LeakyRelu', ['x'], 'y', alpha=0.2)], {}),
    'Softplus': ([node('Softplus', ['x'], 'y')], {}),
    'Softsign': ([node('Softsign', ['x'], 'y')], {}),
    'HardSigmoid': ([node('HardSigmoid', ['x'], 'y', alpha=0.3)], {}),
    'HardSwish': ([node('HardSwish', ['x'], 'y')], {}),
    'Erf': ([node('Erf', ['x'], 'y')], {}),
    'Clip': (
        [node('Clip', ['x', 'low', 'high'], 'y')],
        {'low': np.array(-0.4, np.float32), 'high': np.array(0.6, np.float32)},
    ),
    'Min': ([node('Min', ['x', 'row'], 'y')], {'row': ROW}),
    'Max': ([node('Max', ['x', 'row'], 'y')], {'row': ROW}),
    'Add': ([node('Add', ['row', 'x'], 'y')], {'row': ROW}),
    'Sub': ([node('Sub', ['row', 'x'], 'y')], {'row': ROW}),
    'Mul': ([node('Mul', ['x', 'row'], 'y')], {'row': ROW[None]}),
    'Div': ([node('Div', ['x', 'row'], 'y')], {'row': ROW}),
    'Concat': (
        [
            node('Slice', ['x', 'a', 'b', 'axes'], 'left'),
            node('Slice', ['x', 'b', 'c', 'axes'], 'right'),
            node('Concat', ['right', 'left'], 'y', axis=-1),
        ],
        {'a': np.array([0]), 'b': np.array([2]), 'c': np.array([6]), 'axes': np.array([1])},
    ),
    'Gather': (
        [node('Gather', ['x', 'places'], 'y', axis=1)],
        {'places': np.array([5, 4, 0, 1, 3, 2])},
    ),
    'Split': (
        [
            node('Split', ['x', 'parts'], ['p', 'q'], axis=1),
            node('Concat', ['q', 'p'], 'y', axis=1),
        ],
        {'parts': np.array([2, 4])},
    ),
    'BatchNormalization': (
        [node('BatchNormalization', ['x', 'g', 'o', 'm', 'v'], 'y', epsilon=1e-3)],
        {'g': ROW, 'o': ROW[::-1].copy(), 'm': ROW * 0.1, 'v': np.abs(ROW)},
    ),
    'LayerNormalization': (
        [node('LayerNormalization', ['x', 'g', 'o'], 'y', epsilon=1e-5)],
        {'g': ROW, 'o': ROW[::-1].copy()},
    ),
    'decomposed LayerNormalization': (
        [
            node('ReduceMean', ['x'], 'm', axes=[-1]),
            node('Sub', ['x', 'm'], 'd'),
            node('Pow', ['d', 'two'], 's'),
            node('ReduceMean', ['s'], 'v', axes=[-1]),
            node('Add', ['v', 'eps'], 'w'),
            node('Sqrt', ['w'], 'r'),
            node('Div', ['d', 'r'], 'n'),
            node('Mul', ['n', 'row'], 'y'),
        ],
        {'two': np.array(2.0, np.float32), 'eps': np.array(1e-5, np.float32), 'row': ROW},
    ),
    'shapes that are computed': (
        [
            node('Shape', ['x'], 'shape'),
            node('Reshape', ['x', 'shape'], 'z'),
            node('Cast', ['z'], 'c', to=TensorProto.FLOAT),
            node('Identity', ['c'], 'y'),
        ],
        {},
    ),
}


@pytest.mark.parametrize('name', OPERATORS)
def test_an_operator_means_what_onnx_runtime_makes_of_it(tmp_path, name):
    nodes, arrays = OPERATORS[name]
    policy = read_onnx(saved(tmp_path, one_operator(nodes, arrays)))
    seen = np.random.default_rng(2).normal(size=(100, 4)).astype(np.float32) * 2
    theirs = policy.answer(seen)
    assert theirs.std() > 0.01
    assert np.asarray(policy.model(seen)) == pytest.approx(theirs, abs=5e-6)


@pytest.mark.parametrize('opset', [11, 13, 17, 20])
@pytest.mark.parametrize('batch', [1, 'batch'])
def test_an_actor_is_read_from_old_and_new_opsets(tmp_path, opset, batch):
    policy = read_onnx(saved(tmp_path, rsl_rl_like(opset=opset, batch=batch)))
    assert (policy.model.input_shape[-1], policy.model.output_shape[-1]) == (4, 1)
    seen = np.random.default_rng(2).normal(size=(50, 4)).astype(np.float32)
    assert np.asarray(policy.model(seen)) == pytest.approx(policy.answer(seen), abs=2e-6)
    kinds = [type(layer).__name__ for layer in policy.model.layers]
    assert kinds.count('Dense') == 3


def with_initializer(**fields):
    model = rsl_rl_like()
    tensor = model.graph.initializer[2]
    for name, value in fields.items():
        if name == 'dims':
            del tensor.dims[:]
            tensor.dims.extend(value)
        else:
            setattr(tensor, name, value)
    return model


def external():
    model = rsl_rl_like()
    tensor = model.graph.initializer[2]
    tensor.ClearField('raw_data')
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key='location', value='weights.bin')
    return model


def not_a_number():
    return one_operator([node('Mul', ['x', 'row'], 'y')], {'row': ROW * np.nan})


def recurrent():
    model = rsl_rl_like()
    hidden = helper.make_tensor_value_info('h_in', TensorProto.FLOAT, [1, 1, 8])
    model.graph.input.append(hidden)
    return model


def lstm():
    return one_operator(
        [node('LSTM', ['x', 'w', 'r'], ['y'], hidden_size=2)],
        {'w': weights(1, 8, 6), 'r': weights(1, 8, 2)},
    )


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda: b'this is a text and no graph at all', 'not an ONNX file'),
        (lambda: rsl_rl_like().SerializeToString()[:-40], 'not an ONNX file, or is truncated'),
        (external, r'keeps w0 in another file \(weights.bin\): write it into one'),
        (
            lambda: model_of(
                [node('Gemm', ['obs', 'w'], 'actions'), node('Relu', ['actions'], 'value')],
                {'w': weights(4, 2)},
                outputs=('actions', 'value'),
            ),
            r'2 outputs \(actions, value\): say which',
        ),
        (
            lambda: one_operator([node('Det', ['x'], 'y')], {}),
            r"node 'the_Det' is of operator Det.*export the actor alone",
        ),
        (
            lambda: model_of([node('Relu', ['obs'], 'actions')], {}, size='n'),
            'must be \\(batch, n\\) with n fixed',
        ),
        (not_a_number, 'row has 6 values that are not finite: the training has diverged'),
        (
            lambda: with_initializer(dims=[50_000, 50_000]),
            'announces 2500000000 numbers for w0, and does not hold them',
        ),
        (recurrent, 'takes obs, h_in: a recurrent actor'),
        (lstm, "'the_LSTM' is of operator LSTM: recurrent actors are not read"),
        (lambda: model_of([node('Relu', ['obs'], 'actions')], {}, batch=7), 'fixed batch of 7'),
        (
            lambda: model_of([helper.make_node('Mine', ['obs'], ['actions'], domain='ai.me')], {}),
            'operator Mine of ai.me',
        ),
        (lambda: model_of([node('Relu', ['obs'], 'actions')], {}, opset=9), 'is of opset 9'),
    ],
)
def test_what_is_no_plain_actor_is_named_with_a_remedy(tmp_path, make, message):
    path = saved(tmp_path, make())
    with pytest.raises(ArtifactError, match=message):
        read_onnx(path)


def test_an_onnx_policy_goes_through_and_comes_back(tmp_path, capsys):
    path = saved(tmp_path, rsl_rl_like())
    out, back = tmp_path / 'out', tmp_path / 'back.onnx'
    assert main(['import', str(path), '--environment', POLE, '--out', str(out)]) == 0
    assert main(['export', str(out), '--format', 'onnx', '--out', str(back)]) == 0
    assert 'visited observations in ONNX Runtime' in capsys.readouterr().out
    read = read_onnx(back)
    spec = load_manifest(out).environment
    assert read.metadata['action_names'] == 'slider'
    assert read.metadata['observation_names'].split(',') == list(spec.observation_names)
    assert read.metadata['control_period_sec'] == '0.04'
    original, policy = read_onnx(path), load_policy(out, recipe='float32')
    seen = np.random.default_rng(3).normal(size=(100, 4)).astype(np.float32)
    expected = np.clip(original.answer(seen), -3, 3)
    assert read.answer(seen) == pytest.approx(expected, abs=2e-6)
    assert np.asarray([policy.act(o) for o in seen]) == pytest.approx(expected, abs=1e-5)


def test_one_of_several_outputs_is_chosen_by_name(tmp_path):
    nodes = [node('Gemm', ['obs', 'w'], 'actions'), node('Relu', ['actions'], 'value')]
    path = saved(tmp_path, model_of(nodes, {'w': weights(4, 1)}, outputs=('actions', 'value')))
    manifest = import_policy(
        path, out=tmp_path / 'out', environment_id=POLE, given=ImportSpec(output='actions')
    )
    assert manifest.recipes[1] == 'float32'
    with pytest.raises(ArtifactError, match="no output 'nothing'; it has actions, value"):
        read_onnx(path, output='nothing')


def test_an_artifact_that_would_answer_otherwise_is_not_written(tmp_path, monkeypatch):
    from rl_edge_compress import import_policy as module

    path = saved(tmp_path, rsl_rl_like())
    monkeypatch.setattr(
        module,
        'bounded',
        lambda value, spec, squashed: value * 1.01,  # a conversion gone wrong
    )
    with pytest.raises(ArtifactError, match=r'slider differs by .* nothing was written'):
        import_policy(path, out=tmp_path / 'out', environment_id=POLE)
    assert not (tmp_path / 'out').exists()


def test_metadata_of_isaac_lab_is_kept_and_fills_the_template(tmp_path, capsys):
    model = rsl_rl_like(outputs=2)
    helper.set_model_props(
        model,
        {
            'joint_names': 'left_hip,right_hip',
            'default_joint_pos': '0.1,-0.1',
            'action_scale': '0.25',
            'joint_stiffness': '20.0,20.0',
        },
    )
    path = saved(tmp_path, model)
    assert main(['import', str(path), '--template']) == 0
    template = capsys.readouterr().out
    assert "name: right_hip, unit: 'rad', low: -1.0, high: 1.0, default: -0.1" in template
    assert 'scale: 0.25, stiffness: 20.0' in template


@pytest.mark.parametrize('recipes', [('float32',), ()])
def test_an_artifact_is_written_as_onnx_with_and_without_a_float32_file(
    build, spec, visited, tmp_path, recipes
):
    from rl_edge_compress.export import export_artifact

    model = build(layer_norm=True, kept=4)
    export_artifact(
        model, spec=spec, name='cart', out=tmp_path / 'cart', recipes=recipes, calibration=visited
    )
    if recipes:
        difference, drawn = export_onnx(tmp_path / 'cart', tmp_path / 'cart.onnx')
        assert difference <= 1e-5
        assert drawn == 'drawn'  # no environment of this name is here
        read = read_onnx(tmp_path / 'cart.onnx')
        expected = np.asarray(model(visited)['action'])
        assert read.answer(visited) == pytest.approx(expected, abs=1e-5)
    else:
        export_onnx(tmp_path / 'cart', tmp_path / 'cart.onnx')
        assert (tmp_path / 'cart.onnx').stat().st_size > 0
