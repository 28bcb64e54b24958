"""Policies from elsewhere, all the way: import, compress, report, both loops, bag, replay."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rl_edge_core.artifact import load_manifest
from rl_edge_experiments.record_run import RunRequest, record_run

pytestmark = [pytest.mark.timeout(1200), pytest.mark.xdist_group('imported_policies')]

ROOT = Path(__file__).resolve().parents[2]
POLE = 'InvertedPendulum-v5'
RECIPES = 'float32,int8,student32_int8,float16,dynamic,int4,pruned80_int8'
QUICKLY = (
    *('--set', 'rounds=1', '--set', 'steps_per_round=50', '--set', 'updates_per_round=100'),
    *('--set', 'final_updates=100', '--set', 'batch_size=32'),
)


def module_of(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


files = module_of(ROOT / 'src' / 'rl_edge_compress' / 'test' / 'foreign_files.py')


def ppo(folder):
    return files.sb3_file(folder / 'ppo.zip', files.ppo_tensors(4, 1), {'clip_range': 0.2})


def sac(folder):
    return files.sb3_file(folder / 'sac.zip', files.sac_tensors(4, 1))


def rsl_rl_onnx(folder):
    """Write what Isaac Lab's exporter does: normalisation, three layers, ELU between them."""
    onnx = pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    from onnx import TensorProto, helper, numpy_helper

    generator = np.random.default_rng(3)
    arrays = {'mean': np.zeros((1, 4)), 'std': np.full((1, 4), 1.1)}
    nodes = [
        helper.make_node('Sub', ['obs', 'mean'], ['centred']),
        helper.make_node('Div', ['centred', 'std'], ['h0']),
    ]
    for number, (inputs, units) in enumerate(((4, 24), (24, 12), (12, 1))):
        arrays[f'w{number}'] = generator.normal(size=(units, inputs)) / np.sqrt(inputs)
        arrays[f'b{number}'] = generator.normal(size=units) * 0.1
        result = f'g{number}' if number < 2 else 'actions'
        nodes.append(
            helper.make_node(
                'Gemm', [f'h{number}', f'w{number}', f'b{number}'], [result], transB=1
            )
        )
        if number < 2:
            nodes.append(helper.make_node('Elu', [result], [f'h{number + 1}']))
    graph = helper.make_graph(
        nodes,
        'policy',
        [helper.make_tensor_value_info('obs', TensorProto.FLOAT, ['batch', 4])],
        [helper.make_tensor_value_info('actions', TensorProto.FLOAT, ['batch', 1])],
        [numpy_helper.from_array(a.astype(np.float32), name) for name, a in arrays.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    path = folder / 'policy.onnx'
    onnx.save(model, str(path))
    return path


def rl_edge(*words):
    done = subprocess.run(
        [sys.executable, '-m', *map(str, words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def compress_and_report(imported, recipes, compressed):
    rl_edge('rl_edge_compress', imported, '--recipes', recipes, '--out', compressed, *QUICKLY)
    assert set(recipes.split(',')) < set(load_manifest(compressed).recipes)
    printed = rl_edge(
        *('rl_edge_compress', 'report', compressed, '--episodes', 4, '--confirm', 2),
        *('--processes', 1, '--recipes', 'int8,student32_int8'),
    )
    assert 'student32_int8' in printed
    report = json.loads((compressed / 'report' / 'report.json').read_text())
    by_recipe = {entry['recipe']: entry for entry in report['recipes']}
    assert by_recipe['int8']['chosen_by']['episode_return']['count'] == 4


@pytest.mark.parametrize(
    ('make', 'recipes'),
    # Two layers of ReLU or tanh are what our own actors have: one of them is compressed here.
    [(ppo, RECIPES), (sac, ''), (rsl_rl_onnx, 'float32,int8,student32_int8')],
)
def test_an_imported_policy_goes_all_the_way(make, recipes, ros_domain_id, tmp_path):
    source, imported = make(tmp_path), tmp_path / 'imported'
    printed = rl_edge(
        'rl_edge_compress', 'import', source, '--environment', POLE, '--out', imported
    )
    assert 'over 1000 visited observations' in printed
    if recipes:
        compress_and_report(imported, recipes, tmp_path / 'compressed')

    arguments = {
        'environment_id': POLE,
        'model': str(imported),
        'episodes': '3',
        'recipe': 'int8',
    }
    for mode in ({'mode': 'lockstep'}, {'mode': 'realtime', 'real_time_factor': '1'}):
        run = record_run(RunRequest(tmp_path / mode['mode'], {**arguments, **mode}))
        assert run.robot.summary.episode_return.count == 3

    evaluated = tmp_path / 'evaluated.json'
    rl_edge(
        *('rl_edge_train', 'evaluate', imported, '--recipe', 'int8', '--episodes', 3),
        *('--json', evaluated),
    )
    assert json.loads(evaluated.read_text())
    compared = tmp_path / 'replay.json'
    rl_edge(
        *('rl_edge_eval', 'replay', tmp_path / 'lockstep' / 'bag'),
        *('--model', imported / 'actor_int8.tflite', '--model', imported / 'policy.keras'),
        *('--json', compared),
    )
    assert json.loads(compared.read_text())['steps'] > 3
