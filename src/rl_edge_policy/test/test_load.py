import dataclasses
import json
import math
import subprocess
import sys
import threading
from functools import partial

import numpy as np
import pytest

from rl_edge_core.artifact import load_manifest, write_manifest
from rl_edge_core.errors import ArtifactError, ConfigurationError, RlEdgeError
from rl_edge_core.files import sha256_of
from rl_edge_policy import runtimes
from rl_edge_policy.load import load_policy
from rl_edge_policy.policy import RejectedActionError, RejectedObservationError, limited_action


def observation(*values):
    return np.array(values, np.float32)


def rewrite(folder, recipe, **changes):
    """Change the manifest's entry of a recipe."""
    manifest = load_manifest(folder)
    files = tuple(
        dataclasses.replace(entry, **changes) if entry.recipe == recipe else entry
        for entry in manifest.files
    )
    write_manifest(dataclasses.replace(manifest, files=files), folder)


def replace_model(folder, source):
    """Put another model in the place of the float32 actor, with a manifest that knows it."""
    file = folder / 'actor_float32.tflite'
    file.write_bytes(source)
    rewrite(folder, 'float32', sha256=sha256_of(source), bytes=len(source))


def test_a_folder_gives_its_compressed_policy(artifacts):
    policy = load_policy(artifacts / 'plane')
    manifest = load_manifest(artifacts / 'plane')
    assert policy.recipe == 'float32'
    assert policy.runtime == 'litert'
    assert policy.model_id == 'plane/actor_float32.tflite'
    assert policy.model_hash == sha256_of(artifacts / 'plane' / 'actor_float32.tflite')
    assert policy.spec == manifest.environment


def test_a_file_of_an_artifact_is_a_policy(artifacts):
    policy = load_policy(str(artifacts / 'study' / 'actor_int8.tflite'))
    assert (policy.recipe, policy.runtime) == ('int8', 'litert')


@pytest.mark.parametrize(
    ('seen', 'expected'),
    [
        ((0.25, -0.5, 0.0), (0.25, -0.5)),
        # 10 gain is added to x alone; each value has limits of its own: [-1, 1] and [-2, 0.5].
        ((0.25, 0.75, 0.05), (0.75, 0.5)),
        ((-9.0, -1.5, 0.0), (-1.0, -1.5)),
        ((9.0, -9.0, 0.0), (1.0, -2.0)),
        ((1.0, 0.5, 0.0), (1.0, 0.5)),
    ],
)
def test_actions_are_limited(artifacts, seen, expected):
    action = load_policy(artifacts / 'plane').act(observation(*seen))
    assert action.dtype == np.float32
    assert action.tolist() == pytest.approx(list(expected))


def test_threads_that_share_a_policy_get_their_own_actions(artifacts):
    policy = load_policy(artifacts / 'plane')
    wrong = []

    def act(value):
        for _ in range(3000):
            if policy.act(observation(value, 0.0, 0.0))[0] != value:
                wrong.append(value)

    threads = [threading.Thread(target=act, args=(0.125 * n,)) for n in range(-3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_an_action_is_the_callers(artifacts):
    policy = load_policy(artifacts / 'plane')
    first = policy.act(observation(0.25, -0.5, 0.0))
    policy.act(observation(0.5, -1.0, 0.0))
    assert first.tolist() == [0.25, -0.5]


def test_the_limiter_agrees_with_the_limits_of_the_environment(artifacts):
    spec = load_manifest(artifacts / 'plane').environment
    limited = partial(limited_action, spec)
    for action in np.random.default_rng(3).normal(0, 2, (500, 2)).astype(np.float32):
        assert limited(action).tolist() == spec.limit(action).tolist()
    for bad in ((math.nan, 0), (math.inf, -math.inf), (0, math.inf)):
        with pytest.raises(RejectedActionError, match='must be finite'):
            limited(observation(*bad))


@pytest.mark.parametrize(
    ('seen', 'message'),
    [
        ((math.nan, 0, 0), r'observation\[0\] is nan'),
        ((0, math.inf, 0), r'observation\[1\] is inf'),
        ((0, 0, -math.inf), r'observation\[2\] is -inf'),
        ((0, 0), r'shape \(2,\), must be \(3,\)'),
        ((0, 0, 0, 0), r'shape \(4,\), must be \(3,\)'),
        ((), r'shape \(0,\), must be \(3,\)'),
    ],
)
def test_bad_observations_are_rejected(artifacts, seen, message):
    policy = load_policy(artifacts / 'plane')
    with pytest.raises(RejectedObservationError, match=message):
        policy.act(observation(*seen))
    assert policy.act(observation(0, 0, 0)).tolist() == [0, 0]


def test_a_huge_observation_is_an_observation_but_an_infinite_action_is_none(artifacts):
    policy = load_policy(artifacts / 'plane')
    assert policy.act(observation(1e30, -1e30, 0)).tolist() == [1.0, -2.0]
    with pytest.raises(RejectedActionError, match=r'action\[0\] is inf'):
        policy.act(observation(0, 0, 3e38))


def test_other_number_types_are_converted(artifacts):
    policy = load_policy(artifacts / 'plane')
    assert policy.act(np.array([0.25, -0.5, 0.0])).tolist() == [0.25, -0.5]


def test_no_such_file(tmp_path):
    with pytest.raises(ArtifactError, match=r'no policy at .*nowhere'):
        load_policy(tmp_path / 'nowhere')


def test_a_folder_that_is_no_artifact(tmp_path):
    with pytest.raises(ArtifactError, match=r'no manifest\.json in it'):
        load_policy(tmp_path)


def test_a_file_that_the_manifest_does_not_know(plane):
    (plane / 'stray.tflite').write_bytes(b'stray')
    with pytest.raises(ArtifactError, match=r'has no file .stray\.tflite.; it has policy'):
        load_policy(plane / 'stray.tflite')


def test_a_missing_file(plane):
    (plane / 'actor_float32.tflite').unlink()
    with pytest.raises(ArtifactError, match='is missing'):
        load_policy(plane)


def test_a_truncated_file(plane):
    file = plane / 'actor_float32.tflite'
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(ArtifactError, match=r'has \d+ bytes, its manifest says \d+'):
        load_policy(plane)


def test_a_truncated_file_whose_manifest_agrees(plane):
    replace_model(plane, (plane / 'actor_float32.tflite').read_bytes()[:200])
    with pytest.raises(ArtifactError, match='litert cannot load'):
        load_policy(plane)


def test_an_edited_file(plane):
    file = plane / 'actor_float32.tflite'
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(ArtifactError, match='the file was changed'):
        load_policy(plane)


def test_an_edited_manifest(plane):
    path = plane / 'manifest.json'
    mapping = json.loads(path.read_text())
    mapping['environment']['control_period_sec'] = 0.2
    path.write_text(json.dumps(mapping))
    with pytest.raises(ArtifactError, match='the manifest was edited'):
        load_policy(plane)


def test_a_model_of_another_shape(artifacts, plane):
    replace_model(plane, (artifacts / 'study' / 'actor_float32.tflite').read_bytes())
    with pytest.raises(ArtifactError, match=r'input of shape \(1, 105\).*says \(1, 3\)'):
        load_policy(plane)


def test_a_model_that_answers_otherwise(artifacts, plane):
    replace_model(plane, (artifacts / 'mirrored' / 'actor_float32.tflite').read_bytes())
    with pytest.raises(ArtifactError, match=r'plane.push_x of its golden action is'):
        load_policy(plane)


def test_a_runtime_without_a_tolerance(plane):
    rewrite(plane, 'float32', golden_tolerance={'tflite_runtime': 1e-4})
    with pytest.raises(ArtifactError, match='no golden tolerance for runtime litert'):
        load_policy(plane)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'recipe': 'int3'}, "no recipe 'int3'; it has keras, float32"),
        ({'runtime': 'onnx'}, "runtime is 'onnx', must be one of auto, keras, litert, tflite_"),
        ({'runtime': 'keras'}, 'runtime keras cannot load actor_float32.tflite.* one of litert'),
        ({'recipe': 'keras', 'runtime': 'litert'}, 'litert cannot load policy.keras'),
        ({'threads': 0}, 'threads is 0'),
    ],
)
def test_choices_that_are_not_valid(artifacts, arguments, message):
    with pytest.raises(RlEdgeError, match=message):
        load_policy(artifacts / 'plane', **arguments)


def test_a_recipe_and_a_file_exclude_each_other(artifacts):
    with pytest.raises(ConfigurationError, match='exclude each other'):
        load_policy(artifacts / 'plane' / 'actor_float32.tflite', recipe='float32')


def test_a_file_for_runtimes_of_another_version(plane):
    rewrite(plane, 'float32', runtimes=('openvino',))
    with pytest.raises(ArtifactError, match='is for the runtimes openvino, this version has'):
        load_policy(plane)


@pytest.fixture
def nothing_installed(monkeypatch):
    monkeypatch.setattr(runtimes.importlib.util, 'find_spec', lambda name: None)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({}, 'needs one of litert, tflite_runtime: pip install ai-edge-litert'),
        ({'runtime': 'litert'}, 'litert is not installed: pip install ai-edge-litert'),
        ({'recipe': 'keras'}, 'needs one of keras: pip install tensorflow'),
    ],
)
def test_a_runtime_that_is_not_installed(artifacts, nothing_installed, arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        load_policy(artifacts / 'plane', **arguments)


def test_an_edge_installation_does_not_advise_to_install_tensorflow(
    artifacts, nothing_installed, monkeypatch
):
    monkeypatch.setenv('RL_EDGE_INSTALLED', '/opt/rl_edge')
    with pytest.raises(ConfigurationError, match=r'runs \.tflite files only: use configuration:='):
        load_policy(artifacts / 'plane', recipe='keras', runtime='keras')


IN_ITS_OWN_PROCESS = """
import json, sys
import numpy as np
from rl_edge_core.errors import RlEdgeError
from rl_edge_policy.load import load_policy

try:
    policy = load_policy(sys.argv[1], recipe=sys.argv[2], runtime=sys.argv[3])
    answer = policy.act(np.array([0.25, 9.0, 0.0], np.float32)).tolist()
except RlEdgeError as error:
    answer = str(error)
heavy = [name for name in ('tensorflow', 'keras', 'gymnasium', 'mujoco') if name in sys.modules]
print(json.dumps([answer, heavy]))
"""


def load_elsewhere(path, recipe, runtime):
    output = subprocess.run(
        [sys.executable, '-c', IN_ITS_OWN_PROCESS, str(path), recipe, runtime],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return json.loads(output.splitlines()[-1])


needs_tflite_runtime = pytest.mark.skipif(
    not runtimes.RUNTIMES['tflite_runtime'].is_installed,
    reason='tflite-runtime has no wheel for this Python',
)


# tflite-runtime has a process of its own: beside TensorFlow it would crash it.
@needs_tflite_runtime
def test_tflite_runtime_acts_as_litert_does(artifacts):
    answer, heavy = load_elsewhere(artifacts / 'plane', 'float32', 'tflite_runtime')
    assert answer == [0.25, 0.5]
    assert heavy == []


@needs_tflite_runtime
def test_an_operation_that_the_runtime_lacks_is_named(artifacts):
    answer, _ = load_elsewhere(artifacts / 'study', 'per_channel', 'tflite_runtime')
    assert 'tflite_runtime cannot load' in answer
    assert 'FULLY_CONNECTED' in answer
    assert 'Choose another runtime or recipe' in answer


def test_a_tflite_policy_imports_nothing_heavy(artifacts):
    answer, heavy = load_elsewhere(artifacts / 'plane', 'float32', 'litert')
    assert answer == [0.25, 0.5]
    assert heavy == []
