import dataclasses
import json

import numpy as np
import pytest

from rl_edge_compress import arm64
from rl_edge_compress.__main__ import main
from rl_edge_compress.arm64 import FAILED, REFUSED, SAME, compare, compare_model, markdown
from rl_edge_compress.export import export_artifact
from rl_edge_compress.runtimes import MODULES, Python, Trial, is_installed, try_runtimes
from rl_edge_core.artifact import load_manifest
from rl_edge_core.errors import ArtifactError, ConfigurationError, RlEdgeError
from rl_edge_sim.environment import make_environment, spec_of


@pytest.fixture(scope='module')
def folder(build, tmp_path_factory):
    folder = tmp_path_factory.mktemp('arm64') / 'pole'
    export_artifact(
        build(observations=4, actions=1, width=8),
        spec=spec_of(make_environment('InvertedPendulum-v5')),
        name='pole',
        out=folder,
        recipes=('float32', 'int4'),
        calibration=np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32),
    )
    return folder


@pytest.fixture
def entry(folder):
    """The entry of a file that LiteRT alone loads, with the golden action 0.5 +- 0.05."""
    return dataclasses.replace(
        load_manifest(folder).entry('int4'),
        runtimes=('litert',),
        golden_action=(0.5,),
        golden_tolerance={'litert': 0.05},
    )


def trial(*actions):
    return Trial(np.array(actions, np.float32)[:, None])


def test_difference_from_this_machine_and_from_the_golden_action(entry):
    row = compare('pole', entry, 'litert', trial(0.5, 0.0, 0.2), trial(0.52, 0.0, 0.6))
    assert row.verdict == SAME
    assert row.golden_error == pytest.approx(0.02)
    assert row.largest == pytest.approx(0.4)
    assert row.rmse == pytest.approx(np.sqrt(0.4**2 / 2))
    assert row.equal_share == 0.5
    assert '| pole | int4 | litert | 0.02 | 0.05 | 0.4 | 0.28 | 50 % |' in markdown([row])


@pytest.mark.parametrize('golden', [0.56, float('nan')])
def test_a_golden_action_beyond_its_tolerance_fails(entry, golden):
    row = compare('pole', entry, 'litert', trial(0.5, 0.0), trial(golden, 0.0))
    assert row.verdict.startswith(f'{FAILED}: the golden action is')
    assert not row.is_good


def test_a_refused_file_fails_only_where_the_manifest_says_that_it_loads(entry):
    refused = Trial(None, 'lacks operator X')
    assert compare('pole', entry, 'tflite_runtime', refused, refused).verdict == REFUSED
    row = compare('pole', entry, 'litert', trial(0.5), refused)
    assert row.verdict == f'{FAILED}: lacks operator X'


def test_an_answer_that_the_manifest_does_not_expect_fails(entry):
    row = compare('pole', entry, 'tflite_runtime', Trial(None, ''), trial(0.5, 0.0))
    assert not row.is_good


def test_this_machine_agrees_with_itself(folder):
    # Another Python object: its runtimes run in a process with variables of its own.
    python = Python(environment={'TF_CPP_MIN_LOG_LEVEL': '3'})
    if not all(map(is_installed, MODULES)):
        pytest.skip('needs both runtimes')
    rows = compare_model(folder, lambda files, seen: try_runtimes(files, seen, python=python))
    assert [(row.recipe, row.runtime) for row in rows] == [
        (recipe, runtime) for recipe in ('float32', 'int4') for runtime in MODULES
    ]
    assert all(row.is_good for row in rows)
    answered = [row for row in rows if row.verdict == SAME]
    assert {row.equal_share for row in answered} == {1.0}
    assert rows[-1].verdict == REFUSED


def test_a_folder_without_tflite_files_is_refused(build, tmp_path):
    spec = spec_of(make_environment('InvertedPendulum-v5'))
    model = build(observations=4, actions=1, width=8)
    export_artifact(model, spec=spec, name='x', out=tmp_path / 'x', recipes=())
    with pytest.raises(ArtifactError, match='compress it first'):
        compare_model(tmp_path / 'x', try_runtimes)


def test_without_root_or_tools_the_remedy_is_told(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(arm64.os, 'geteuid', lambda: 1000)
    assert main(['arm64', str(folder), '--out', str(tmp_path / 'out')]) == 1
    assert 'debootstrap needs root' in capsys.readouterr().err
    monkeypatch.setattr(arm64.os, 'geteuid', lambda: 0)
    monkeypatch.setattr(arm64.shutil, 'which', lambda tool: None)
    with pytest.raises(ConfigurationError, match='apt-get install debootstrap dpkg qemu'):
        arm64.arm64_machine(tmp_path / 'machine', say=print)
    assert not (tmp_path / 'machine').exists()


def test_a_tool_that_fails_leaves_no_half_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(arm64, 'missing_tools', lambda: '')

    def fail(folder, say):
        folder.mkdir()
        raise RlEdgeError('debootstrap ended with 1')

    monkeypatch.setattr(arm64, '_unpack_debian', fail)
    with pytest.raises(RlEdgeError, match='ended with 1'):
        arm64.arm64_machine(tmp_path, say=lambda line: None)
    assert not (tmp_path / 'debian').exists()


def test_the_command_writes_what_it_found(folder, tmp_path, monkeypatch, capsys):
    """With this machine's Python in the place of the emulated one."""
    python = Python(environment={'TF_CPP_MIN_LOG_LEVEL': '3'})
    monkeypatch.setattr(arm64, 'arm64_machine', lambda folder, say: python)
    if not all(map(is_installed, MODULES)):
        pytest.skip('needs both runtimes')
    assert main(['arm64', str(folder), '--out', str(tmp_path)]) == 0
    rows = json.loads((tmp_path / 'arm64.json').read_text())
    assert {row['runtime'] for row in rows} == set(MODULES)
    assert 'golden error' in capsys.readouterr().out
