import csv
import io
import json
from pathlib import Path

import pytest
from bag_writer import BagWriter
from loop_messages import small_bag, write_episodes

from rl_edge_eval.__main__ import main


def test_tables_files_and_plots(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    bags = [small_bag(tmp_path / 'full'), small_bag(tmp_path / 'small', storage='sqlite3')]
    files = ['--json', str(tmp_path / 'out.json'), '--csv', str(tmp_path / 'out.csv')]
    plots = tmp_path / 'plots'
    assert main(['bag', *map(str, bags), *files, '--plots', str(plots)]) == 0
    text = capsys.readouterr().out
    assert 'time limit' in text
    assert 'against' in text
    content = json.loads((tmp_path / 'out.json').read_text())
    assert [bag['storage'] for bag in content['bags']] == ['mcap', 'sqlite3']
    assert content['bags'][0]['robots'][0]['episodes'][1]['seed'] == 11
    assert content['comparisons'][0]['figures'][0]['difference']['estimate'] == 0.0
    rows = list(csv.DictReader((tmp_path / 'out.csv').open()))
    assert len(rows) == 4
    assert rows[3]['robot'] == '/ant0'
    assert float(rows[3]['reward_terms.forward']) == 6.0
    for name in ('episodes.png', 'latency.png'):
        assert (plots / name).read_bytes().startswith(b'\x89PNG')


def test_json_and_csv_on_standard_output_stand_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    bag = small_bag(tmp_path / 'bag')
    assert main(['bag', str(bag), '--json', '-']) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)['bags'][0]['messages'] == 11
    assert 'episodes' in captured.err
    assert main(['bag', str(bag), '--csv', '-']) == 0
    assert len(list(csv.reader(io.StringIO(capsys.readouterr().out)))) == 3


def test_notes_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    bag = small_bag(tmp_path / 'bag')
    (bag / 'metadata.yaml').unlink()
    assert main(['bag', str(bag)]) == 0
    assert 'metadata.yaml is missing' in capsys.readouterr().out


def test_no_bag(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(['bag', str(tmp_path / 'nothing')]) == 2
    assert 'does not exist' in capsys.readouterr().err


def test_long_recordings_list_the_first_episodes(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    writer = BagWriter(tmp_path / 'bag')
    write_episodes(writer, episodes=60, length=1)
    writer.close()
    assert main(['bag', str(tmp_path / 'bag')]) == 0
    assert 'the first 40 of 60' in capsys.readouterr().out


def test_benchmark(tmp_path: Path) -> None:
    target = tmp_path / 'bench.json'
    assert main(['bench', '--steps', '50', '--repeats', '1', '--json', str(target)]) == 0
    metrics = json.loads(target.read_text())
    assert metrics['messages'] == 53
    assert metrics['evaluation_messages_per_sec'] > 0


def test_benchmark_without_passes(capsys: pytest.CaptureFixture) -> None:
    assert main(['bench', '--repeats', '0']) == 2
    assert '--repeats' in capsys.readouterr().err
