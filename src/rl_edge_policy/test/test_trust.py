"""Signed and listed models; what is refused never reaches a runtime, nor the disk."""

import dataclasses
import json
import subprocess

import numpy as np
import pytest

from rl_edge_core.archive import pack_artifact
from rl_edge_core.artifact import load_manifest, write_manifest
from rl_edge_core.errors import ArtifactError, ConfigurationError
from rl_edge_core.files import sha256_of
from rl_edge_policy import load
from rl_edge_policy.sign_command import sign
from rl_edge_policy.trust import Trust, read_trust


@pytest.fixture
def keys(write_keys):
    return write_keys('mine')


@pytest.fixture
def no_runtime(monkeypatch):
    """Fail when a file is handed to a runtime, in this process or in one of its own."""

    def refuse(*arguments, **more):
        raise AssertionError('the model reached a runtime')

    monkeypatch.setattr(load, '_import', refuse)
    monkeypatch.setattr(load, '_try_in_own_process', refuse)


def act(policy):
    return policy.act(np.array([0.25, 0.0, 0.0], np.float32)).tolist()


def swap(trust, **request):
    return load.load_requested(
        present_recipe='float32', runtime='auto', threads=1, trust=trust, **request
    )


def change_manifest(folder, change):
    path = folder / 'manifest.json'
    mapping = json.loads(path.read_text())
    change(mapping)
    path.write_text(json.dumps(mapping))


def test_a_signed_model_loads_by_path_and_packed(plane, keys):
    private, public = keys
    sign(plane, private)
    trust = read_trust('', str(public))
    assert act(load.load_policy(plane, trust=trust)) == [0.25, 0.0]
    data = pack_artifact(plane, ['float32'])  # a part of what was signed
    policy = swap(trust, archive=data, sha256=sha256_of(data))
    assert act(policy) == [0.25, 0.0]


def test_the_signature_outlives_a_manifest_written_anew(plane, keys):
    private, public = keys
    sign(plane, private)
    write_manifest(load_manifest(plane), plane)
    change_manifest(plane, lambda mapping: mapping['training'].update(note='of no consequence'))
    load.load_policy(plane, trust=read_trust('', str(public)))


def _other_limits(mapping):
    mapping['golden_observation'][0] += 0.5


def _other_hash(mapping):
    for entry in mapping['files']:
        entry['sha256'] = 'f' * 64


def _other_tolerance(mapping):
    for entry in mapping['files']:
        entry['golden_tolerance'] = dict.fromkeys(entry['golden_tolerance'], 1e9)


def _other_name(mapping):
    mapping['name'] = 'another'


def _swapped_signatures(mapping):
    first, second = mapping['files'][:2]
    first['signature'], second['signature'] = second['signature'], first['signature']


def _no_base64(mapping):
    for entry in mapping['files']:
        entry['signature'] = 'not base64!'


@pytest.mark.parametrize(
    'change',
    [
        _other_limits,
        _other_hash,
        _other_tolerance,
        _other_name,
        _swapped_signatures,
        _no_base64,
    ],
)
def test_what_was_changed_after_signing_is_refused(plane, keys, no_runtime, change):
    private, public = keys
    sign(plane, private)
    change_manifest(plane, change)
    trust = read_trust('', str(public))
    with pytest.raises(ArtifactError, match='a signature that is not by trusted_key'):
        load.load_policy(plane, trust=trust)
    with pytest.raises(ArtifactError, match='a signature that is not by trusted_key'):
        swap(trust, path=str(plane))


def test_a_changed_file_is_refused_although_its_entry_is_signed(plane, keys, no_runtime):
    private, public = keys
    sign(plane, private)
    file = plane / 'actor_float32.tflite'
    file.write_bytes(file.read_bytes()[:-1] + b'\0')
    with pytest.raises(ArtifactError, match='the file was changed'):
        swap(read_trust('', str(public)), path=str(plane))


def test_the_key_of_another_is_refused(plane, keys, no_runtime, write_keys):
    others, _ = write_keys('theirs')
    sign(plane, others)
    with pytest.raises(ArtifactError, match='a signature that is not by trusted_key'):
        load.load_policy(plane, trust=read_trust('', str(keys[1])))


def test_an_unsigned_or_unlisted_archive_is_not_even_unpacked(plane, keys, no_runtime):
    data = pack_artifact(plane, ['float32'])
    for trust, reason in (
        (read_trust('', str(keys[1])), 'is not signed, and trusted_key is set'),
        (Trust(frozenset({'a' * 64})), 'not among the 1 of trusted_models'),
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr('rl_edge_core.archive._unpack', lambda *a: pytest.fail('unpacked'))
            with pytest.raises(ArtifactError, match=reason):
                swap(trust, archive=data, sha256=sha256_of(data))


def test_only_listed_files_load(plane, no_runtime, monkeypatch):
    entry = load_manifest(plane).entry('float32')
    with pytest.raises(ArtifactError, match='which is not among the 2 of trusted_models'):
        load.load_policy(plane, trust=read_trust(f'{"0" * 64}, {"1" * 64}', ''))
    monkeypatch.undo()
    listed = read_trust(f'{"0" * 64}, {entry.sha256.upper()}', '')
    assert load.load_policy(plane, trust=listed).model_hash == entry.sha256
    with pytest.raises(ArtifactError, match=r'policy\.keras of plane hashes to'):
        load.load_policy(plane, recipe='keras', trust=listed)


def test_an_archive_is_refused_where_only_paths_are_allowed(plane, no_runtime):
    data = pack_artifact(plane, ['float32'])
    with pytest.raises(ConfigurationError, match=r'archives are not.*load_model:=archive'):
        swap(Trust(), archive=data, sha256=sha256_of(data), archives_allowed=False)


def test_wrong_keys_and_lists_are_named(plane, keys, tmp_path, write_keys):
    from cryptography.hazmat.primitives.asymmetric import rsa

    private, public = keys
    with pytest.raises(ConfigurationError, match="holds '12ab', must be SHA-256"):
        read_trust('12ab', '')
    with pytest.raises(ConfigurationError, match='cannot be read: No such file'):
        read_trust('', str(tmp_path / 'nowhere.pub'))
    with pytest.raises(ConfigurationError, match=r'is not a public key in PEM.*-pubout'):
        read_trust('', str(private))
    with pytest.raises(ConfigurationError, match='is a public key: give the private one'):
        sign(plane, public)
    (tmp_path / 'no.pem').write_text('no key')
    with pytest.raises(ConfigurationError, match=r'is not a private key in PEM.*openssl genpkey'):
        sign(plane, tmp_path / 'no.pem')
    rsa_private, rsa_public = write_keys('rsa', rsa.generate_private_key(65537, 2048))
    with pytest.raises(ConfigurationError, match='but not of Ed25519'):
        sign(plane, rsa_private)
    with pytest.raises(ConfigurationError, match='but not of Ed25519'):
        read_trust('', str(rsa_public))
    assert not any(entry.signature for entry in load_manifest(plane).files)


def test_the_command_signs_what_openssl_made_a_key_for(plane, tmp_path):
    pytest.importorskip('cryptography', reason='signatures need the extra security')
    key, public = tmp_path / 'key.pem', tmp_path / 'key.pub'
    for command in (
        ['openssl', 'genpkey', '-algorithm', 'ed25519', '-out', str(key)],
        ['openssl', 'pkey', '-in', str(key), '-pubout', '-out', str(public)],
        ['rl_edge', 'sign', str(key), str(plane)],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert 'signed policy.keras, actor_float32.tflite' in done.stdout
    load.load_policy(plane, trust=read_trust('', str(public)))


def test_a_signature_is_the_same_for_the_same_manifest(plane, keys):
    """Ed25519 is deterministic, so files under version control do not change without a cause."""
    first = sign(plane, keys[0])
    assert all(len(entry.signature) == 88 for entry in first.files)
    assert sign(plane, keys[0]) == first
    cleared = tuple(dataclasses.replace(entry, signature='') for entry in first.files)
    write_manifest(dataclasses.replace(first, files=cleared), plane)
    assert sign(plane, keys[0]) == first
