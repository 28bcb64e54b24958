"""Every command that takes a model takes a path, and the name of a shipped one."""

from pathlib import Path

import pytest

from rl_edge_core.command import main
from rl_edge_core.model_files import models_folder, named_model

MISSPELT, HINT = 'ant_v5/bset', '(did you mean ant_v5/best?); models/ has '


def test_a_path_comes_before_a_shipped_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = models_folder()
    assert shipped is not None
    monkeypatch.chdir(tmp_path)
    assert named_model('ant_v5/best') == shipped / 'ant_v5' / 'best'
    file = 'ant_v5/best/actor_int8.tflite'
    assert named_model(file) == shipped / file
    assert named_model(shipped / file) == shipped / file
    assert named_model('ant_v5/none') == Path('ant_v5/none')
    (tmp_path / 'ant_v5' / 'best').mkdir(parents=True)
    assert named_model('ant_v5/best') == Path('ant_v5/best')
    assert named_model('~') == Path.home()


@pytest.mark.parametrize(
    'words',
    [
        ['sim', f'model:={MISSPELT}'],
        ['edge', f'model:={MISSPELT}'],
        ['clip', f'model:={MISSPELT}', 'output:=OUT.gif'],
        ['policy', MISSPELT],
        ['measure', MISSPELT],
        ['evaluate', MISSPELT, '--episodes', '1'],
        ['train', '--preset', 'sac_small', '--out', 'OUT', '--from', MISSPELT],
        ['export', MISSPELT, '--format', 'c', '--out', 'OUT/x.c'],
        ['compress', MISSPELT, '--out', 'OUT'],
        ['replay', 'OUT', '--model', MISSPELT],
        ['sign', 'KEY', MISSPELT],
    ],
    ids=lambda words: words[0],
)
def test_a_name_that_is_not_there_gets_a_hint(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')  # measure sets it
    monkeypatch.setenv('ROS_HOME', str(tmp_path / 'home'))
    out = str(tmp_path / 'out')
    assert main([word.replace('OUT', out).replace('KEY', out) for word in words]) in (1, 2)
    assert HINT in capsys.readouterr().err


def test_a_shipped_model_is_evaluated_and_exported_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ['evaluate', 'ant_v5/best', '--recipe', 'int8', '--episodes', '1']
    assert main([*words, '--json', 'metrics.json']) == 0
    assert '"model": "ant_v5/best"' in Path('metrics.json').read_text()
    assert main(['export', 'ant_v5/best', '--format', 'c', '--out', 'actor.c']) == 0
    assert Path('actor.c').is_file()
