import dataclasses
import io
import json
import os
import zipfile

import pytest

from rl_edge_core.archive import check_keras_archive, pack_artifact, unpack_artifact
from rl_edge_core.artifact import (
    MANIFEST_NAME,
    Manifest,
    ModelFile,
    Network,
    checked_file,
    load_manifest,
    write_manifest,
)
from rl_edge_core.errors import LONGEST_MESSAGE, ArtifactError
from rl_edge_core.files import sha256_of


@pytest.fixture
def folder(cart, tmp_path):
    folder = tmp_path / 'artifact'
    folder.mkdir()
    files = []
    for name, recipe in (('policy.keras', 'keras'), ('actor_int8.tflite', 'int8')):
        (folder / name).write_bytes(name.encode() * 100)
        files.append(
            ModelFile(
                file=name,
                recipe=recipe,
                sha256=sha256_of(folder / name),
                bytes=(folder / name).stat().st_size,
                numeric_format='int8' if recipe == 'int8' else 'float32',
                runtimes=('litert', 'tflite_runtime'),
                golden_action=(0.5,),
                golden_tolerance={'litert': 1e-5},
                unsupported={'keras': 'not a Keras file'},
            )
        )
    write_manifest(
        Manifest(
            name='cart/best',
            environment=cart,
            algorithm='sac',
            network=Network(hidden_sizes=(8, 8)),
            golden_observation=(0.1, 0.2),
            files=tuple(files),
            training={'steps': 10, 'config': {'batch_size': 4}},
        ),
        folder,
    )
    return folder


def edit(folder, change):
    path = folder / MANIFEST_NAME
    mapping = json.loads(path.read_text())
    change(mapping)
    path.write_text(json.dumps(mapping))


def test_manifest_survives_the_disk(folder, cart):
    manifest = load_manifest(folder)
    assert manifest.environment == cart
    assert manifest.network.hidden_sizes == (8, 8)
    assert manifest.recipes == ('keras', 'int8')
    assert manifest.compressed_recipe() == 'int8'
    assert manifest.entry('int8').golden_tolerance == {'litert': 1e-5}
    before = (folder / MANIFEST_NAME).read_bytes()
    write_manifest(manifest, folder)
    assert (folder / MANIFEST_NAME).read_bytes() == before


def test_checks_size_and_hash(folder):
    entry = load_manifest(folder).entry('int8')
    path = checked_file(folder, entry)
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    with pytest.raises(ArtifactError, match=f'has {len(content) - 1} bytes, its manifest says'):
        checked_file(folder, entry)
    path.write_bytes(b'X' + content[1:])
    with pytest.raises(ArtifactError, match='the file was changed'):
        checked_file(folder, entry)
    path.unlink()
    with pytest.raises(ArtifactError, match='is missing'):
        checked_file(folder, entry)


def test_unknown_recipe_lists_those_there_are(folder):
    with pytest.raises(ArtifactError, match=r"no recipe 'int3' .*int8\?\); it has keras, int8"):
        load_manifest(folder).entry('int3')
    with pytest.raises(ArtifactError, match=r"no file 'x\.tflite'; it has policy\.keras, actor_"):
        load_manifest(folder).entry_of_file('x.tflite')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda m: m['environment'].update(max_episode_steps=7), 'the manifest was edited'),
        (lambda m: m.update(format_version=9), 'format_version 9, this version reads 1'),
        (lambda m: m.update(colour='red'), 'unknown colour'),
        (lambda m: m.pop('network'), 'lacks network'),
        (lambda m: m.update(golden_observation=[1.0]), 'golden_observation has 1 values'),
        (lambda m: m['files'][0].update(golden_action=[]), 'golden_action of policy.keras'),
        (lambda m: m['files'][0].update(file='../policy.keras'), 'must lie in the folder'),
        (lambda m: m['files'].append(3), r'files\[2\] is 3'),
        (lambda m: m.update(files=None), 'files is None'),
    ],
)
def test_names_what_is_wrong_in_a_manifest(folder, change, message):
    edit(folder, change)
    with pytest.raises(ArtifactError, match=message):
        load_manifest(folder)


def test_names_a_missing_folder_and_a_missing_manifest(tmp_path):
    with pytest.raises(ArtifactError, match='no such folder'):
        load_manifest(tmp_path / 'none')
    with pytest.raises(ArtifactError, match=r'no manifest\.json in it'):
        load_manifest(tmp_path)


@pytest.mark.parametrize('content', [b'', b'[]', b'{"name": ', b'\xff\xfe'])
def test_refuses_a_manifest_that_is_no_json_object(folder, content):
    (folder / MANIFEST_NAME).write_bytes(content)
    with pytest.raises(ArtifactError, match=r'manifest\.json'):
        load_manifest(folder)


def test_an_archive_carries_the_chosen_files_alone(folder, tmp_path):
    data = pack_artifact(folder, ['int8'])
    manifest = unpack_artifact(data, sha256_of(data), tmp_path / 'edge')
    assert manifest.recipes == ('int8',)
    assert sorted(os.listdir(tmp_path / 'edge')) == ['actor_int8.tflite', MANIFEST_NAME]
    assert load_manifest(tmp_path / 'edge') == manifest


def test_an_archive_that_changed_on_the_way_is_refused(folder, tmp_path):
    data = pack_artifact(folder, ['int8'])
    with pytest.raises(ArtifactError, match='send it again'):
        unpack_artifact(data[:-1], sha256_of(data), tmp_path / 'edge')
    with pytest.raises(ArtifactError, match='not a readable zip'):
        unpack_artifact(data[:-30], sha256_of(data[:-30]), tmp_path / 'edge')
    with pytest.raises(ArtifactError, match='not a readable zip'):
        unpack_artifact(b'', sha256_of(b''), tmp_path / 'edge')
    assert not (tmp_path / 'edge').exists()


def test_an_archive_with_a_spoilt_stream_is_refused(folder, tmp_path):
    data = bytearray(pack_artifact(folder, ['int8']))
    start = 30 + len(MANIFEST_NAME)  # of the compressed manifest, after its header of 30 bytes
    data[start : start + 40] = b'\xff' * 40
    spoilt = bytes(data)
    with pytest.raises(ArtifactError, match='not a readable zip'):
        unpack_artifact(spoilt, sha256_of(spoilt), tmp_path / 'edge')


def test_an_archive_cannot_write_outside_its_folder(folder, tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w') as archive:
        archive.writestr('../evil', 'x')
    data = buffer.getvalue()
    with pytest.raises(ArtifactError, match='paths are not accepted'):
        unpack_artifact(data, sha256_of(data), tmp_path / 'edge')
    assert not (tmp_path / 'evil').exists()


def test_an_archive_whose_file_is_not_the_manifests_is_refused(folder, tmp_path):
    (folder / 'actor_int8.tflite').write_bytes(b'short')
    with pytest.raises(ArtifactError, match='has 5 bytes'):
        pack_artifact(folder, ['int8'])


def repacked(folder, *, manifest=None, more=None, recipe='int8'):
    """Return an archive with another manifest text, or with more members."""
    packed = zipfile.ZipFile(io.BytesIO(pack_artifact(folder, [recipe])))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, 'w', zipfile.ZIP_DEFLATED) as archive:
        for name in packed.namelist():
            content = packed.read(name)
            if name == MANIFEST_NAME and manifest is not None:
                content = manifest(content)
            archive.writestr(name, content)
        for name, content in (more or {}).items():
            archive.writestr(name, content)
    return buffer.getvalue()


def edited_entry(**changes):
    def edit_text(content):
        mapping = json.loads(content)
        mapping['files'][0].update(changes)
        return json.dumps(mapping)

    return edit_text


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'manifest': lambda text: text + b' ' * 39_000_000}, 'larger than 2000000 bytes'),
        ({'manifest': lambda text: b'[' * 100_000}, 'cannot be read'),
        ({'more': {f'{i}.txt': b'' for i in range(200)}}, 'lists 202 members'),
        ({'more': {'zeros.bin': bytes(250_000_000)}}, "holds 'zeros.bin', which its manifest"),
        ({'manifest': edited_entry(bytes=3)}, 'its manifest says 3'),
        ({'manifest': edited_entry(bytes=300_000_000)}, 'unpacks to 300000000 bytes'),
        ({'manifest': edited_entry(sha256='0' * 64)}, 'hashes to'),
    ],
)
def test_an_archive_that_holds_more_or_other_than_its_manifest_says_is_refused(
    folder, tmp_path, changes, message
):
    data = repacked(folder, **changes)
    with pytest.raises(ArtifactError, match=message) as refused:
        unpack_artifact(data, sha256_of(data), tmp_path / 'edge')
    assert len(str(refused.value)) < 1000
    assert not (tmp_path / 'edge').exists()


def test_a_value_of_a_megabyte_is_shortened_in_the_message(folder, tmp_path):
    data = repacked(folder, manifest=edited_entry(recipe=['x' * 1_000_000]))
    with pytest.raises(ArtifactError, match=r'characters \.\.\.\]') as refused:
        unpack_artifact(data, sha256_of(data), tmp_path / 'edge')
    assert len(str(refused.value)) < LONGEST_MESSAGE + 100
    assert str(refused.value).endswith('must be of type str')


def test_a_member_that_unpacks_to_more_than_its_header_says_is_refused(folder, tmp_path):
    data = bytearray(repacked(folder))
    size = load_manifest(folder).entry('int8').bytes
    name = b'actor_int8.tflite'
    # In the local header and in the directory: the size after unpacking, 4 bytes.
    for header, place in ((b'PK\3\4', 22), (b'PK\1\2', 24)):
        start = data.rfind(header, 0, data.rfind(name) if header == b'PK\1\2' else data.find(name))
        assert int.from_bytes(data[start + place : start + place + 4], 'little') == size
        data[start + place : start + place + 4] = (size - 1).to_bytes(4, 'little')
    spoilt = bytes(data)
    with pytest.raises(ArtifactError, match='its manifest says'):
        unpack_artifact(spoilt, sha256_of(spoilt), tmp_path / 'edge')


def test_a_keras_file_that_unpacks_to_far_more_than_its_size_is_refused(tmp_path):
    path = tmp_path / 'policy.keras'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('model.weights.h5', bytes(100_000_000))
    with pytest.raises(ArtifactError, match='unpacks to 100000000 bytes, at most 10'):
        check_keras_archive(path)


def test_default_recipe_must_exist(folder):
    manifest = dataclasses.replace(load_manifest(folder), default_recipe='int4')
    with pytest.raises(ArtifactError, match="no recipe 'int4'"):
        manifest.compressed_recipe()
