import dataclasses
import fcntl
import os
import re
import shutil

import numpy as np
import pytest

from rl_edge_compress import compress as compress_module
from rl_edge_compress.__main__ import main
from rl_edge_compress.compress import ACTORS, compress
from rl_edge_compress.export import export_artifact
from rl_edge_compress.imitation import ImitationConfig
from rl_edge_compress.publish import publish
from rl_edge_compress.recipes import RECIPES, chosen_recipes
from rl_edge_compress.session import CompressionSession
from rl_edge_core.artifact import checked_file, load_manifest, write_manifest
from rl_edge_core.errors import ArtifactError, ConfigurationError, StorageError
from rl_edge_sim.environment import make_environment, spec_of

TINY = ImitationConfig(
    rounds=1, steps_per_round=20, updates_per_round=100, final_updates=100, batch_size=16
)


@pytest.fixture(scope='module')
def policy(build, tmp_path_factory):
    folder = tmp_path_factory.mktemp('full') / 'policy'
    export_artifact(
        build(observations=4, actions=1, width=8),
        spec=spec_of(make_environment('InvertedPendulum-v5')),
        name='pole/best',
        out=folder,
        recipes=(),
    )
    return folder


@pytest.fixture(scope='module')
def seen():
    return np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)


@pytest.fixture(scope='module')
def exported(build, seen, tmp_path_factory):
    """An artifact with the recipes that an export writes."""
    folder = tmp_path_factory.mktemp('exported') / 'policy'
    export_artifact(
        build(observations=4, actions=1, width=8),
        spec=spec_of(make_environment('InvertedPendulum-v5')),
        name='pole/best',
        out=folder,
        calibration=seen,
    )
    return folder


def session_of(policy, out, seen=None):
    return CompressionSession(
        model=policy, kept=out / 'work', config=TINY, say=lambda line: None, observations=seen
    )


def is_whole(folder):
    for entry in load_manifest(folder).files:
        checked_file(folder, entry)
    return not [name for name in os.listdir(folder) if name.startswith(('.trying', '.writing'))]


def test_every_recipe_of_the_table_can_be_made():
    assert {recipe.actor for recipe in RECIPES.values()} == set(ACTORS)
    assert {'float32', 'int8', 'pruned90', 'pruned90_int8', 'student64_int8'} <= set(RECIPES)
    assert chosen_recipes('all') == list(RECIPES.values())
    assert [recipe.name for recipe in chosen_recipes('int8, float16')] == ['int8', 'float16']


@pytest.mark.parametrize('names', ['int8,student7', 'student7', ''])
def test_an_unknown_recipe_lists_the_table(names):
    with pytest.raises(ConfigurationError, match=r'(?s)no recipe .*student64_int8') as raised:
        chosen_recipes(names)
    assert 'distilled' in str(raised.value)


@pytest.mark.parametrize('words', [[], ['compress']])  # as `rl_edge compress` has it
def test_the_command_line_names_an_unknown_recipe(words, policy, tmp_path, capsys):
    arguments = [*words, str(policy), '--recipes', 'int7', '--out', str(tmp_path / 'out')]
    assert main(arguments) == 1
    assert "error: no recipe 'int7'" in capsys.readouterr().err


def test_the_command_line_compresses(policy, tmp_path, capsys, seen):
    np.save(tmp_path / 'seen.npy', seen)
    out = tmp_path / 'out'
    arguments = [str(policy), '--recipes', 'float32,int8', '--out', str(out)]
    assert main([*arguments, '--calibration', str(tmp_path / 'seen.npy')]) == 0
    assert is_whole(out)
    assert load_manifest(out).recipes == ('keras', 'float32', 'int8')
    printed = capsys.readouterr().out
    assert re.search(r'^float32 +written +[\d,]+ +0\.00%$', printed, re.MULTILINE)
    assert re.search(r'^int8 +written +[\d,]+ +[0-4]\.\d\d%', printed, re.MULTILINE)
    assert printed.splitlines()[-1] == 'compressed uses int8'


@pytest.mark.parametrize(
    ('before', 'recipes', 'after'),
    [
        ('float32', 'float32,int8', 'float32'),
        ('int8', 'float32,int8', 'int8'),
        ('int8', 'float32,dynamic', ''),
        ('', 'float32,int8', 'int8'),
    ],
)
def test_compressed_stays_what_it_was(exported, tmp_path, seen, before, recipes, after):
    policy, out = tmp_path / 'policy', tmp_path / 'out'
    shutil.copytree(exported, policy)
    write_manifest(dataclasses.replace(load_manifest(policy), default_recipe=before), policy)
    compress(session_of(policy, tmp_path, seen), chosen_recipes(recipes), out)
    assert load_manifest(out).default_recipe == after


def test_what_a_report_chose_stays_when_recipes_are_added(policy, tmp_path, seen):
    out = tmp_path / 'out'
    compress(session_of(policy, tmp_path, seen), chosen_recipes('float32'), out)
    write_manifest(dataclasses.replace(load_manifest(out), default_recipe='float32'), out)
    compress(session_of(policy, tmp_path, seen), chosen_recipes('float32,int8'), out)
    assert load_manifest(out).compressed_recipe() == 'float32'


def test_a_file_that_is_no_smaller_is_noted(policy, tmp_path):
    # The students are wider than the 8 units of the policy.
    recipes = chosen_recipes('int8,student32_int8,float32,pruned90')
    outcomes = compress(session_of(policy, tmp_path / 'out'), recipes, tmp_path / 'out')
    by_recipe = {outcome.recipe: outcome for outcome in outcomes}
    assert by_recipe['student32_int8'].note == 'not smaller than int8'
    assert by_recipe['student32_int8'].bytes > by_recipe['int8'].bytes
    assert re.fullmatch(
        r'not smaller than float32, [\d,]+ bytes in gzip', by_recipe['pruned90'].note
    )
    assert by_recipe['float32'].note == ''


def test_calibration_file_and_setting_that_are_wrong_are_named(policy, tmp_path, capsys):
    arguments = [str(policy), '--recipes', 'int8', '--out', str(tmp_path / 'out')]
    assert main([*arguments, '--calibration', str(tmp_path / 'none.npy')]) == 1
    assert 'none.npy is not a file' in capsys.readouterr().err
    assert main([*arguments, '--set', 'rounds']) == 1
    assert main([*arguments, '--set', 'colour=red']) == 1
    assert 'unknown colour; valid are rounds' in capsys.readouterr().err


def test_one_failing_recipe_does_not_stop_the_others(policy, tmp_path, seen, monkeypatch):
    def fail(session):
        raise RuntimeError('the student would not learn')

    monkeypatch.setitem(ACTORS, 'student32', fail)
    recipes = chosen_recipes('student32,float32')
    outcomes = compress(session_of(policy, tmp_path, seen), recipes, tmp_path / 'out')
    assert [outcome.state for outcome in outcomes] == ['failed', 'written']
    assert outcomes[0].reason == 'the student would not learn'
    assert load_manifest(tmp_path / 'out').recipes == ('keras', 'float32')
    assert is_whole(tmp_path / 'out')


def test_an_interruption_leaves_a_whole_artifact_and_the_next_call_goes_on(
    policy, tmp_path, seen, monkeypatch
):
    recipes = chosen_recipes('float32,int8,dynamic')
    describe = compress_module.describe_file

    def interrupted(path, *arguments, **keywords):
        if 'int8' in path.name:
            raise KeyboardInterrupt
        return describe(path, *arguments, **keywords)

    monkeypatch.setattr(compress_module, 'describe_file', interrupted)
    with pytest.raises(KeyboardInterrupt):
        compress(session_of(policy, tmp_path, seen), recipes, tmp_path / 'out')
    assert is_whole(tmp_path / 'out')
    assert load_manifest(tmp_path / 'out').recipes == ('keras', 'float32')
    assert not (tmp_path / 'out' / 'actor_int8.tflite').exists()

    monkeypatch.setattr(compress_module, 'describe_file', describe)
    outcomes = compress(session_of(policy, tmp_path, seen), recipes, tmp_path / 'out')
    assert [outcome.state for outcome in outcomes] == ['kept', 'written', 'written']
    assert is_whole(tmp_path / 'out')


def test_a_damaged_file_is_made_again(policy, tmp_path, seen):
    recipes = chosen_recipes('float32')
    compress(session_of(policy, tmp_path, seen), recipes, tmp_path / 'out')
    (tmp_path / 'out' / 'actor_float32.tflite').write_bytes(b'half')
    outcomes = compress(session_of(policy, tmp_path, seen), recipes, tmp_path / 'out')
    assert outcomes[0].state == 'written'
    assert is_whole(tmp_path / 'out')


def test_two_recipes_train_their_actor_once(policy, tmp_path, monkeypatch):
    trained = []
    train = ACTORS['student32']
    monkeypatch.setitem(ACTORS, 'student32', lambda shop: trained.append(1) or train(shop))
    out = tmp_path / 'out'
    for _ in range(2):
        outcomes = compress(
            session_of(policy, out), chosen_recipes('student32,student32_int8'), out
        )
    assert [outcome.state for outcome in outcomes] == ['kept', 'kept']
    assert len(trained) == 1
    manifest = load_manifest(out)
    assert manifest.entry('student32_int8').bytes < manifest.entry('student32').bytes
    (out / 'actor_student32.tflite').unlink()
    compress(session_of(policy, out), chosen_recipes('student32'), out)
    assert len(trained) == 1


def test_other_settings_train_again(policy, tmp_path):
    out, recipes = tmp_path / 'out', chosen_recipes('student32_int8')
    compress(session_of(policy, out), recipes, out)
    other = dataclasses.replace(
        session_of(policy, out), config=dataclasses.replace(TINY, learning_rate=2e-3)
    )
    assert compress(other, recipes, out)[0].state == 'written'
    assert compress(other, recipes, out)[0].state == 'kept'


def test_two_runs_do_not_write_into_one_folder(policy, tmp_path, capsys):
    out = tmp_path / 'out'
    out.mkdir()
    descriptor = os.open(out, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)  # as another process does
    assert main([str(policy), '--recipes', 'float32', '--out', str(out)]) == 1
    os.close(descriptor)
    assert f'another process writes to {out}: wait for it' in capsys.readouterr().err


def test_a_folder_of_another_model_is_not_mixed_up(policy, build, tmp_path, seen):
    compress(session_of(policy, tmp_path, seen), chosen_recipes('float32'), tmp_path / 'out')
    export_artifact(
        build(observations=4, actions=1, width=8, seed=3),
        spec=load_manifest(policy).environment,
        name='pole/other',
        out=tmp_path / 'other',
        recipes=(),
    )
    with pytest.raises(ArtifactError, match='made from another model'):
        compress(
            session_of(tmp_path / 'other', tmp_path, seen),
            chosen_recipes('float32'),
            tmp_path / 'out',
        )
    with pytest.raises(ArtifactError, match='made from another model'):
        publish(tmp_path / 'out', tmp_path / 'other', ['float32'])


def test_unwritable_output_is_named(policy, tmp_path, seen):
    (tmp_path / 'file').write_text('')
    with pytest.raises(StorageError, match='choose another path'):
        compress(
            session_of(policy, tmp_path, seen), chosen_recipes('float32'), tmp_path / 'file' / 'x'
        )


def test_shipping_keeps_what_else_is_in_the_folder(policy, tmp_path, seen):
    out = tmp_path / 'out'
    compress(session_of(policy, tmp_path, seen), chosen_recipes('float32,int8'), out)
    (policy / 'card.md').write_text('a card')
    manifest = publish(out, policy, ['int8'])
    assert manifest.recipes == ('keras', 'int8')
    assert manifest.compressed_recipe() == 'int8'
    assert is_whole(policy)
    assert (policy / 'card.md').read_text() == 'a card'
    with pytest.raises(ArtifactError, match="no recipe 'dynamic'"):
        publish(out, policy, ['dynamic'])
    both = publish(out, policy, ['float32', 'int8'], default='float32')
    assert both.compressed_recipe() == 'float32'
    with pytest.raises(ArtifactError, match='default recipe dynamic is not shipped'):
        publish(out, policy, ['float32'], default='dynamic')
