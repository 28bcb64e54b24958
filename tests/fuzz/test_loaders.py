"""Files and archives: flipped, cut and invented bytes are refused, never used."""

import contextlib
import json
import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl_edge_compress.untrained import ensure_untrained
from rl_edge_core.archive import pack_artifact, unpack_artifact
from rl_edge_core.artifact import load_manifest
from rl_edge_core.errors import ArtifactError, RlEdgeError
from rl_edge_core.files import sha256_of
from rl_edge_eval.bag.bag import Bag
from rl_edge_policy.load import load_requested

ENVIRONMENT = 'Pendulum-v1'


@pytest.fixture(scope='module')
def artifact(tmp_path_factory):
    return ensure_untrained(ENVIRONMENT, '', tmp_path_factory.mktemp('models'))


@pytest.fixture(scope='module')
def packed(artifact):
    return pack_artifact(artifact, ['int8'])


def flipped(content: bytes, position: float, bit: int) -> bytes:
    """Return ``content`` with one bit changed at a share of its length."""
    changed = bytearray(content)
    changed[int(position * (len(content) - 1))] ^= 1 << bit
    return bytes(changed)


POSITIONS = st.floats(0.0, 1.0)
BITS = st.integers(0, 7)


@given(POSITIONS, BITS)
def test_an_archive_changed_on_the_way_is_refused(packed, tmp_path, position, bit):
    folder = tmp_path / 'unpacked'

    with pytest.raises(ArtifactError, match='announced'):
        unpack_artifact(flipped(packed, position, bit), sha256_of(packed), folder)

    assert not folder.exists()


@given(POSITIONS, BITS)
def test_a_changed_archive_with_a_fitting_hash_gives_the_same_files_or_none(
    artifact, packed, tmp_path_factory, position, bit
):
    changed = flipped(packed, position, bit)
    folder = tmp_path_factory.mktemp('unpacked') / 'folder'
    with contextlib.suppress(RlEdgeError):
        manifest = unpack_artifact(changed, sha256_of(changed), folder)
        original = load_manifest(artifact)
        for entry in manifest.files:
            assert entry.sha256 == original.entry(entry.recipe).sha256


@given(st.binary(max_size=500))
def test_invented_archives_are_refused(tmp_path, content):
    request = {'path': '', 'archive': content, 'sha256': sha256_of(content), 'recipe': ''}

    with pytest.raises(RlEdgeError):
        load_requested(**request, present_recipe='int8', runtime='auto', threads=1)


@given(st.text(max_size=40), st.text(max_size=10))
def test_paths_that_are_no_artifact_are_refused(path, recipe):
    request = {'path': path, 'archive': b'', 'sha256': '', 'recipe': recipe}

    with pytest.raises(RlEdgeError):
        load_requested(**request, present_recipe='int8', runtime='auto', threads=1)


@given(POSITIONS, BITS)
def test_a_model_file_with_a_flipped_bit_is_refused(artifact, tmp_path_factory, position, bit):
    folder = tmp_path_factory.mktemp('flipped') / 'artifact'
    shutil.copytree(artifact, folder)
    entry = load_manifest(folder).entry('int8')
    file = folder / entry.file
    file.write_bytes(flipped(file.read_bytes(), position, bit))
    request = {'path': str(folder), 'archive': b'', 'sha256': '', 'recipe': 'int8'}

    with pytest.raises(ArtifactError, match='hashes to'):
        load_requested(**request, present_recipe='int8', runtime='auto', threads=1)


@given(
    st.sampled_from(['bytes', 'sha256', 'golden_action', 'file', 'recipe', 'runtimes']), st.data()
)
def test_a_manifest_with_another_value_is_refused_or_means_the_same(
    artifact, tmp_path_factory, key, data
):
    folder = tmp_path_factory.mktemp('edited') / 'artifact'
    shutil.copytree(artifact, folder)
    manifest = json.loads((folder / 'manifest.json').read_text())
    values = st.none() | st.integers() | st.text(max_size=5) | st.lists(st.floats(), max_size=3)
    manifest['files'][0][key] = data.draw(values)
    (folder / 'manifest.json').write_text(json.dumps(manifest))
    with contextlib.suppress(RlEdgeError):
        assert load_manifest(folder)


@given(st.binary(max_size=400), st.sampled_from(['.mcap', '.db3']), st.booleans())
def test_bags_of_invented_bytes_are_read_or_refused(tmp_path_factory, content, suffix, magical):
    magic = b'\x89MCAP0\r\n' if suffix == '.mcap' else b'SQLite format 3\x00'
    path = tmp_path_factory.mktemp('bag') / f'bag_0{suffix}'
    path.write_bytes((magic if magical else b'') + content)
    with contextlib.suppress(RlEdgeError):
        bag = Bag(path)
        assert sum(1 for _ in bag) == 0
        assert list(bag.notes) if hasattr(bag.notes, '__iter__') else bag.notes is not None


@given(st.integers(0, 2**32 - 1))
def test_a_policy_answers_any_finite_observation_within_the_limits(artifact, seed):
    request = {'path': str(artifact), 'archive': b'', 'sha256': '', 'recipe': 'int8'}
    policy = _cached(request)
    generator = np.random.default_rng(seed)
    scale = 10.0 ** generator.uniform(-30, 30)
    observation = (generator.normal(size=policy.spec.observation_size) * scale).astype(np.float32)
    with contextlib.suppress(RlEdgeError):  # such as an infinity that the network made of it
        action = policy.act(observation)
        assert np.isfinite(action).all()
        assert (policy.spec.low <= action).all()
        assert (action <= policy.spec.high).all()


_policies = {}


def _cached(request):
    if request['path'] not in _policies:
        _policies[request['path']] = load_requested(
            **request, present_recipe='int8', runtime='auto', threads=1
        )
    return _policies[request['path']]
