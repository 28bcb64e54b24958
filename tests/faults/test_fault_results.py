"""Self-checks of the fault cases, quick enough for every run of the tests."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fault_results import Row, to_markdown, write_results
from odd_messages import (
    foreign_actions,
    malformed_actions,
    malformed_observations,
    stale_actions,
)
from result_keys import FAULTS, missing_keys

from rl_edge_bringup.__main__ import main
from rl_edge_interfaces.msg import Action, Observation

HERE = Path(__file__).parent
ROWS = 74


def collected(*words: str) -> list[str]:
    command = [sys.executable, '-m', 'pytest', '-q', '--collect-only', str(HERE), *words]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=HERE.parents[1]
    )
    return [line.rpartition('::')[2] for line in done.stdout.splitlines() if '::' in line]


def test_every_fault_is_collected_on_request_and_only_then():
    faults = collected('-m', 'faults')

    assert len(faults) == ROWS
    for node in ('policy', 'simulator'):
        for end in ('killed', 'stopped', 'restarted'):
            for mode in ('lockstep', 'realtime'):
                assert f'test_{node}_{end}[{mode}]' in faults
    assert not set(collected()) & set(faults)


def test_faults_are_chosen_by_parts_of_their_names_and_by_mode():
    chosen = collected(
        '-m', 'faults', '--faults-only=policy KILLED (-9), noise', '--faults-mode=realtime'
    )

    assert sorted(chosen) == ['test_noise[realtime]', 'test_policy_killed[realtime]']


def test_an_unknown_fault_is_an_error(capfd, tmp_path):
    assert main(['faults', 'only:=earthquake', f'output:={tmp_path}']) == 2
    assert 'no fault has that in its name' in capfd.readouterr().err


def test_the_messages_are_what_they_say():
    actions = list(malformed_actions(300, run_id=7, episode=1))
    assert len({len(action.values) for action in actions}) > 5
    assert sum(action.run_id == 7 for action in actions) == 150
    assert all(isinstance(m, Observation) for m in malformed_observations(10, run_id=7))
    assert all(
        a.step < 9 and a.run_id == 7 for a in stale_actions(20, run_id=7, episode=0, step=9)
    )
    assert all(a.run_id != 7 for a in foreign_actions(20, run_id=7, episode=0, step=9))
    assert all(isinstance(action, Action) for action in actions)


def test_a_row_is_written_with_what_was_lost_and_whether_it_passed(tmp_path):
    rows = [
        Row('a fault', 'realtime', 'recovery', 'a | b\nc', 3, passed=False),
        Row('another', 'lockstep', 'recovery', 'it recovered', steps=120, duration_sec=1.23),
    ]

    line = write_results(tmp_path, rows)

    assert line.startswith('1 of 2 passed')
    content = json.loads((tmp_path / 'faults.json').read_text())
    assert missing_keys(content, FAULTS) == []
    assert content['passed'] == 1
    assert content['faults'][1] == {
        'name': 'another, lockstep',
        'mode': 'lockstep',
        'expected': 'recovery',
        'happened': 'it recovered',
        'lost': 0,
        'passed': True,
        'steps': 120,
        'duration_sec': 1.2,
    }
    assert '| a fault | realtime | recovery | a / b c | 3 | NO |' in to_markdown(rows)


@pytest.mark.system
def test_the_command_runs_faults_on_real_processes(tmp_path, ros_domain_id, capfd):
    words = ['only:=policy killed (-9),answers NaN', 'mode:=realtime', f'output:={tmp_path}']

    exit_code = main(['faults', *words, f'ros_domain_id:={ros_domain_id}'])

    assert exit_code == 0, capfd.readouterr().out
    rows = json.loads((tmp_path / 'faults.json').read_text())['faults']
    assert {row['name'] for row in rows} == {
        'policy killed (-9), realtime',
        'policy that answers NaN, realtime',
    }
    for row in rows:
        assert (row['passed'], row['lost']) == (True, 0), row
        assert row['steps'] > 80
        assert row['happened']
